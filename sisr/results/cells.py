"""One row a cell: the long form in which every table is stored, with the origin of each figure."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from math import isinf, isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.results import significance
from sisr.results.published import Figure
from sisr.results.runs import Setting, comparable, training
from sisr.results.significance import Estimate
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One figure of one table: what the paper says, what was measured, and where that comes from."""

    table: str
    row: str
    kind: str
    """`control`, `network`, `mechanism`, `setting` or `theory`."""
    scale: int | None = None
    dataset: str = ""
    quantity: str
    unit: str
    published: float | None = None
    published_status: str = ""
    published_note: str = ""
    measured: float | str | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    """`95 %, images and seeds`, `95 %, images only`, `quartiles` (of repeated timings) or blank."""
    against: str = ""
    """The row that a difference is to."""
    se_images: float | None = None
    se_trainings: float | None = None
    freedom: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    """After the correction for the number of tests of one quantity in the table."""
    verdict: str = ""
    """On a difference (`sisr.results.significance.verdict`)."""
    state: str = ""
    """`trained`, `reference` (of a comparison), `published weights`, `control`, or blank where no setting is behind."""
    unrounded_lr: str = ""
    """`yes` where published weights were given LR images that were not rounded to 8 bits."""
    recipe_differences: str = ""
    """Settings of the recipe in which a mechanism differs from the reference."""
    note: str = ""
    images: int | None = None
    seeds: int | None = None
    runs: str = ""
    git_commit: str = ""
    weights_sha256: str = ""
    hardware: str = ""
    torch: str = ""
    protocol: str = ""
    """How PSNR and SSIM were measured, and what the LR images come from."""
    preset: str = ""
    training: str = ""
    comparable: str = ""
    """`yes` where the training is at the paper's scale, `no` where it is not, blank for what is not trained."""


COLUMNS = tuple(field.name for field in fields(Cell))


def frame(cells: Iterable[Cell]) -> pd.DataFrame:
    """The cells as a table, one row a cell; the differences of each quantity get their verdicts together."""
    return pd.DataFrame([asdict(cell) for cell in _judged(list(cells))], columns=list(COLUMNS))


def _judged(cells: list[Cell]) -> list[Cell]:
    for quantity in significance.MARGINS:
        places = [i for i, c in enumerate(cells) if c.against and c.quantity.startswith(quantity)]
        p = significance.corrected([_or_nan(cells[i].p) for i in places])
        for place, value in zip(places, p, strict=True):
            cell = cells[place]
            word = significance.verdict(_or_nan(cell.low), _or_nan(cell.high), value, quantity)
            cells[place] = replace(cell, p_corrected=_or_none(value), verdict=word)
    return cells


def _or_nan(value: float | None) -> float:
    return nan if value is None else value


def _or_none(value: float) -> float | None:
    return None if isnan(value) else value


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a tidy table; blanks are blanks and infinite PSNR is `inf`."""
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False)


def read(path: Path) -> pd.DataFrame:
    """Read what `write` wrote. Raises SisrError where there is none."""
    if not path.is_file():
        raise SisrError(f"there is no table at {path}; run python -m sisr tables {path.stem} first.")
    texts = {
        field.name: str for field in fields(Cell) if field.type is str or field.name in ("measured", "published_note")
    }
    table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={name: [""] for name in _NUMBERS})
    if missing := set(COLUMNS) - set(table.columns):
        raise SisrError(
            f"{path} lacks the column {min(missing)}; make it again with python -m sisr tables {path.stem}."
        )
    return table


_NUMBERS = (
    "scale", "published", "low", "high", "se_images", "se_trainings", "freedom", "p", "p_corrected", "images", "seeds",
)  # fmt: skip


def number(value: Any) -> float | None:
    """A measured cell as a number; None where it is blank (NaN among numbers) or a text."""
    try:
        found = float("nan" if value in ("", None) else value)
    except ValueError:
        return None
    return None if isnan(found) else found


def measured(cell: dict[str, Any], setting: Setting, found: Estimate, preset: str) -> Cell:
    """A cell with its figure, interval and origin. `cell` holds the fields that say which cell it is."""
    known: dict[str, Any] = {
        "state": setting.state,
        **origin(setting, preset),
        "protocol": setting.protocol(cell["dataset"]),
        **cell,
    }
    known["note"] = "; ".join(part for part in (cell.get("note", ""), found.note) if part)
    known |= {name: _or_none(getattr(found, name)) for name in ("low", "high", "se_images", "se_trainings", "freedom")}
    return Cell(
        **known,
        measured=_or_none(found.value),
        interval=found.covers,
        images=found.images,
        seeds=found.seeds or None,
    )


def level(cell: dict[str, Any], setting: Setting, preset: str) -> Cell:
    """A cell with the mean of a setting; the cell's quantity is `psnr` or `ssim`."""
    return measured(cell, setting, significance.mean(setting.sample(cell["dataset"], cell["quantity"])), preset)


def difference(
    cell: dict[str, Any],
    setting: Setting,
    baseline: tuple[str, Setting],
    table: Iterable[Setting],
    preset: str,
    quantity: str = "psnr",
) -> Cell:
    """A cell with the paired difference of a setting to a baseline, which is given with the name of its row.

    table: all settings of the table. Raises SisrError where the two have not the same images.
    """
    against, other = baseline
    found = compare(setting, other, table, cell["dataset"], quantity)
    return replace(measured(cell, setting, found, preset), against=against, p=_or_none(found.p))


def compare(
    setting: Setting, baseline: Setting, table: Iterable[Setting], dataset: str, quantity: str = "psnr"
) -> Estimate:
    """The paired difference of two settings of a table on one set."""
    same_images(setting, baseline, dataset)
    at_scale = [each for each in table if each.first.scale == setting.first.scale and dataset in each.datasets]
    pool = [each.sample(dataset, quantity) for each in at_scale]
    return significance.difference(setting.sample(dataset, quantity), baseline.sample(dataset, quantity), pool)


def origin(setting: Setting, preset: str) -> dict[str, str]:
    """Where the figures of a setting come from: runs, commit, weights, hardware, torch, preset, training."""
    runs = setting.runs
    known = [run.provenance for run in runs if run.provenance]

    def all_(key: str) -> str:
        return " ".join(dict.fromkeys(str(item[key]) for item in known if item.get(key) is not None))

    commit = all_("git_commit")
    if any(item.get("git_clean") is False for item in known):
        commit += " (with uncommitted changes)"
    trained = [run for run in runs if run.config]
    return {
        "runs": " ".join(run.id for run in runs),
        "git_commit": commit,
        "weights_sha256": all_("weights_sha256"),
        "hardware": "; ".join(dict.fromkeys(_hardware(item) for item in known)),
        "torch": all_("torch"),
        "preset": str(setting.first.config.get("preset") or preset),
        "training": training(setting.first),
        "comparable": "" if not trained else "yes" if all(comparable(run) for run in trained) else "no",
    }


def _hardware(provenance: dict[str, Any]) -> str:
    device, threads = str(provenance.get("device", "")), provenance.get("threads")
    return f"{device} ({threads} thread{'s' if threads > 1 else ''})" if threads else device


def paper(figure: Figure) -> dict[str, Any]:
    """The `published` fields of a cell."""
    return {"published": figure.value, "published_status": figure.status, "published_note": figure.note}


def same_images(setting: Setting, baseline: Setting, dataset: str) -> None:
    """Raise SisrError where two settings were not evaluated on the same images of a data set."""
    if setting.images(dataset) != baseline.images(dataset):
        raise SisrError(
            f"{setting.first.id} and {baseline.first.id} were not evaluated on the same images of {dataset}; "
            "evaluate both again."
        )


def text(value: float | None, digits: int, sign: bool = False) -> str:
    """A figure with so many decimals, a true minus sign and ∞; blank for None and NaN."""
    if value is None or isnan(value):
        return ""
    if isinf(value):
        return "∞"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def span(low: float | None, high: float | None, digits: int, sign: bool = False) -> str:
    """An interval as `[28.10, 29.45]`; blank where there is none."""
    first, last = text(low, digits, sign), text(high, digits, sign)
    return f"[{first}, {last}]" if first and last else ""
