"""A preset on one machine without Snakemake: its commands in order, many at once, within a limited time.

What is made lies where the pipeline puts it, so that `snakemake` and `python -m sisr tables` go on from it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sisr.config.presets import Plan, plan
from sisr.config.run import Run
from sisr.config.schema import nearest
from sisr.launch.pool import Job
from sisr.utils.errors import UsageError

ORDER = ("table2", "k_sweep", "table4", "table1")
"""The experiments, the one that says most first."""
_SCALED = ("steps", "halve_every", "contrastive_start", "redraw_every")


def read_preset(file: Path, changes: Sequence[str] = (), scale_steps: float = 1.0) -> dict[str, Any]:
    """A preset with single values changed.

    Args:
        file: such as config/mini.yaml.
        changes: `KEY=VALUE` with dots between keys and a YAML value: `data.test=[Set5]`, `training.steps=40000`.
        scale_steps: factor of everything that is counted in training steps. The preset gets a name of its own then.

    Raises:
        UsageError: there is no such file, it holds no preset, or a change cannot be read.
    """
    try:
        config = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UsageError(f"there is no preset at {file}; config/mini.yaml is one.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(config, dict) or not isinstance(config.get("training"), dict):
        raise UsageError(f"{file} is no preset; config/README.md explains what one has.")
    config = copy.deepcopy(config)
    for change in changes:
        _change(config, change)
    if not scale_steps > 0:
        raise UsageError(f"--scale-steps is {scale_steps:g}; it must be above 0.")
    if scale_steps != 1:
        for name in _SCALED:
            if config["training"].get(name):
                config["training"][name] = max(1, round(config["training"][name] * scale_steps))
        if not any(change.startswith("preset=") for change in changes):
            config["preset"] = f"{config['preset']}-{config['training']['steps']}-steps"
    return config


def _change(config: dict[str, Any], change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals or not path:
        raise UsageError(f"{change!r} changes nothing; write it as key=value, for example training.steps=40000.")
    *parents, last = path.split(".")
    part: Any = config
    for parent in parents:
        part = part.setdefault(parent, {})
        if not isinstance(part, dict):
            raise UsageError(f"{change!r} cannot be set: {parent} holds a value of its own.")
    try:
        part[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"{value!r} is no YAML value of {path}.") from error


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where everything lies."""

    results: Path
    data: Path = Path("data")

    @property
    def prepared(self) -> Path:
        """Folder of the prepared sets."""
        return self.data / "prepared"

    def stores(self, name: str, scale: int) -> tuple[Path, ...]:
        """What stands on the disk once a set is prepared."""
        return tuple(self.prepared / name / store / "index.json" for store in ("hr", f"x{scale}"))

    def trained(self, run: Run) -> tuple[Path, ...]:
        """What stands on the disk once a run is trained; the last one is written last."""
        files = ("config.json", "train.csv", "weights.safetensors", "provenance.json")
        return tuple(self.results / "runs" / run.id / file for file in files)

    def evaluated(self, name: str, sets: Sequence[str], scale: int) -> tuple[Path, ...]:
        """Per-image rows of a run or a control."""
        return tuple(self.results / "evaluation" / name / f"{one}_x{scale}.csv" for one in sets)


@dataclass(kw_only=True)
class Launch:
    """What is to be made, and how."""

    config: dict[str, Any]
    places: Places
    experiments: tuple[str, ...]
    device: str = "auto"
    threads: int = 1
    origin: Path | None = None
    """Folder or archive to take the image sets from."""

    @cached_property
    def plan(self) -> Plan:
        """The runs of every experiment; test sets that are wanted if present are looked for where the data is."""
        config = copy.deepcopy(self.config)
        wanted = config["data"].pop("test_if_present", [])
        there = [name for name in wanted if (self.places.data / name / "HR").is_dir()]
        config["data"]["test"] = list(dict.fromkeys((*config["data"]["test"], *there)))
        return plan(config)

    def jobs(self) -> list[Job]:
        """All commands, in order."""
        plan_ = self.plan
        runs = [run for name in self.experiments for run in plan_.experiments[name]]
        scales = sorted({run.network.scale for run in runs})
        jobs = self._data(plan_, scales)
        for stage, name in enumerate(self.experiments):
            known = {job.name for job in jobs}
            jobs += [job for job in self._experiment(plan_, stage, name) if job.name not in known]
        return jobs

    def members(self) -> dict[str, list[str]]:
        """For each experiment the names of all trainings and evaluations that it needs, shared ones, too."""
        found = {}
        for name in self.experiments:
            jobs = self._experiment(self.plan, 0, name)
            found[name] = [job.name for job in jobs if job.kind in ("train", "evaluate")]
        return found

    def _data(self, plan_: Plan, scales: Sequence[int]) -> list[Job]:
        jobs: list[Job] = []
        folders = self.config["data"].get("folders", {})
        watched = self.config["data"].get("validate", [])
        for name in dict.fromkeys((*plan_.train, *plan_.test, *watched)):
            data, logs = self.places.data, self.places.results / "logs"
            needs: tuple[str, ...] = ()
            if name not in folders:
                verified = data / "verified" / f"{name}.json"
                words = ["fetch", name, "--data", str(data), "--json", *self._origin(name)]
                before = tuple(job.name for job in jobs if job.kind == "fetch")[-1:]  # one archive holds several sets
                log = logs / "fetch" / f"{name}.log"
                fetch = Job(
                    name=f"fetch {name}", kind="fetch", words=words, makes=(verified,), log=log, capture=verified,
                    after=before,
                )  # fmt: skip
                jobs.append(fetch)
                needs = (fetch.name,)
            for store in ("hr", *(f"x{scale}" for scale in scales)):
                target = self.places.prepared / name / store
                words = ["prepare", str(folders.get(name, name)), "--scale", store.removeprefix("x")]
                words += ["--output", str(target), "--data", str(data)]
                jobs.append(
                    Job(
                        name=f"prepare {name} {store}",
                        kind="prepare",
                        words=words,
                        needs=needs,
                        makes=(target / "index.json", target / "pixels.bin"),
                        log=logs / "prepare" / f"{name}_{store}.log",
                    )
                )
        return jobs

    def _origin(self, name: str) -> list[str]:
        """`--from` for a set that is not there yet and does not come with scikit-image."""
        from sisr.data import catalog

        if self.origin is None or catalog.known()[name].bundled or (self.places.data / name / "HR").is_dir():
            return []
        return ["--from", str(self.origin)]

    def _experiment(self, plan_: Plan, stage: int, name: str) -> list[Job]:
        runs = list({run.id: run for run in plan_.experiments[name]}.values())
        trainings = [self._train(run, stage) for run in runs]
        evaluations = [self._evaluate(plan_, run.id, run.network.scale, stage, True) for run in runs]
        for scale in sorted({run.network.scale for run in runs}):
            evaluations += [
                self._evaluate(plan_, f"{kind}-x{scale}", scale, stage, False) for kind in ("bicubic", "hr")
            ]
        # a network is measured as soon as it is trained
        jobs = [*evaluations, *trainings]
        cost = self.places.results / "complexity" / "table4.csv"
        logs = self.places.results / "logs"
        if name == "table4":
            size = map(str, self.config["table4"].get("size", [100, 100]))
            words = ["complexity", *plan_.mechanisms, "--channels", "64", "--size", *size, "--device", self.device]
            jobs.append(
                Job(
                    name="complexity table4",
                    kind="complexity",
                    words=[*words, "--output", str(cost)],
                    makes=(cost,),
                    log=logs / "complexity" / "table4.log",
                    stage=stage,
                    alone=True,
                    optional=True,
                    after=tuple(job.name for job in jobs),
                )
            )
        jobs.append(self._table(plan_, name, runs, stage, jobs))
        return jobs

    def _table(self, plan_: Plan, name: str, runs: Sequence[Run], stage: int, before: Sequence[Job]) -> Job:
        rows = {run.id: self.places.evaluated(run.id, plan_.test, run.network.scale) for run in runs}
        cost = self.places.results / "complexity" / "table4.csv"

        def evaluated() -> list[str]:
            ids = [run for run, files in rows.items() if all(file.exists() for file in files)]
            return ["--runs", *ids, *(["--complexity", str(cost)] if name == "table4" else [])]

        return Job(
            name=f"tables {name}", kind="tables", words=["tables", name, "--results", str(self.places.results)],
            late_words=evaluated, makes=(self.places.results / "tables" / f"{name}.csv",),
            sources=(*(file for files in rows.values() for file in files), *([cost] if name == "table4" else [])),
            log=self.places.results / "logs" / "tables" / f"{name}.log", stage=stage, optional=True,
            after=tuple(job.name for job in before),
        )  # fmt: skip

    def _train(self, run: Run, stage: int) -> Job:
        stores = [f"prepare {name} {store}" for name in run.train for store in ("hr", f"x{run.network.scale}")]
        words = ["train", *run.arguments(), "--output", str(self.places.results / "runs" / run.id)]
        words += ["--data", str(self.places.prepared), "--device", self.device, "--threads", str(self.threads)]
        watched = self.config["data"].get("validate", [])
        words += ["--validate", *watched] if watched else []
        return Job(
            name=f"train {run.id}", kind="train", words=words, makes=self.places.trained(run), stage=stage,
            log=self.places.results / "logs" / "train" / f"{run.id}.log", needs=tuple(stores),
            key=f"{run.network.attention or run.network.name} x{run.network.scale}", steps=run.training.steps,
        )  # fmt: skip

    def _evaluate(self, plan_: Plan, name: str, scale: int, stage: int, trained: bool) -> Job:
        folder = self.places.results
        what = str(folder / "runs" / name) if trained else name.rpartition("-x")[0]
        words = ["evaluate", what, "--data", *(str(self.places.prepared / one) for one in plan_.test)]
        words += ["--scale", str(scale), "--output-dir", str(folder / "evaluation" / name)]
        words += ["--device", self.device, "--greyscale", self.config.get("greyscale", "as-is")]
        stores = [f"prepare {one} {store}" for one in plan_.test for store in ("hr", f"x{scale}")]
        return Job(
            name=f"evaluate {name}", kind="evaluate", words=words, stage=stage,
            makes=self.places.evaluated(name, plan_.test, scale),
            log=folder / "logs" / "evaluate" / f"{name}_x{scale}.log",
            needs=(*([f"train {name}"] if trained else []), *stores),
        )  # fmt: skip


def order(asked: Sequence[str] | None, config: dict[str, Any]) -> tuple[str, ...]:
    """The experiments to make, in order.

    Raises:
        UsageError: one that is asked for is none of the preset's.
    """
    names = [name for name in (*ORDER, "compare") if name in config]
    for name in asked or ():
        if name not in names:
            raise UsageError(f"there is no experiment {name!r} in this preset; {nearest(name, names)}")
    return tuple(dict.fromkeys(asked)) if asked else tuple(name for name in names if name in ORDER)
