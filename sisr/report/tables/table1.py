"""Table 1: the paper's fourteen methods, and beside them what was measured, with the floor and the ceiling.

Measured are the networks trained here and, where they were evaluated, published weights and SR images of other methods.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from sisr.config.declared import networks
from sisr.report.tables.view import Column, Section, Text, View, marks
from sisr.results import published
from sisr.results.cells import Cell, difference, frame, level, number, paper, span, text
from sisr.results.published import Figure
from sisr.results.runs import CONTROLS, Run, Setting, by_row, datasets, group

_OF_IMAGES = " (its authors' SR images)"
"""End of a row's name where the method was also trained here or measured with weights."""
_ELSEWHERE = ("published weights", "published images")


def row(setting: Setting) -> str:
    """Label of a setting: the paper's name where it has one, else network and attention."""
    run = setting.first
    if run.control:
        return CONTROLS[run.control]
    if run.method:
        return run.method
    name = run.config["network"]["name"]
    known = networks().get(name)
    if known is not None and known.get("attention") == run.attention:
        return known.title
    name = name.rpartition(":")[2]
    return name if run.attention is None else f"{name} with {run.attention}"


def build(runs: list[Run], preset: str) -> pd.DataFrame:
    """All cells of Table 1 at every scale that was measured or published."""
    grouped = group(runs)
    others = {row(each) for each in grouped if not each.first.images}

    def label(setting: Setting) -> str:
        return f"{row(setting)}{_OF_IMAGES}" if setting.first.images and row(setting) in others else row(setting)

    settings = by_row(grouped, label)
    sets = list(published.SETS) + [name for name in datasets(settings.values()) if name not in published.SETS]
    scales = sorted({scale for _, scale in settings} | {2, 4})
    names = dict.fromkeys([*published.methods(), *(name for name, _ in settings)])
    rows = sorted(names, key=lambda name: {CONTROLS["bicubic"]: -1, CONTROLS["hr"]: 1}.get(name, 0))
    return frame(
        cell
        for scale in scales
        for name in rows
        for dataset in sets
        for cell in _cells(name, scale, dataset, settings, preset)
    )


def _cells(
    name: str, scale: int, dataset: str, settings: dict[tuple[str, int], Setting], preset: str
) -> Iterator[Cell]:
    setting = settings.get((name, scale))
    kind = "control" if name in CONTROLS.values() else "network"
    place: dict[str, Any] = {"table": "table1", "row": name, "kind": kind, "scale": scale, "dataset": dataset}
    for quantity, unit in (("psnr", "dB"), ("ssim", "")):
        printed = paper(published.table1_figure(name.removesuffix(_OF_IMAGES), scale, dataset, quantity))
        cell = {**place, "quantity": quantity, "unit": unit, **printed}
        if setting is None:
            yield Cell(**cell, note=f"no run of {name} at x{scale} among the given runs")
        elif dataset not in setting.datasets:
            yield Cell(**cell, note=f"{name} x{scale} was not evaluated on {dataset}")
        else:
            if setting.first.method:
                cell["unrounded_lr"] = "yes" if setting.first.provenance.get("unrounded_lr") else ""
            yield level(cell, setting, preset)
    # published weights, trained to the end, are not compared with networks trained here, perhaps at a toy scale
    if setting is None or dataset not in setting.datasets or setting.first.method:
        return
    for other, quantity in (("bicubic", "psnr_over_bicubic"), ("EDSR", "psnr_over_edsr")):
        yardstick = settings.get((other, scale))
        if yardstick is None or name in CONTROLS.values() or name == other or dataset not in yardstick.datasets:
            continue
        gain = _published_gain(name, other, scale, dataset)
        cell = {**place, "quantity": quantity, "unit": "dB", **paper(gain)}
        yield difference(cell, setting, (other, yardstick), settings.values(), preset)


def _published_gain(name: str, other: str, scale: int, dataset: str) -> Figure:
    """Difference of two means that the paper prints: derived, since the paper prints no difference."""
    if other == "bicubic":
        return Figure(None, "unknown", "the paper's table has no bicubic row")
    pair = [published.table1_figure(method, scale, dataset, "psnr") for method in (name, other)]
    first, second = (figure.value for figure in pair)
    if first is None or second is None:
        return Figure(None, "unknown", pair[0].note or pair[1].note)
    return Figure(round(first - second, 2), "derived", "difference of the printed means")


def view(table: pd.DataFrame) -> View:
    """Table 1 for readers: a column a data set, published and measured, marked separately."""
    sets = list(dict.fromkeys(table["dataset"]))
    columns, fields = [], []
    for dataset in sets:
        part = table[table["dataset"] == dataset]
        for source, label in (("published", "paper"), ("measured", "measured")):
            if any(number(value) is not None for value in part[source]):
                columns.append(Column(label, dataset))
                fields.append((dataset, source))
    sections = []
    for scale in sorted(set(table["scale"])):
        part = table[table["scale"] == scale]
        names = [name for name in dict.fromkeys(part["row"]) if _filled(part[part["row"] == name])]
        cells = [_column(part, names, dataset, source) for dataset, source in fields]
        rows = [(_label(name), [cell[index] for cell in cells]) for index, name in enumerate(names)]
        sections.append(Section(f"x{int(scale)}", rows))
    notes = [
        "PSNR (dB) / SSIM on luma, a border of as many pixels as the scale cut off; under a measured figure the 95 % "
        "interval of its PSNR over images (and seeds, where there are several).",
        "Bold: best, underlined: second best, by PSNR, among the published and among the measured networks separately "
        "(controls, published weights and published images are not ranked).",
        "bicubic is the floor and the HR image itself the ceiling, through the same evaluator; "
        "the paper's table has neither.",
        "LapSRN on B100 x2 stands as printed (31.08); LapSRN's own paper says 31.80.",
    ]
    return View.of(table, "table1", "Table 1: PSNR and SSIM", columns, sections, notes + _elsewhere(table))


EXPLAINED = 0.02
"""Differences to print beyond so many dB are named and explained."""


def _elsewhere(table: pd.DataFrame) -> list[str]:
    """What was measured with published weights and images, and where it differs from print and why."""
    psnr = table[table["quantity"] == "psnr"]
    weights, images = (psnr[psnr["state"] == state] for state in _ELSEWHERE)
    return [*(_about_weights(weights) if len(weights) else ()), *(_about_images(images) if len(images) else ())]


def _about_images(cells: pd.DataFrame) -> list[str]:
    names = [name.removesuffix(_OF_IMAGES) for name in dict.fromkeys(cells["row"])]
    notes = [f"{', '.join(names)}: measured from SR images that the authors published."]
    for _, cell in cells.iterrows():
        printed, measured = number(cell["published"]), float(cell["measured"])
        if printed is not None and abs(round(round(measured, 2) - printed, 2)) > EXPLAINED:
            name = cell["row"].removesuffix(_OF_IMAGES)
            notes.append(
                f"{name} on {cell['dataset']} x{int(cell['scale'])}: its authors' own images give "
                f"{text(measured, 2)} dB, the table of the paper prints {text(printed, 2)}."
            )
    return notes


def _about_weights(cells: pd.DataFrame) -> list[str]:
    names = list(dict.fromkeys(cells["row"]))
    unrounded = [name for name in names if (cells.loc[cells["row"] == name, "unrounded_lr"] == "yes").any()]
    origin = (
        f"; {', '.join(unrounded)} from LR that was not rounded to 8 bits, as its authors test" if unrounded else ""
    )
    notes = [f"{', '.join(names)}: measured with published weights, not trained here{origin}."]
    apart = []
    for _, cell in cells.iterrows():
        printed = number(cell["published"])
        if printed is None:
            continue
        deviation = round(round(float(cell["measured"]), 2) - printed, 2)
        if abs(deviation) > EXPLAINED:
            where = f"{cell['row']} on {cell['dataset']} x{int(cell['scale'])}"
            apart.append(f"{where} {text(deviation, 2, True)} dB")
    if apart:
        notes.append(
            f"More than {EXPLAINED} dB from the published value: {', '.join(apart)}. docs/checks.md measures what is "
            "known to make such differences (LR rounded to 8 bits or not, Y rounded or not, the greyscale image of "
            "Set14 as grey or as RGB), and says what they leave unexplained."
        )
    return notes


def _label(name: str) -> str:
    return {"bicubic": "bicubic (floor)", CONTROLS["hr"]: "HR image (ceiling)"}.get(name, name)


def _filled(part: pd.DataFrame) -> bool:
    return any(number(value) is not None for source in ("published", "measured") for value in part[source])


def _column(part: pd.DataFrame, names: list[str], dataset: str, source: str) -> list[Text]:
    cells = {(str(c["row"]), str(c["quantity"])): c for _, c in part[part["dataset"] == dataset].iterrows()}
    psnr = [number(cells[name, "psnr"][source]) for name in names]
    unranked = set(CONTROLS.values())
    if source == "measured":
        unranked |= {name for name in names if cells[name, "psnr"]["state"] in _ELSEWHERE}
    ranked = [None if name in unranked else value for name, value in zip(names, psnr, strict=True)]
    texts = []
    for name, value, mark in zip(names, psnr, marks(ranked, 2), strict=True):
        if value is None:
            texts.append(Text("–" if source == "published" and name in published.methods() else ""))
            continue
        ssim = text(number(cells[name, "ssim"][source]), 4)
        cell = cells[name, "psnr"]
        detail = span(cell["low"], cell["high"], 2) if source == "measured" else ""
        texts.append(Text(f"{text(value, 2)} / {ssim}", detail, mark))
    return texts
