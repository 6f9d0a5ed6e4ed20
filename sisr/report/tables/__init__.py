"""The paper's tables, recomputed from per-image rows: `build` makes the tidy table, `view` what people read."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pandas as pd

from sisr.config import presets, settings
from sisr.config.layout import REPOSITORY, Results
from sisr.report.tables import k_sweep, latex, render, table1, table2, table4
from sisr.report.tables.view import View
from sisr.results import cells, runs
from sisr.utils.errors import UsageError
from sisr.utils.files import atomic_write

MODULES: dict[str, ModuleType] = {"table1": table1, "table2": table2, "table4": table4, "k_sweep": k_sweep}
NAMES = tuple(MODULES)
"""The paper's tables."""


def build(name: str, results: Path, ids: Sequence[str] | None = None, complexity: Path | None = None) -> pd.DataFrame:
    """The tidy table, one row a cell (`sisr.results.cells.Cell`).

    name: one of `NAMES`. results: folder of a preset. ids: runs to use; where None, all that were evaluated, or those
    of them that the preset plans for this table if several would be the same row.
    complexity: file of `python -m sisr complexity` for Table 4 (default: `complexity/table4.csv` in the results).
    Raises SisrError with one sentence where something that the table needs is missing.
    """
    check(name)
    costs = [complexity or Results(results).complexity()] if name == "table4" else []
    try:
        return _build(name, results, ids, *costs)
    except runs.SameRowError:
        of_preset = None if ids else planned(name, results)
        if not of_preset:
            raise
    return _build(name, results, of_preset, *costs)


def _build(name: str, results: Path, ids: Sequence[str] | None, *costs: Path) -> pd.DataFrame:
    table: pd.DataFrame = MODULES[name].build(runs.load(results, ids, weights=name == "table1"), results.name, *costs)
    return table


def planned(name: str, results: Path) -> list[str]:
    """Runs that the folder's preset plans for a table and that were evaluated; none where the preset is not known."""
    places = (Results(results).preset, REPOSITORY / "config" / f"{results.name}.yaml")
    if (file := next(filter(Path.is_file, places), None)) is None:
        return []
    of_table = presets.plan(settings.read(file), REPOSITORY).experiments.get(name, ())
    return [run.id for run in of_table if Results(results).evaluation(run.id).is_dir()]


def view(name: str, table: pd.DataFrame) -> View:
    """A tidy table as people read it."""
    check(name)
    view: View = MODULES[name].view(table)
    return view


def read(name: str, results: Path) -> pd.DataFrame:
    """The tidy table in a results folder."""
    return cells.read(Results(results).table(name))


def write(name: str, table: pd.DataFrame, results: Path) -> list[Path]:
    """Write `tables/<name>.{csv,md,html,tex}`; the tidy CSV comes last, so that the others exist wherever it does."""
    shown, path = view(name, table), Results(results).table(name, "html")
    _write(path, render.page(shown))
    return [*write_view(shown, table, path.parent), path]


def write_view(shown: View, table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write `<name>.{csv,md,tex}` into a folder; the tidy CSV comes last."""
    csv, markdown, tex = (folder / f"{shown.name}.{ending}" for ending in ("csv", "md", "tex"))
    _write(markdown, render.markdown(shown))
    _write(tex, latex.table(shown))
    cells.write(table, csv)
    return [csv, markdown, tex]


def _write(path: Path, content: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def check(name: str) -> None:
    """Raise UsageError for a name that is not in `NAMES`."""
    if name not in NAMES:
        raise UsageError(f"there is no table {name!r}; there are {', '.join(NAMES)}.")
