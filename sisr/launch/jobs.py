"""From a preset to the commands that make its experiments, in order.

All files are where the pipeline puts them, so that `snakemake` and `python -m sisr tables` continue from them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sisr.config import settings
from sisr.config.layout import Results
from sisr.config.presets import Plan, plan
from sisr.config.run import Run
from sisr.config.schema import nearest
from sisr.launch.pool import Job
from sisr.utils import yaml_files
from sisr.utils.errors import UsageError

ORDER = ("table2", "k_sweep", "table4", "table1")
"""The experiments, the one that says most first."""
_SCALED = ("steps", "halve_every", "contrastive_start", "redraw_every")


def read_preset(file: Path, changes: Sequence[str] = (), scale_steps: float = 1.0) -> dict[str, Any]:
    """A preset with single values changed, checked.

    Args:
        file: such as config/mini.yaml.
        changes: `KEY=VALUE` with dots between keys and a YAML value: `data.test=[Set5]`, `training.steps=40000`.
        scale_steps: factor of everything that is counted in training steps. The preset gets a name of its own then.

    Raises:
        UsageError: there is no such file, it holds no valid preset, or a change cannot be read.
    """
    if not (scale_steps > 0 and math.isfinite(scale_steps)):
        raise UsageError(f"--scale-steps is {scale_steps:g}; it must be a number above 0.")
    config = settings.plain(settings.read(file))
    for change in changes:
        _change(config, change)
    config = settings.check(config)
    if scale_steps != 1:
        for training in (config["training"], config.get("backbone", {}).get("training", {})):
            for name in _SCALED:
                if training.get(name):
                    training[name] = max(1, round(training[name] * scale_steps))
        if not any(change.startswith("preset=") for change in changes):
            config["preset"] = f"{config['preset']}-{config['training']['steps']}-steps"
    return settings.check(config)


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
    part[last] = yaml_files.parse(value, f"the value of {path}")


@dataclass(kw_only=True)
class Launch:
    """What is to be made, and how."""

    config: dict[str, Any]
    results: Results
    experiments: tuple[str, ...]
    data: Path = Path("data")
    device: str = "auto"
    threads: int = 1
    origin: Path | None = None
    """Folder or archive to take the image sets from."""

    @cached_property
    def plan(self) -> Plan:
        """The runs of every experiment; sets of `test_if_present` are looked for where the data is."""
        return plan(self.config, data=self.data)

    def jobs(self) -> list[Job]:
        """All commands, in order; what two experiments share is made in the first one."""
        runs = [run for name in self.experiments for run in self.plan.experiments[name]]
        scales, starts = sorted({run.network.scale for run in runs}), {run.training.start_from for run in runs}
        backbones = [self._train(run) for run in self.plan.backbones if run.id in starts]
        jobs = {job.name: job for job in (*self._data(scales), *backbones)}
        for stage, name in enumerate(self.experiments):
            for job in self._experiment(name, stage):
                jobs.setdefault(job.name, job)
        return list(jobs.values())

    def members(self) -> dict[str, list[str]]:
        """For each experiment, the names of all training runs and evaluations that it needs, shared ones too."""
        kinds = ("train", "evaluate")
        return {name: [j.name for j in self._experiment(name, 0) if j.kind in kinds] for name in self.experiments}

    def _job(self, kind: str, name: str, words: Sequence[Any], makes: Sequence[Path], **options: Any) -> Job:
        log = self.results.log(kind, name.replace(" ", "_"))
        options = {"log": log, **options}
        return Job(name=f"{kind} {name}", kind=kind, words=[kind, *map(str, words)], makes=tuple(makes), **options)

    def _data(self, scales: Sequence[int]) -> Iterator[Job]:
        """Every set fetched, one after another (one archive holds several sets), and prepared at all scales."""
        data, folders = self.data, self.config["data"].get("folders", {})
        fetched: tuple[str, ...] = ()
        for name in dict.fromkeys((*self.plan.train, *self.plan.test, *self.config["data"].get("validate", []))):
            needs: tuple[str, ...] = ()
            if name not in folders:
                verified = data / "verified" / f"{name}.json"
                words = [name, "--data", data, "--json", *self._origin(name)]
                fetch = self._job("fetch", name, words, [verified], capture=verified, after=fetched)
                fetched = needs = (fetch.name,)
                yield fetch
            for store in ("hr", *(f"x{scale}" for scale in scales)):
                target = self.data / "prepared" / name / store
                words = [folders.get(name, name), "--scale", store.removeprefix("x"), "--output", target]
                makes = [target / "index.json", target / "pixels.bin"]
                yield self._job("prepare", f"{name} {store}", [*words, "--data", data], makes, needs=needs)

    def _origin(self, name: str) -> list[str]:
        """`--from` for a set that is not there yet and does not come with scikit-image."""
        from sisr.data import catalog

        if self.origin is None or catalog.known()[name].bundled or (self.data / name / "HR").is_dir():
            return []
        return ["--from", str(self.origin)]

    def _experiment(self, name: str, stage: int) -> list[Job]:
        """Its training runs, evaluations, costs and table; evaluations first, so that a trained network is measured."""
        runs = list({run.id: run for run in self.plan.experiments[name]}.values())
        jobs = [self._evaluate(run.id, run.network.scale, trained=True) for run in runs]
        for scale in sorted({run.network.scale for run in runs}):
            jobs += [self._evaluate(f"{control}-x{scale}", scale, trained=False) for control in ("bicubic", "hr")]
        jobs += [self._train(run) for run in runs]
        cost = [self.results.complexity()] if name == "table4" else []
        if cost:
            words = [*self.plan.mechanisms, "--channels", 64, "--size", *self.config["table4"].get("size", [100, 100])]
            words += ["--device", self.device, "--output", *cost]
            before = tuple(job.name for job in jobs)
            jobs.append(self._job("complexity", "table4", words, cost, alone=True, optional=True, after=before))
        jobs.append(self._table(name, runs, cost, tuple(job.name for job in jobs)))
        for job in jobs:
            job.stage = stage
        return jobs

    def _table(self, name: str, runs: Sequence[Run], cost: Sequence[Path], after: tuple[str, ...]) -> Job:
        """The table of all runs that are evaluated by then; made again when more of them are."""
        rows = {run.id: self._rows(run.id, run.network.scale) for run in runs}

        def evaluated() -> list[str]:
            complete = [run for run, files in rows.items() if all(file.exists() for file in files)]
            return ["--runs", *complete, *(word for file in cost for word in ("--complexity", str(file)))]

        words, makes = [name, "--results", self.results.root], [self.results.table(name)]
        sources = (*(file for files in rows.values() for file in files), *cost)
        return self._job(
            "tables", name, words, makes, late_words=evaluated, sources=sources, optional=True, after=after
        )

    def _train(self, run: Run) -> Job:
        makes = self.results.run_files(run.id)
        words: list[Any] = [*run.arguments(str(self.plan.start(run, self.results.runs)))]
        words += ["--output", self.results.run(run.id), "--data", self.data / "prepared"]
        words += ["--device", self.device, "--threads", self.threads]
        if validate := self.config["data"].get("validate"):
            words += ["--validate", *validate]
        if not self.config["data"].get("overlap_allowed"):
            words += ["--test", *self.plan.test]
        backbone = tuple(f"train {one.id}" for one in self.plan.backbones if one.id == run.training.start_from)
        needs = (*backbone, *self._stores(run.train, run.network.scale))
        key = f"{run.network.attention or run.network.name} x{run.network.scale}"
        return self._job("train", run.id, words, makes, needs=needs, key=key, steps=run.training.steps)

    def _evaluate(self, name: str, scale: int, trained: bool) -> Job:
        """A trained run, or a control: `bicubic-x4`."""
        sets = self.plan.test
        what = self.results.run(name) if trained else name.rpartition("-x")[0]
        words = [what, "--data", *(self.data / "prepared" / one for one in sets), "--scale", scale]
        words += ["--output-dir", self.results.evaluation(name), "--device", self.device]
        words += ["--greyscale", self.config.get("greyscale", "as-is")]
        if trained:
            words += self.plan.left_out(self.plan.runs[name])
        needs = (*([f"train {name}"] if trained else []), *self._stores(sets, scale))
        log = self.results.log("evaluate", f"{name}_x{scale}")
        return self._job("evaluate", name, words, self._rows(name, scale), needs=needs, log=log)

    def _rows(self, name: str, scale: int) -> tuple[Path, ...]:
        """Per-image rows of a run or a control, one file for each test set."""
        return tuple(self.results.rows(name, dataset, scale) for dataset in self.plan.test)

    @staticmethod
    def _stores(sets: Sequence[str], scale: int) -> tuple[str, ...]:
        """Names of the jobs that prepare these sets."""
        return tuple(f"prepare {name} {store}" for name in sets for store in ("hr", f"x{scale}"))


def order(names: Sequence[str] | None, config: dict[str, Any]) -> tuple[str, ...]:
    """The experiments to make, in order; by default those of `ORDER` that the preset has.

    Raises:
        UsageError: the preset has no such experiment.
    """
    known = [name for name in (*ORDER, "compare") if name in config]
    for name in names or ():
        if name not in known:
            raise UsageError(f"there is no experiment {name!r} in this preset; {nearest(name, known)}")
    return tuple(dict.fromkeys(names or (name for name in known if name in ORDER)))
