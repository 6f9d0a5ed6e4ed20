"""The last lines that a person reads: what was made, the table that matters, and commands to continue with."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sisr.config.layout import Results
from sisr.report.tables.view import Section, Text, View

LINES = 25
"""Most lines of the screen after a whole preset."""
_ROWS, _WIDTH = 6, 118
"""Most rows of its table, and its width in characters."""
# the table that matters first, and the columns of it that are shown: those whose heading starts so
_TABLES = {"compare": "PSNR", "table2": "difference", "k_sweep": "PSNR", "table4": "measured", "table1": "measured"}
_PAPER = "paper"


def lines(results: Results, preset: str, names: Sequence[str], summary: Path | None = None) -> list[str]:
    """At most `LINES` lines about the results of a preset.

    Args:
        names: the tables that it makes, of which one is shown.
        summary: the file with all tables as text.
    """
    first = f"{preset}: {_made(results)} in {results.root}"
    name = next((name for name in _TABLES if name in names), None)
    if name is None:
        return [first]
    page = results.comparison_page if name == "compare" else results.notebook(name)
    page = next(file for file in (page, results.table(name, "html"), results.table(name, "md")) if file.is_file())
    return [
        first,
        "",
        *_table(results, name),
        "",
        f"page: {page.resolve().as_uri()}",
        *([f"all tables: {summary}"] if summary else []),
        *_activation(),
        *next_steps(
            [
                ("open it", ["python", "-m", "webbrowser", str(page)]),
                ("add your attention", ["python", "-m", "sisr", "new-attention", "my_attention"]),
                _evidence(results, preset),
            ]
        ),
    ]


def next_steps(steps: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """One line a step: its purpose and its command, which is quoted for a shell."""
    width = max(len(purpose) for purpose, _ in steps)
    return [f"  {purpose + ':':<{width + 1}}  {shlex.join(command)}" for purpose, command in steps]


def _activation() -> list[str]:
    """How the environment of `make` is entered, if this shell has not done so: the commands need it."""
    script = Path(".venv", "bin", "activate")
    return [] if "VIRTUAL_ENV" in os.environ or not script.is_file() else [f"next, after `source {script}`:"]


def _evidence(results: Results, preset: str) -> tuple[str, list[str]]:
    if preset == "quick":
        return "get evidence", ["python", "-m", "sisr", "launch", "config/laptop.yaml", "--minutes", "120"]
    return "test the paper's claims", ["python", "-m", "sisr", "claims", "--results", str(results.root)]


def _made(results: Results) -> str:
    counts = {
        "networks": len(list(results.runs.glob("*/weights.safetensors"))),
        "tables": len(list(results.tables.glob("*.csv"))),
        "figures": len(list(results.figures.glob("*.png"))),
        "notebooks": len(list(results.notebooks.glob("*.ipynb"))),
    }
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _table(results: Results, name: str) -> list[str]:
    from sisr.report import tables
    from sisr.report.tables import render

    table = tables.read(name, results.root)
    if name == "compare":
        from sisr.comparison import table_view

        view = table_view.view(table)
    else:
        view = tables.view(name, table)
    limit = "" if view.comparable else " (small scale: not comparable with the paper's figures)"
    shown, columns = _reduced(view, _TABLES[name], 3), 3
    while len(body := render.aligned(shown, shown.sections[0], _WIDTH)) > len(shown.sections[0].rows) + 3 and columns:
        columns -= 1  # a column that does not fit would be continued below
        shown = _reduced(view, _TABLES[name], columns)
    return [f"{shown.title}{limit}", *body]


def _reduced(view: View, heading: str, most: int) -> View:
    """A table of the important columns and the measured rows alone, of its last scale."""
    wanted = [i for i, column in enumerate(view.columns) if heading in (column.label[: len(heading)], column.group)]
    measured = [index for index in wanted if view.columns[index].group != _PAPER]
    section = view.sections[-1]
    rows = [(label, cells) for label, cells in section.rows if any(cells[index].main for index in measured)][:_ROWS]
    kept = [index for index in wanted if any(cells[index].main for _, cells in rows)][:most]
    # a reason for a blank is too long here
    part = Section(
        section.title, [(label, [cells[i] if cells[i].main else Text("–") for i in kept]) for label, cells in rows]
    )
    title = f"{view.title}, {section.title}" if len(view.sections) > 1 else view.title
    return replace(view, title=title, columns=[view.columns[index] for index in kept], sections=[part], notes=[])
