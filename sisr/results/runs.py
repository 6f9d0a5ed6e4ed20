"""What the tables are computed from: runs, grouped into settings, and their per-image rows."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sisr.config import declared
from sisr.config.layout import IMAGES, Results
from sisr.config.run import Run as Configuration
from sisr.config.run import complete
from sisr.results import published
from sisr.results.significance import Sample
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import read_run_json

CONTROLS = {"bicubic": "bicubic", "hr": "HR image"}
"""Controls that go through the evaluator like a network, and the row they make."""
_TITLES = [network.title for network in declared.networks().values()]
METHODS = {name.lower(): name for name in (*published.methods(), *_TITLES)}
"""Methods that are a row of the paper or a registered network: name in `evaluation/<name>-x<scale>` of published
weights, and the row it makes; for any other name, the name is the row's."""
NOT_EVALUATED = "not evaluated: "
PAPER_PIXELS = 1_000_000 * 16 * 28 * 28
"""LR pixels of the paper's training at x4: 10⁶ steps of 16 patches of 28x28."""


@dataclass(frozen=True)
class Run:
    """One trained network, published weights, or a control, with the folder of its per-image rows."""

    id: str
    config: dict[str, Any]
    """`config.json` with all settings; empty for a control and for published weights."""
    provenance: dict[str, Any]
    evaluation: Path

    @property
    def control(self) -> str | None:
        """`bicubic`, `hr`, or None for a network."""
        name = self.id.rsplit("-x", 1)[0]
        return name if not self.config and name in CONTROLS else None

    @property
    def method(self) -> str | None:
        """Row of the method whose published weights or images were measured; None for a run and for controls."""
        name = self.id.rsplit("-x", 1)[0]
        if self.config or name in CONTROLS:
            return None
        name = name.removeprefix(IMAGES)
        return METHODS.get(name, name)

    @property
    def images(self) -> bool:
        """Whether SR images that authors published were measured."""
        return not self.config and self.id.startswith(IMAGES)

    @property
    def scale(self) -> int:
        return int(self.config["network"]["scale"]) if self.config else int(self.id.rsplit("-x", 1)[1])

    @property
    def seed(self) -> int:
        """Seed of the training; 0 for a control."""
        return int(self.config.get("seed", 0))

    @property
    def attention(self) -> str | None:
        """Registered name of the attention, None for the plain backbone."""
        name: str | None = self.config["network"].get("attention") if self.config else None
        return name

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.config["network"].get("attention_options") or {}) if self.config else {}

    @property
    def contrastive(self) -> bool:
        """Whether an auxiliary loss was trained with."""
        return bool(self.config and self.config["training"].get("contrastive_weight", 0) > 0)

    @cached_property
    def setting(self) -> str:
        """Everything that was set, but the seed: runs that share it are one setting."""
        rest = {key: value for key, value in self.config.items() if key != "seed"}
        return json.dumps(rest, sort_keys=True) if rest else self.id

    @cached_property
    def files(self) -> dict[str, Path]:
        """Per-image rows of every data set this run was evaluated on at its scale."""
        return {dataset: file for dataset, file in self._found.items() if dataset not in self.not_evaluated}

    @cached_property
    def not_evaluated(self) -> dict[str, str]:
        """Why, by data set that an evaluation left out on purpose."""
        facts = {dataset: file.with_suffix(".json") for dataset, file in self._found.items()}
        read = {dataset: read_run_json(file) for dataset, file in facts.items() if file.is_file()}
        return {dataset: str(how["not_evaluated"]) for dataset, how in read.items() if "not_evaluated" in how}

    @cached_property
    def _found(self) -> dict[str, Path]:
        ending = f"_x{self.scale}.csv"
        return {file.name.removesuffix(ending): file for file in sorted(self.evaluation.glob(f"*{ending}"))}

    @cached_property
    def rows(self) -> dict[str, pd.DataFrame]:
        """Per-image rows of every data set, by name of the image; raises SisrError where they cannot be used."""
        return {dataset: image_rows(file).set_index("image").sort_index() for dataset, file in self.files.items()}

    def protocol(self, dataset: str) -> str:
        """How PSNR and SSIM were measured (`P1 …`); blank where the evaluation does not record it.

        Raises SisrError where other weights were evaluated than the run holds now.
        """
        file = self.files[dataset].with_suffix(".json")
        how = read_run_json(file) if file.is_file() else {}
        evaluated, held = how.get("weights_sha256"), self.provenance.get("weights_sha256")
        if evaluated and held and evaluated != held:
            raise SisrError(f"{self.id} was trained again after it was evaluated on {dataset}; evaluate it again.")
        source = how.get("lr") or {}
        made = ", ".join(str(part) for part in (source.get("from"), source.get("boundary")) if part)
        grey = "" if how.get("greyscale", "as-is") == "as-is" else f", greyscale as {how['greyscale']}"
        return f"{how['protocol']}{f', LR from {made}' if made else ''}{grey}" if "protocol" in how else ""


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their seed only."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """Any of the runs: what is not the seed is the same in all."""
        return self.runs[0]

    @property
    def datasets(self) -> list[str]:
        """Data sets that every seed was evaluated on."""
        return [name for name in self.first.files if all(name in run.files for run in self.runs)]

    @property
    def state(self) -> str:
        """`trained`, `control`, `published weights` or `published images`."""
        if self.first.images:
            return "published images"
        return "control" if self.first.control else "published weights" if self.first.method else "trained"

    def why_not(self, dataset: str) -> str:
        """Why an evaluation left a data set out on purpose (`not evaluated: …`); blank where it did not."""
        reason = self.first.not_evaluated.get(dataset)
        return f"{NOT_EVALUATED}{reason}" if reason else ""

    def sample(self, dataset: str, quantity: str) -> Sample:
        """(seeds, images) of `psnr` (dB) or `ssim`, images in order of their names.

        Raises SisrError where the seeds were not evaluated on the same images.
        """
        for run in self.runs:
            if list(run.rows[dataset].index) != self.images(dataset):
                raise SisrError(
                    f"{run.id} and {self.first.id} were not evaluated on the same images of {dataset}; "
                    "evaluate both again."
                )
        values = np.stack([run.rows[dataset][quantity].to_numpy(dtype=np.float64) for run in self.runs])
        return Sample(values, () if self.first.control else tuple(run.seed for run in self.runs))

    def protocol(self, dataset: str) -> str:
        """How this setting was measured, the same for all seeds. Raises SisrError where it was not."""
        protocols = list(dict.fromkeys(run.protocol(dataset) for run in self.runs))
        if len(protocols) > 1:
            raise SisrError(f"{self.first.id} and its other seeds were measured in two ways ({'; '.join(protocols)}).")
        return protocols[0]

    def images(self, dataset: str) -> list[str]:
        """Names of the images of a data set, sorted."""
        return list(self.first.rows[dataset].index)


def image_rows(file: Path) -> pd.DataFrame:
    """Per-image rows of one evaluation (image, psnr, ssim, …). Raises SisrError where they cannot be used."""
    try:
        frame = pd.read_csv(file, dtype={"image": str})
    except (OSError, ValueError) as error:
        raise SisrError(f"{file} cannot be read as an evaluation ({error}); evaluate again.") from error
    missing = {"image", "psnr", "ssim"} - set(frame.columns)
    if missing or frame.empty:
        lack = f"the column {min(missing)}" if missing else "any row"
        raise SisrError(f"{file} lacks {lack}; evaluate again.")
    if frame["image"].duplicated().any() or frame[["psnr", "ssim"]].isna().any(axis=None):
        raise SisrError(f"{file} names an image twice or holds a figure that is not a number; evaluate again.")
    return frame


def read_settings(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """All settings and the provenance of a run. Raises SisrError where one is missing or not that of a run."""
    file = folder / "config.json"
    plain = read_run_json(file)
    try:
        Configuration.from_dict(plain)
    except UsageError as error:
        raise SisrError(f"{file} cannot be used: {error}") from error
    return complete(plain), read_run_json(folder / "provenance.json")


def load_run(results: Path, name: str, validation: bool = False) -> Run:
    """One trained run with its per-image rows on the test sets, or on the validation sets of a search.

    Raises SisrError where it is missing, or was not evaluated.
    """
    place = Results(results)
    rows = place.validation(name) if validation else place.evaluation(name)
    run = Run(name, *read_settings(place.run(name)), rows)
    if not run.files:
        raise SisrError(f"{rows} holds no file <set>_x{run.scale}.csv; evaluate {name} there first.")
    return run


def load(results: Path, ids: Sequence[str] | None = None, weights: bool = False) -> list[Run]:
    """Runs of a results folder: those named, or all that were evaluated; controls of the same scales come along.

    weights: whether published weights and images that were measured at these scales come along, too, or are left out.

    Raises SisrError with one sentence where a run or its evaluation is missing.
    """
    if not results.is_dir():
        raise SisrError(f"there is no results folder {results}; name the folder of a preset, such as results/quick.")
    evaluated = Results(results).evaluations
    names = list(dict.fromkeys(ids)) if ids else sorted(p.name for p in evaluated.glob("*") if p.is_dir())
    runs = [_load(results, name) for name in names]
    scales = {run.scale for run in runs}
    for scale in sorted(scales):
        known = [f"{other}-x{scale}" for other in (*CONTROLS, *METHODS)]
        others = [path.name for path in evaluated.glob(f"*-x{scale}") if not Results(results).run(path.name).exists()]
        for name in dict.fromkeys([*known, *sorted(others)]):
            if name not in names and (evaluated / name).is_dir():
                runs.append(_load(results, name))
    runs = [run for run in runs if weights or run.method is None]
    if not any(run.config or run.method for run in runs):
        raise SisrError(
            f"{evaluated} holds no evaluated run; train and evaluate first (python -m sisr evaluate --help)."
        )
    return runs


def _load(results: Path, name: str) -> Run:
    evaluation, folder = Results(results).evaluation(name), Results(results).run(name)
    if not evaluation.is_dir():
        raise SisrError(
            f"there is no evaluation of {name} at {evaluation}; run python -m sisr evaluate {folder} first."
        )
    control, _, scale = name.rpartition("-x")
    if control in CONTROLS and scale.isdigit():
        return Run(name, {}, {}, evaluation)
    published_weights = control != "" and scale.isdigit() and not folder.exists()
    run = Run(name, *(({}, {}) if published_weights else read_settings(folder)), evaluation)
    if not run.files:
        raise SisrError(f"{evaluation} holds no file <set>_x{run.scale}.csv; evaluate {name} again.")
    return _origin(run) if published_weights else run


def _origin(run: Run) -> Run:
    """Published weights or images, with their origin from the files beside the rows."""
    provenance: dict[str, Any] = {}
    for dataset, file in run.files.items():
        facts = read_run_json(file.with_suffix(".json")) if file.with_suffix(".json").is_file() else {}
        name = run.id.rsplit("-x", 1)[0]
        named = name in METHODS or run.images
        if named and str(facts.get("network", "")).lower() not in ("", name):
            raise SisrError(f"{run.evaluation} holds an evaluation of {facts['network']}; keep it under that name.")
        origin: dict[str, Any] = {
            key: facts[key]
            for key in ("weights_sha256", "network", "read_by", "device", "torch", "unrounded_lr")
            if key in facts
        }
        provenance = provenance or origin
        for key, change in (("weights_sha256", "with other weights"), ("unrounded_lr", "from other LR")):
            if origin.get(key) != provenance.get(key):
                raise SisrError(f"{run.id} was evaluated on {dataset} {change} than before; evaluate it again.")
    return replace(run, provenance=provenance)


def group(runs: Iterable[Run]) -> list[Setting]:
    """Runs grouped into settings: all seeds of the same configuration together, in order of their seeds."""
    settings: dict[str, list[Run]] = {}
    for run in runs:
        settings.setdefault(run.setting, []).append(run)
    return [Setting(tuple(sorted(seeds, key=lambda run: run.seed))) for seeds in settings.values()]


class SameRowError(SisrError):
    """Two settings would be the same row of a table."""


def by_row(settings: Iterable[Setting], row: Callable[[Setting], str | None]) -> dict[tuple[str, int], Setting]:
    """Settings by (row, scale); those whose row is None are left out. Raises SameRowError where two share a row."""
    rows: dict[tuple[str, int], Setting] = {}
    for setting in settings:
        name = row(setting)
        if name is None:
            continue
        other = rows.setdefault((name, setting.first.scale), setting)
        if other is not setting:
            raise SameRowError(
                f"{other.first.id} and {setting.first.id} are different settings of the same row {name} "
                f"at x{setting.first.scale}; name one of them with --runs."
            )
    same_protocol(rows.values())
    return rows


def same_protocol(settings: Iterable[Setting]) -> None:
    """Raise SisrError where settings were measured on the same images in different ways: no table mixes them."""
    seen: dict[tuple[str, int], tuple[str, Setting]] = {}
    for setting in settings:
        for dataset in setting.datasets:
            how = setting.protocol(dataset)
            before, other = seen.setdefault((dataset, setting.first.scale), (how, setting))
            if how and before and how != before:
                raise SisrError(
                    f"{other.first.id} was measured on {dataset} by {before}, but {setting.first.id} by {how}; "
                    "evaluate both in the same way."
                )


def datasets(settings: Iterable[Setting]) -> list[str]:
    """All evaluated data sets: the paper's in its order, then the others by name."""
    names = {name for setting in settings for name in setting.datasets}
    return [name for name in published.SETS if name in names] + sorted(names - set(published.SETS))


def training(run: Run) -> str:
    """How much training a run is, in words: `300 steps, batch 8, 24x24 LR patches, 4 blocks of 32 channels, …`.

    A run with `start_from` is called continued: its weights have seen more steps than its own.
    """
    if not run.config:
        return ""
    setting, network = run.config["training"], run.config["network"]
    patch = setting["patch"]
    how = "continued from trained weights" if setting.get("start_from") else "trained"
    percent = 100 * float(setting["steps"] * setting["batch"] * patch**2) / PAPER_PIXELS
    return (
        f"{setting['steps']:,} steps, batch {setting['batch']}, {patch}x{patch} LR patches, "
        f"{_size(network)}, "
        f"{how} on {' and '.join(run.config['data']['train'])}, "
        f"{percent:{'.0f' if percent >= 10 else '.2g'}} % of the paper's training pixels"
    )


def _size(network: dict[str, Any]) -> str:
    """Size of a network in words."""
    if not declared.own_architecture(network["name"]):
        return f"{network['blocks']} blocks of {network['channels']} channels"
    options = network.get("network_options") or {}
    sizes = ", ".join(f"{name} {value}" for name, value in options.items()) or "the size of its paper"
    return f"{network['name']} ({sizes})"


def comparable(run: Run) -> bool:
    """Whether a run is at the paper's scale: a network of full size (EDSR: 32 blocks of 256 channels), 10⁶ steps of
    batch 16, on DIV2K."""
    setting, network = run.config["training"], run.config["network"]
    return bool(
        network["blocks"] >= 32
        and network["channels"] >= 256
        and not network.get("network_options")
        and setting["steps"] * setting["batch"] >= 16_000_000
        and any("DIV2K" in name for name in run.config["data"]["train"])
    )
