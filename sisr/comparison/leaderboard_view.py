"""The leaderboard for readers: as a table in Markdown and LaTeX, and as one HTML page that works offline."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from sisr.comparison import leaderboard, page
from sisr.comparison.learning_rates import chosen_rate
from sisr.comparison.page import Data
from sisr.comparison.result import Comparison
from sisr.config.layout import REPOSITORY, Results
from sisr.report.tables.view import (
    Column,
    Section,
    Text,
    View,
    banner,
    difference_text,
    lower_bounds,
    measured_text,
    protocols,
    rule,
)
from sisr.results.cells import number, text
from sisr.results.significance import VERDICTS
from sisr.utils.files import atomic_write

NOT_MEASURED = "not measured"
_COSTS = {
    # quantity: heading, unit, factor, decimals
    "parameters": ("parameters", "", 1.0, 0),
    "gflops": ("operations", "GFLOPs", 1.0, 2),
    "forward_seconds": ("forward", "ms", 1e3, 2),
    "training_seconds": ("forward and backward", "ms", 1e3, 2),
    "peak_memory_bytes": ("peak memory", "MB", 1e-6, 1),
}
_REFERENCE = "ENLCA"


def cost_columns(table: pd.DataFrame) -> list[tuple[str, str, str, float, int]]:
    """(quantity, heading, unit, factor, decimals) of the costs, one a size where there are several."""
    columns = []
    for name, (heading, unit, factor, digits) in _COSTS.items():
        sized = dict.fromkeys(each for each in table["quantity"] if each.startswith(f"{name} "))
        for quantity in sized or (name,):
            columns.append((quantity, f"{heading} {quantity.partition(' ')[2]}".strip(), unit, factor, digits))
    return columns


def parts(table: pd.DataFrame) -> list[tuple[str, Comparison]]:
    """The rows that are compared with one another, by what they share."""
    return [(terms, Comparison(table[table["terms"] == terms])) for terms in dict.fromkeys(table["terms"])]


def sets(table: pd.DataFrame) -> list[str]:
    """The test sets in their order."""
    return [name for name in dict.fromkeys(table["dataset"]) if name]


def reference(comparison: Comparison) -> str:
    """The label of ENLCA; blank where it was not trained on these terms."""
    return comparison.reference if (comparison.table["state"] == "reference").any() else ""


def view(table: pd.DataFrame) -> View:
    """Mechanisms beside one another on each set, with their cost; one section for all rows on the same terms."""
    costs, searched = cost_columns(table), bool((table["learning_rates"] != "").any())
    columns = [Column("learning rate")] if searched else []
    for dataset in sets(table):
        names = ("PSNR, dB", "SSIM", f"PSNR difference to {_REFERENCE}, dB", "Pareto front")
        columns += [Column(name, dataset) for name in names]
    columns += [Column(", ".join(filter(None, (heading, unit)))) for _, heading, unit, _, _ in costs]
    columns.append(Column("file"))
    sections = []
    for terms, comparison in parts(table):
        rows = []
        for label in (*comparison.labels, *comparison.controls):
            texts = [_rate(comparison, label)] if searched else []
            for dataset in sets(table):
                cells = [
                    comparison.cell(label, name, dataset) for name in ("psnr", "ssim", "psnr_difference", "pareto")
                ]
                difference = difference_text(cells[2], baseline=label == reference(comparison))
                texts += [measured_text(cells[0], 2), measured_text(cells[1], 4), difference, _word(cells[3])]
            for quantity, _, _, factor, digits in costs:
                measured = measured_text(comparison.cell(label, quantity), digits, factor)
                blank = Text("", NOT_MEASURED if label in comparison.labels else "")
                texts.append(measured if measured.main else blank)
            rows.append((label, [*texts, _word(comparison.cell(label, "file"))]))
        sections.append(Section(terms, rows))
    title = f"Leaderboard of the preset {' and '.join(preset for preset in dict.fromkeys(table['preset']) if preset)}"
    return View(leaderboard.NAME, title, *banner(table), columns, sections, notes(table))


def _rate(comparison: Comparison, label: str) -> Text:
    cell = comparison.cell(label, "psnr", comparison.datasets[0])
    words = "" if cell is None else str(cell["learning_rates"])
    return Text(chosen_rate(words), words.partition(" ")[2])


def _word(cell: "pd.Series[str] | None") -> Text:
    return Text("" if cell is None else str(cell["measured"]))


def notes(table: pd.DataFrame) -> list[str]:
    """How the rows were compared, and how their costs were measured."""
    lines = [
        f"Differences are to {_REFERENCE} on the same terms: scale, network, recipe and data. {rule(table)}",
        "Pareto front: no other mechanism reaches a higher PSNR with as many operations, or as much time of a forward "
        "at the largest size, or less. It compares means: a difference on it may be inconclusive.",
    ]
    lines += [
        f"{terms}: {_REFERENCE} was not trained there, so there are no differences."
        for terms, comparison in parts(table)
        if not reference(comparison)
    ]
    apart = table[table["recipe_differences"] != ""].drop_duplicates(["terms", "row"])
    lines += [
        f"{cell['row']} was trained with a different recipe than {_REFERENCE}: {cell['recipe_differences']}."
        for _, cell in apart.iterrows()
    ]
    costs = table[table["quantity"].str.startswith("forward_seconds ")]
    if costs.empty:
        lines.append("The cost of these mechanisms has not been measured yet: python -m sisr leaderboard cost.")
    else:
        first = costs.iloc[0]
        lines.append(
            f"Cost of one mechanism on a feature map of 64 channels, median and quartiles, one after another on "
            f"{first['hardware']}, torch {first['torch']}; memory is the peak of a forward beyond weights and input. "
            "GFLOPs are two operations a multiply-add at the largest size, by the paper's convention where it has one."
        )
    return [*lines, *lower_bounds(table), *protocols(table)]


Link = Callable[[str], str]
"""From a file of the repository to where a page links, blank for no link."""


def write(table: pd.DataFrame, results: Path) -> Path:
    """Write `leaderboard.html` into a results folder; it links to the mechanisms' files relative to that folder."""

    def link(file: str) -> str:
        found = next((place / file for place in (REPOSITORY, Path.cwd()) if (place / file).is_file()), None)
        return quote(Path(os.path.relpath(found, results)).as_posix()) if found else ""

    path, csv = Results(results).leaderboard_page, Results(results).table(leaderboard.NAME)
    with atomic_write(path) as temporary:
        temporary.write_text(html(table, link, {csv.name: csv.read_bytes()}), encoding="utf-8")
    return path


def html(table: pd.DataFrame, link: Link, saved: Mapping[str, bytes]) -> str:
    """The page. saved: files that can be saved from it, by name."""
    return page.render("leaderboard.html.j2", context(table, link, saved))


def context(table: pd.DataFrame, link: Link, saved: Mapping[str, bytes]) -> Data:
    """Everything that the page shows, as plain data."""
    shown, (warning, comparable) = parts(table), banner(table)
    several, searched = len(shown) > 1, bool((table["learning_rates"] != "").any())
    columns = [
        *([page.column("Compared at", kind="text")] if several else []),
        page.column("Set", kind="text"),
        *([page.column("Learning rate", "chosen")] if searched else []),
        page.column("PSNR", "dB", "descending"),
        page.column("Difference", "dB", "descending"),
        page.column("Verdict", "corrected p", kind="number text"),
        page.column("Seeds", "", "descending"),
        page.column("Pareto front", kind="text"),
        *(page.column(heading[0].upper() + heading[1:], unit) for _, heading, unit, _, _ in cost_columns(table)),
        page.column("SSIM", "", "descending"),
        page.column("SSIM difference", "", "descending"),
        page.column("SSIM verdict", "corrected p", kind="number text"),
        page.column("File", kind="text"),
    ]
    rows = [row for terms, comparison in shown for row in _rows(table, terms, comparison, link, several, searched)]
    view_ = view(table)
    return {
        "title": view_.title,
        "warning": warning,
        "comparable": comparable,
        "mechanisms": sum(len(comparison.labels) for _, comparison in shown),
        "reference": _REFERENCE,
        "filters": _filters(table, columns, several),
        "table": {
            "id": "leaderboard", "title": "Mechanisms", "caption": view_.title, "columns": columns, "rows": rows,
        },
        "downloads": page.downloads(saved),
        "notes": view_.notes,
        "preset": view_.title.rpartition(" ")[2],
    }  # fmt: skip


def _rows(
    table: pd.DataFrame, terms: str, comparison: Comparison, link: Link, several: bool, searched: bool
) -> Iterator[Data]:
    for dataset in sets(table):
        for label in (*comparison.labels, *comparison.controls):
            if comparison.measured(label, "psnr", dataset) is None:
                continue
            cells = [page.cell(terms, terms)] if several else []
            cells.append(page.cell(dataset, dataset))
            if searched:
                rate = _rate(comparison, label)
                cells.append(page.cell(rate.main, rate.main, rate.detail))
            psnr, ssim = (
                list(page.quality_cells(comparison, label, dataset, quantity, digits, reference(comparison)))
                for quantity, digits in (("psnr", 2), ("ssim", 4))
            )
            best = _word(comparison.cell(label, "pareto", dataset)).main
            seeds = text(number(comparison.cell(label, "psnr", dataset)["seeds"]), 0)
            cells += [*psnr, page.cell(seeds, seeds), page.cell(best, best)]
            for quantity, _, _, factor, _ in cost_columns(table):
                cell = page.cost_cell(comparison.measured(label, quantity), factor)
                missing = not cell["words"] and label in comparison.labels
                cells.append(page.cell(detail=NOT_MEASURED) if missing else cell)
            cells += ssim
            file, command = (_word(comparison.cell(label, name)).main for name in ("file", "command"))
            cells.append(page.cell("" if link(file) else file, file, link=(link(file), file), command=command))
            yield {"label": label, "control": label in comparison.controls, "cells": cells}


def _filters(table: pd.DataFrame, columns: list[Data], several: bool) -> list[Data]:
    """Fields above the table: a text that the mechanism contains, and one value of a column."""
    images = table[table["quantity"] == "psnr"].groupby("dataset", sort=False)["images"].max()
    place = {column["title"]: number for number, column in enumerate(columns, 1)}
    chosen = [("Set", "", sets(table), str(images.idxmax())), ("Verdict", "starts", VERDICTS, "")]
    if several:
        largest = max(parts(table), key=lambda part: len(part[1].labels))
        chosen.insert(0, ("Compared at", "", list(dict.fromkeys(table["terms"])), largest[0]))
    return [
        {"title": title, "column": place[title], "match": match, "options": options, "selected": selected}
        for title, match, options, selected in chosen
    ] + [{"title": "Pareto front", "column": place["Pareto front"], "match": "filled", "options": [], "selected": ""}]
