"""A table as people read it, before it is Markdown, HTML or text for a terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from sisr.config.layout import Results
from sisr.results.cells import origin
from sisr.results.runs import Run, Setting
from sisr.results.statistics import FEW_IMAGES


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


def caveats(table: pd.DataFrame) -> list[str]:
    """What the intervals of a table cannot carry: sets of few images, and settings that were trained once."""
    counts = table[table["images"].notna() & (table["images"] < FEW_IMAGES)]
    sets = ", ".join(f"{name} ({int(n)})" for name, n in counts.groupby("dataset", sort=False)["images"].max().items())
    found = [f"Sets of few images, whose intervals are rough: {sets}."] if sets else []
    if protocols := [how for how in dict.fromkeys(table["protocol"]) if how]:
        found.append(f"Measured by protocol {'; '.join(protocols)}.")
    if (table["seeds"] == 1).any():
        found.append("Where there is one seed, the spread between trainings is not in the interval.")
    return found
