"""One row a cell: the long form in which every table is stored, with the origin of each figure."""

from collections.abc import Iterable, Mapping
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
    """`trained`, `reference` (of a comparison), `published weights`, `published images`, `control`, or blank where no
    setting is behind."""
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
    at_least: str = ""
    """Operators that a number of operations leaves out, joined by commas: `measured` is then a lower bound."""
    learning_rates: str = ""
    """The search that chose the learning rate (`sisr.comparison.learning_rates.in_words`); blank without one."""
    terms: str = ""
    """In the leaderboard, what the rows that are compared share: scale, network, recipe."""


COLUMNS = tuple(field.name for field in fields(Cell))
_ADDED = {"at_least": "", "learning_rates": "", "terms": ""}
"""Columns that tables of older versions lack."""


def frame(cells: Iterable[Cell]) -> pd.DataFrame:
    """The cells as a table, one row a cell; the differences of each quantity get their verdicts together."""
    return pd.DataFrame([asdict(cell) for cell in _judged(list(cells))], columns=list(COLUMNS))


def _judged(cells: list[Cell]) -> list[Cell]:
    for quantity in significance.MARGINS:
        indices = [i for i, c in enumerate(cells) if c.against and c.quantity.startswith(quantity)]
        corrected = significance.corrected([_or_nan(cells[i].p) for i in indices])
        for i, p in zip(indices, corrected, strict=True):
            word = significance.verdict(_or_nan(cells[i].low), _or_nan(cells[i].high), p, quantity)
            cells[i] = replace(cells[i], p_corrected=_or_none(p), verdict=word)
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
    return read_typed(path, Cell, f"python -m sisr tables {path.stem}", _ADDED)


def read_typed(path: Path, kind: type, command: str, added: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A table with the fields of a dataclass as columns; only optional numbers may be blank, and become NaN.

    added: as in `read_columns`.
    """
    numbers = {field.name for field in fields(kind) if field.type in (int | None, float | None)}
    plain = {field.name for field in fields(kind) if field.type in (int, float, bool)}
    columns = [field.name for field in fields(kind) if field.name not in (added or {})]
    texts = {name: str for name in columns if name not in numbers | plain}
    blanks = {name: [""] for name in numbers}
    return read_columns(path, columns, command, added=added, dtype=texts, keep_default_na=False, na_values=blanks)


def read_columns(
    path: Path,
    columns: Iterable[str],
    command: str,
    missing: str = "is no table",
    added: Mapping[str, str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """A CSV file that has these columns. options: of `pandas.read_csv`.

    added: columns of text that files of older versions lack, with their value there and in blank cells.

    Raises SisrError, with the command that makes the file, where the file or a column is missing.
    """
    if not path.is_file():
        raise SisrError(f"there {missing} at {path}; run {command} first.")
    try:
        table: pd.DataFrame = pd.read_csv(path, **options)
    except ValueError as error:
        raise SisrError(f"{path} is not a table ({error}); make it again with {command}.") from error
    if absent := set(columns) - set(table.columns):
        raise SisrError(f"{path} lacks the column {min(absent)}; make it again with {command}.")
    for name, value in (added or {}).items():
        table[name] = table[name].fillna(value).astype(str) if name in table.columns else value
    return table


def select_measured(table: pd.DataFrame, *quantities: str) -> pd.DataFrame:
    """The cells of these quantities that hold a measured number."""
    part = table[table["quantity"].isin(quantities)]
    return part[[number(value) is not None for value in part["measured"]]]


def by_place(table: pd.DataFrame) -> list[tuple[int, str, pd.DataFrame]]:
    """(scale, data set, its cells) in the table's order."""
    places = dict.fromkeys(zip(table["scale"], table["dataset"], strict=True))
    return [(int(s), str(d), table[(table["scale"] == s) & (table["dataset"] == d)]) for s, d in places]


def number(value: Any) -> float | None:
    """A measured cell as a number; None where it is blank (NaN among numbers) or a text."""
    try:
        return None if value in ("", None) else _or_none(float(value))
    except ValueError:
        return None


def measured_value(cell: Any) -> float | None:
    """The number in a cell; None where there is no cell or nothing was measured."""
    return None if cell is None else number(cell["measured"])


def measured(cell: dict[str, Any], setting: Setting, estimate: Estimate, preset: str) -> Cell:
    """A cell with its value, interval and origin. `cell`: the fields that identify it."""
    numbers = {"measured": "value"} | {name: name for name in ("low", "high", "se_images", "se_trainings", "freedom")}
    values: dict[str, Any] = {name: _or_none(getattr(estimate, field)) for name, field in numbers.items()}
    values |= {"state": setting.state, **origin(setting, preset), "protocol": setting.protocol(cell["dataset"]), **cell}
    values |= {"interval": estimate.covers, "images": estimate.images, "seeds": estimate.seeds or None}
    return Cell(**values, note=estimate.note)


def level(cell: dict[str, Any], setting: Setting, preset: str) -> Cell:
    """A cell with the mean of a setting; the cell's quantity is `psnr` or `ssim`."""
    return measured(cell, setting, significance.mean(setting.sample(cell["dataset"], cell["quantity"])), preset)


def difference(
    cell: dict[str, Any], setting: Setting, baseline: tuple[str, Setting], table: Iterable[Setting], preset: str
) -> Cell:
    """A cell with the paired difference of a setting to a baseline, which is given with the name of its row.

    The cell's quantity begins with `psnr` or `ssim`. table: all settings of the table.
    Raises SisrError where the two have not the same images.
    """
    against, other = baseline
    estimate = compare(setting, other, table, cell["dataset"], cell["quantity"].partition("_")[0])
    return replace(measured(cell, setting, estimate, preset), against=against, p=_or_none(estimate.p))


def compare(
    setting: Setting, baseline: Setting, table: Iterable[Setting], dataset: str, quantity: str = "psnr"
) -> Estimate:
    """The paired difference of two settings of a table on one set.

    Raises SisrError where they were not evaluated on the same images.
    """
    if setting.images(dataset) != baseline.images(dataset):
        raise SisrError(
            f"{setting.first.id} and {baseline.first.id} were not evaluated on the same images of {dataset}; "
            "evaluate both again."
        )
    at_scale = [each for each in table if each.first.scale == setting.first.scale and dataset in each.datasets]
    pool = [each.sample(dataset, quantity) for each in at_scale]
    return significance.difference(setting.sample(dataset, quantity), baseline.sample(dataset, quantity), pool)


def origin(setting: Setting, preset: str) -> dict[str, str]:
    """Where the figures of a setting come from: runs, commit, weights, hardware, torch, preset, training."""
    runs = setting.runs
    provenances = [run.provenance for run in runs if run.provenance]

    def all_(key: str) -> str:
        return " ".join(dict.fromkeys(str(item[key]) for item in provenances if item.get(key) is not None))

    commit = all_("git_commit")
    if any(item.get("git_clean") is False for item in provenances):
        commit += " (with uncommitted changes)"
    trained = [run for run in runs if run.config]
    return {
        "runs": " ".join(run.id for run in runs),
        "git_commit": commit,
        "weights_sha256": all_("weights_sha256"),
        "hardware": "; ".join(dict.fromkeys(_hardware(item) for item in provenances)),
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


def text(value: float | None, digits: int, sign: bool = False) -> str:
    """A figure with so many decimals, a true minus sign and ∞; blank for None and NaN."""
    if value is None or isnan(value):
        return ""
    if isinf(value):
        return "∞"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def bounded(words: str, at_least: str) -> str:
    """A figure as `≥ 1.40` where it is a lower bound: where `at_least` names what it leaves out."""
    return f"≥ {words}" if words and at_least else words


def ratio_bound(at_least: str, other: str) -> str | None:
    """`at least ` or `at most ` for the ratio of two counts, either of which may be a lower bound; None if both are."""
    if at_least and other:
        return None
    return "at least " if at_least else "at most " if other else ""


def span(low: float | None, high: float | None, digits: int, sign: bool = False) -> str:
    """An interval as `[28.10, 29.45]`; blank where there is none."""
    first, last = text(low, digits, sign), text(high, digits, sign)
    return f"[{first}, {last}]" if first and last else ""
