"""The paper's tables, recomputed from per-image rows: `build` makes the tidy table, `view` what people read."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sisr.comparison import table_view
from sisr.report.tables import k_sweep, render, table1, table2, table4
from sisr.report.tables.view import View
from sisr.results import cells, runs
from sisr.utils.errors import UsageError
from sisr.utils.files import atomic_write

NAMES = ("table1", "table2", "table4", "k_sweep")
"""The paper's tables."""
COMPARISON = "compare"
"""The comparison of mechanisms; it is made of labelled runs, by `sisr.comparison.table.build`."""
ALL = (*NAMES, COMPARISON)
_MODULES = {"table1": table1, "table2": table2, "k_sweep": k_sweep}


def build(name: str, results: Path, ids: Sequence[str] | None = None, complexity: Path | None = None) -> pd.DataFrame:
    """The tidy table, one row a cell (`sisr.results.cells.Cell`).

    name: one of `NAMES`. results: folder of a preset. ids: runs to use, all that were evaluated where None.
    complexity: file of `python -m sisr complexity` for Table 4 (default: `complexity/table4.csv` in the results).
    Raises SisrError with one sentence where something that the table needs is missing.
    """
    check(name)
    found = runs.load(results, ids, weights=name == "table1")
    if name == "table4":
        return table4.build(found, results.name, complexity or results / "complexity" / "table4.csv")
    return _MODULES[name].build(found, results.name)


def view(name: str, table: pd.DataFrame) -> View:
    """A tidy table as people read it."""
    check(name, ALL)
    if name == COMPARISON:
        return table_view.view(table)
    return table4.view(table) if name == "table4" else _MODULES[name].view(table)


def read(name: str, results: Path) -> pd.DataFrame:
    """The tidy table that stands in a results folder."""
    check(name, ALL)
    return cells.read(results / "tables" / f"{name}.csv")


def write(name: str, table: pd.DataFrame, results: Path) -> list[Path]:
    """Write `tables/<name>.{csv,md,html}` as `write_to` does."""
    return write_to(name, table, results / "tables")


def write_to(name: str, table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write `<name>.{csv,md,html}` into a folder; the tidy CSV comes last, so that it stands for all.

    A comparison has no HTML table: its HTML view is `comparison.html`.
    """
    shown = view(name, table)
    forms = {"md": render.markdown(shown)} | ({} if name == COMPARISON else {"html": render.page(shown)})
    paths = []
    for ending, content in forms.items():
        with atomic_write(folder / f"{name}.{ending}") as temporary:
            temporary.write_text(content, encoding="utf-8")
        paths.append(folder / f"{name}.{ending}")
    cells.write(table, folder / f"{name}.csv")
    return [folder / f"{name}.csv", *paths]


def check(name: str, known: Sequence[str] = NAMES) -> None:
    """Raise UsageError for a table that there is none of."""
    if name not in known:
        raise UsageError(f"there is no table {name!r}; there are {', '.join(known)}.")
