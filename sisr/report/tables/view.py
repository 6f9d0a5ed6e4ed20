"""A table as people read it, before it is Markdown, HTML or text for a terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sisr.config.layout import Results
from sisr.results.cells import bounded, measured_value, number, origin, span, text
from sisr.results.runs import Run, Setting
from sisr.results.significance import LEVEL, MARGINS


@dataclass(frozen=True)
class Text:
    """One cell: the figure, what qualifies it, and how it ranks in its column."""

    main: str = ""
    detail: str = ""
    """An interval, or the reason of a blank."""
    mark: str = ""
    """`best`, `second` or blank."""


@dataclass(frozen=True)
class Column:
    """One column under a heading that it may share with its neighbours."""

    label: str
    group: str = ""


@dataclass(frozen=True)
class Section:
    """Rows that belong together: (label of the row, one Text a column)."""

    title: str
    rows: list[tuple[str, list[Text]]]


@dataclass(frozen=True)
class View:
    """A whole table."""

    name: str
    title: str
    banner: str
    """At which preset it was measured, and how much training that is."""
    comparable: bool
    """Whether the measured figures are at the paper's scale."""
    columns: list[Column]
    sections: list[Section]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, table: pd.DataFrame, name: str, title: str,
        columns: list[Column], sections: list[Section], notes: list[str],
    ) -> "View":  # fmt: skip
        """The view of a tidy table, with its banner and with its protocol behind the notes."""
        return cls(name, title, *banner(table), columns, sections, [*notes, *protocols(table)])


def banner(table: pd.DataFrame) -> tuple[str, bool]:
    """What must be said of the measured figures before anyone reads them, and whether they are at the paper's scale."""
    trained = table[table["comparable"] != ""]
    if trained.empty:
        return "No trained network was measured for this table.", False
    preset = " and ".join(dict.fromkeys(trained["preset"]))
    trainings = list(dict.fromkeys(trained["training"]))
    if (trained["comparable"] == "yes").all():
        return f"Measured at preset “{preset}”, at the paper's scale: {'; '.join(trainings)}.", True
    return (
        f"Measured at preset “{preset}”: a toy scale, {'; '.join(trainings)}. "
        "Not comparable with the paper's figures, which come from 32 blocks of 256 channels and about 1,000,000 steps "
        "on DIV2K."
    ), False


def training_banner(runs: Iterable[Run | None]) -> tuple[str, bool]:
    """What must be said of pictures of these runs, and whether they are at the paper's scale; blank without a run."""
    rows = [origin(Setting((run,)), Results.of(run.evaluation).root.name) for run in runs if run is not None]
    return banner(pd.DataFrame(rows)) if rows else ("", True)


def marks(values: Sequence[float | None], digits: int) -> list[str]:
    """`best` and `second` of a column as printed: equal figures share a mark; nothing to rank, no marks."""
    printed = [None if value is None or value != value else round(value, digits) for value in values]
    order = sorted({value for value in printed if value is not None}, reverse=True)
    if len(order) < 2:
        return ["" for _ in values]
    names = {order[0]: "best", order[1]: "second"}
    return ["" if value is None else names.get(value, "") for value in printed]


def protocols(table: pd.DataFrame) -> list[str]:
    """By which protocol a table was measured; empty where nothing was."""
    measured = [how for how in dict.fromkeys(table["protocol"]) if how]
    return [f"Measured by protocol {'; '.join(measured)}."] if measured else []


def interval(table: pd.DataFrame) -> str:
    """What the intervals of trained networks cover: `95 % interval over images and training runs`, or images only."""
    seeds = table.loc[table["state"].isin(["trained", "reference"]), "seeds"].dropna()
    if (seeds == 1).all():
        return "95 % interval over images only (one seed)"
    mixed = " (images only with one seed)" if (seeds == 1).any() else ""
    return f"95 % interval over images and training runs{mixed}"


def rule(table: pd.DataFrame) -> str:
    """How the differences of a table are to be read."""
    tests = {name: int(table.loc[table["quantity"].str.startswith(name), "p"].notna().sum()) for name in MARGINS}
    paired = f"Differences are paired; each has its {interval(table)} and a verdict"
    if not any(tests.values()):
        return f"{paired}, which is inconclusive without a second seed (docs/compare.md)."
    counts = " and ".join(f"{count} tests of {name.upper()}" for name, count in tests.items() if count)
    sizes = " or ".join(f"±{size:g} {unit or 'in SSIM'}" for name, (size, unit) in MARGINS.items() if tests[name])
    return (
        f"{paired}. Better or worse: p is below {LEVEL:g} after correction for {counts} (Benjamini and Hochberg). "
        f"Equivalent: the whole interval lies within {sizes}. Else, or with one seed, inconclusive (docs/compare.md)."
    )


def measured_text(cell: Any, digits: int, factor: float = 1.0, mark: str = "") -> Text:
    """The number in a cell times `factor`, with its interval; without decimals it has thousands separators.

    A lower bound is marked with ≥.
    """
    value = measured_value(cell)
    if value is None:
        return Text()
    low, high = (None if (end := number(cell[name])) is None else end * factor for name in ("low", "high"))
    main = text(value * factor, digits) if digits else f"{value * factor:,.0f}"
    return Text(bounded(main, cell["at_least"]), span(low, high, digits), mark)


def lower_bounds(table: pd.DataFrame) -> list[str]:
    """A note on the cells that are lower bounds; none where every count is complete."""
    cells = table[table["at_least"] != ""]
    missing: dict[str, list[str]] = {}
    for _, cell in cells.iterrows():
        names = missing.setdefault(cell["row"], [])
        names += [name for name in cell["at_least"].split(", ") if name not in names]
    listed = "; ".join(f"{row}: {', '.join(names)}" for row, names in missing.items())
    return [f"≥: at least this many operations. What may multiply and is not counted: {listed}."] if listed else []


def difference_text(cell: Any, baseline: bool = False) -> Text:
    """A difference with its interval and verdict; `0` for the baseline itself, else the reason of a blank."""
    value = measured_value(cell)
    if value is None:
        return Text("0") if baseline else Text("", "" if cell is None else cell["note"])
    ends = span(cell["low"], cell["high"], 3, True)
    return Text(text(value, 3, True), ", ".join(part for part in (ends, cell["verdict"]) if part))
