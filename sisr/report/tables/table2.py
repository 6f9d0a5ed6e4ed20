"""Table 2, the ablation: what each part of ENLCA adds to the backbone without attention."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from sisr.config.declared import mechanisms
from sisr.config.declared import paper as paper_roles
from sisr.report.tables.view import Column, Section, Text, View, difference_text, measured_text, rule
from sisr.results import published
from sisr.results.cells import Cell, difference, frame, level, number, paper, text
from sisr.results.runs import Run, Setting, by_row, datasets, group
from sisr.utils.errors import SisrError

ROWS = {
    "baseline": "baseline: EDSR, no attention",
    "ENLA": "+ ENLA (k = 1)",
    "ENLA + amplification": "+ amplification (k above 1)",
    "ENLCA": "+ contrastive loss: ENLCA",
}
"""Rows as published, and how they are read: each adds one part to the row above."""


def row(setting: Setting) -> str | None:
    """Which row of the ablation a setting is; None for what is none of them."""
    run = setting.first
    if run.control:
        return None
    if run.attention is None:
        return "baseline"
    whole, without_loss = paper_roles()["MECHANISM"], paper_roles()["WITHOUT_LOSS"]
    if run.attention == whole and run.contrastive:
        return "ENLCA"
    if run.attention in (whole, without_loss) and not run.contrastive:
        return "ENLA" if float(mechanisms()[run.attention].option("k", run.options)) == 1 else "ENLA + amplification"
    return None


def build(runs: list[Run], preset: str) -> pd.DataFrame:
    """All cells of Table 2. Raises SisrError where the baseline was not measured."""
    settings = by_row(group(runs), row)
    scales = sorted({scale for _, scale in settings})
    for scale in scales or [0]:
        if ("baseline", scale) not in settings:
            where = f" at x{scale}" if scale else ""
            raise SisrError(f"Table 2 needs a run without attention as its baseline{where}; add one to --runs.")
    return frame(cell for scale in scales for cell in _scale(scale, settings, preset))


def _scale(scale: int, settings: dict[tuple[str, int], Setting], preset: str) -> Iterator[Cell]:
    baseline = settings["baseline", scale]
    for dataset in datasets([baseline]):
        for name in ROWS:
            setting = settings.get((name, scale))
            for quantity, unit in (("psnr", "dB"), ("psnr_difference", "dB"), ("ssim", "")):
                place: dict[str, Any] = {"table": "table2", "row": name, "kind": "network", "scale": scale}
                printed = {} if quantity == "ssim" else paper(published.figure("table2", name, quantity))
                known = {**place, "dataset": dataset, "quantity": quantity, "unit": unit, **printed}
                if setting is None or dataset not in setting.datasets:
                    yield Cell(**known, note=f"no run of this setting was evaluated on {dataset} at x{scale}")
                elif quantity == "psnr_difference" and name == "baseline":
                    yield Cell(**known, note="the baseline itself")
                elif quantity == "psnr_difference":
                    yield difference(known, setting, ("baseline", baseline), settings.values(), preset)
                else:
                    yield level(known, setting, preset)


def view(table: pd.DataFrame) -> View:
    """Table 2 for readers: PSNR and the paired difference to the baseline, beside the paper's difference."""
    sets = list(dict.fromkeys(table["dataset"]))
    columns = [Column("difference to baseline, dB", "paper")]
    for dataset in sets:
        columns += [Column("PSNR, dB", dataset), Column("difference to baseline, dB", dataset)]
    sections = []
    for scale in sorted(set(table["scale"])):
        part = table[table["scale"] == scale]
        rows = []
        for name, label in ROWS.items():
            cells = {(c["dataset"], c["quantity"]): c for _, c in part[part["row"] == name].iterrows()}
            texts = [_published(name)]
            for dataset in sets:
                texts.append(_level(cells.get((dataset, "psnr"))))
                texts.append(difference_text(cells.get((dataset, "psnr_difference")), name == "baseline"))
            rows.append((label, texts))
        sections.append(Section(f"x{int(scale)}", rows))
    notes = [
        rule(table),
        "The paper's data set, backbone and absolute figures of Table 2 are not known to this suite, "
        "so only its differences stand here.",
    ]
    return View.of(table, "table2", "Table 2: what each part of ENLCA adds", columns, sections, notes)


def _published(name: str) -> Text:
    figure = published.figure("table2", name, "psnr_difference")
    if name == "baseline":
        return Text("0")
    return Text("", figure.note) if figure.value is None else Text(text(figure.value, 2, sign=True))


def _level(cell: Any) -> Text:
    return Text("", cell["note"]) if cell is not None and number(cell["measured"]) is None else measured_text(cell, 2)
