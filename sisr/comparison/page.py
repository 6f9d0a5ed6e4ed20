"""The page of a comparison: one HTML file that holds everything, to be mailed and opened without a network.

Its policy (Content-Security-Policy) forbids every request; style and script stand in the page and are admitted by hash.
"""

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from math import isfinite
from pathlib import Path

from sisr.comparison import crops, page_parts, result, table_view
from sisr.comparison import sentences as answers
from sisr.comparison.page_parts import Cell, Column, Row, badge, download, interval, picture, swatch
from sisr.comparison.page_style import SCRIPT, STYLE
from sisr.comparison.result import Comparison
from sisr.report.tables.view import banner
from sisr.results.cells import number, span, text
from sisr.utils.files import atomic_write

NAME = "comparison.html"
FIGURES = {
    "compare_differences": (
        "Differences",
        "Difference to {reference} on each set, mean over images with its 95 % interval, PSNR on the left and SSIM on "
        "the right. Filled points are better or worse than the reference after correction for the number of tests.",
    ),
    "compare_pareto": (
        "Gain over cost",
        "PSNR against {reference} over the operations and the time of one mechanism alone. On the dashed line "
        "stands what no mechanism of the same or a lower cost matches.",
    ),
    "compare_cost": (
        "Cost over image size",
        "Time and memory of one mechanism alone as the feature map grows. The grey lines show growth in proportion to "
        "the pixels and to their square.",
    ),
}


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def write(results: Path) -> Path:
    """Write `comparison.html` from the tables, figures and crops of a results folder.

    Raises SisrError where the table is missing; costs, figures and crops that are not there are left out.
    """
    with atomic_write(results / NAME) as temporary:
        temporary.write_text(page(results), encoding="utf-8")
    return results / NAME


def page(results: Path) -> str:
    """The page's HTML."""
    comparison = result.read(results)
    parts = [
        _answers(comparison),
        _tables(comparison, results),
        _figures(comparison, results),
        _crops(comparison, results),
        _methods(comparison),
        _origin(comparison, results),
    ]
    title = f"{_listed(comparison.others)} compared with {comparison.reference}"
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{_top(comparison, title)}\n<main>\n" + "\n".join(part for part in parts if part) + "\n</main>\n"
        "<footer><p>Written by <code>python -m sisr compare page</code> of sisr-attention-bench. This file holds "
        "everything it shows and makes no network request.</p></footer>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _top(comparison: Comparison, title: str) -> str:
    said, comparable = banner(comparison.table)
    sets = _listed([f"{name} ({_images(comparison, name)} images)" for name in comparison.datasets])
    seeds = number(comparison.cell(comparison.reference, "psnr", comparison.datasets[0])["seeds"])
    trained = f"trained alike, {int(seeds)} seed{'s' if seeds > 1 else ''} each" if seeds else "trained alike"
    links = (("answer", "Answer"), ("table", "Table"), ("figures", "Figures"), ("crops", "Crops"),
             ("methods", "Methods"), ("origin", "Where this comes from"))  # fmt: skip
    return (
        f'<header><p class="eyebrow">Attention for super-resolution ×{comparison.scale} · preset '
        f"{escape(comparison.preset)}</p><h1>{escape(title)}</h1>"
        f'<p class="lede">One backbone, {len(comparison.labels)} attention mechanisms in it, {trained}, measured on '
        f'{escape(sets)}.</p><p class="banner{" same" if comparable else ""}">{escape(said)}</p>'
        f'<nav aria-label="Sections"><ul>{"".join(f"""<li><a href="#{a}">{b}</a></li>""" for a, b in links)}</ul></nav>'
        "</header>"
    )


def _images(comparison: Comparison, dataset: str) -> int:
    return int(comparison.cell(comparison.reference, "psnr", dataset)["images"])


def _answers(comparison: Comparison) -> str:
    found = [comparison.measured(label, "psnr_difference", dataset) for label, dataset in comparison.places()]
    reach = max((abs(e) for f in found if f for e in (f.value, f.low, f.high) if e is not None), default=0.0) or 1.0
    cards = [_card(comparison, label, reach) for label in comparison.others]
    return _section("answer", "The answer", f'<div class="cards">{"".join(cards)}</div>')


def _card(comparison: Comparison, label: str, reach: float) -> str:
    index = comparison.labels.index(label)
    lines, said = [], []
    for dataset in comparison.datasets:
        gain = comparison.measured(label, "psnr_difference", dataset)
        if gain is None:
            continue
        sentence = answers.sentence(comparison, label, dataset)
        said.append(f"<p>{escape(sentence)}</p>")
        told = answers.significant(answers.verdict(comparison, label, dataset))
        lines.append(
            f'<div class="set">{escape(dataset)}</div><div>{interval(gain, reach, told, index, sentence)}</div>'
            f'<div class="figure">{text(gain.value, 3, sign=True)} dB</div>'
        )
    axis = f"← worse · {escape(comparison.reference)} · better →"
    lines.append(f'<div class="none"></div><div class="soft">{axis}</div><div class="none"></div>')
    sentences = "".join(said)
    if len(said) > 2:
        sentences = f"<details><summary>Set by set</summary>{sentences}</details>"
    return (
        f'<article class="card"><header>{swatch(index)}<h3>{escape(label)}</h3>'
        f"{''.join(badge(verdict, words) for verdict, words in answers.summary(comparison, label))}</header>"
        f'<div class="forest">{"".join(lines)}</div>{sentences}'
        f'<p class="soft">{escape(answers.cost(comparison, label))}</p></article>'
    )


def _section(name: str, title: str, content: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{content}</section>'


def _tables(comparison: Comparison, results: Path) -> str:
    files = [results / "tables" / "compare.csv", result.costs_file(results)]
    links = " and ".join(download(file) for file in files if file.is_file())
    return _section(
        "table",
        "The table",
        f"<h3>Quality</h3>{_quality(comparison)}{_cost(comparison)}"
        f'<p class="soft">A heading sorts. Every cell with its origin: {links} (saved out of this page).</p>',
    )


def _quality(comparison: Comparison) -> str:
    several = len(comparison.datasets) > 1
    columns = [Column("Set", kind="text", first="ascending")] if several else []
    for name, unit in (("PSNR", "dB"), ("SSIM", "")):
        columns += [
            Column(name, unit),
            Column(f"{name} difference", unit),
            Column(f"{name} verdict", "corrected p", first="ascending", kind="number text"),
        ]
    rows = []
    for dataset in comparison.datasets:
        for label in (*comparison.labels, *comparison.controls):
            cells = [Cell(escape(dataset), dataset)] if several else []
            for quantity, digits in (("psnr", 2), ("ssim", 4)):
                cells += _measured_cells(comparison, label, dataset, quantity, digits)
            rows.append(Row(_head(comparison, label), label, cells, "" if label in comparison.labels else "control"))
    return page_parts.table("quality", f"PSNR and SSIM at x{comparison.scale}", "Mechanism", columns, rows)


def _measured_cells(comparison: Comparison, label: str, dataset: str, quantity: str, digits: int) -> Iterator[Cell]:
    whole, gain = (comparison.measured(label, f"{quantity}{what}", dataset) for what in ("", "_difference"))
    cell = comparison.cell(label, f"{quantity}_difference", dataset)
    p = None if cell is None else number(cell["p_corrected"])
    for found, places, sign in ((whole, digits, False), (gain, digits + 1, True)):
        if found is None:
            yield Cell("reference" if sign and label == comparison.reference else "")
        else:
            ends = span(found.low, found.high, places, sign) if found.low != found.high else ""
            yield Cell(text(found.value, places, sign), found.value, ends)
    word = answers.verdict(comparison, label, dataset, quantity)
    yield Cell(badge(word), p, "" if p is None else f"p {answers.p_value(p)}")


def _cost(comparison: Comparison) -> str:
    kinds = (
        ("parameters", "Parameters", "", 1.0), ("network_parameters", "Parameters of network", "", 1.0),
        ("gflops", "Operations", "GFLOPs", 1.0), ("network_gflops", "Operations of network", "GFLOPs", 1.0),
        ("forward_seconds", "Forward", "ms", 1e3), ("training_seconds", "Forward and backward", "ms", 1e3),
        ("peak_memory_bytes", "Peak memory", "MB", 1e-6),
    )  # fmt: skip
    rows = []
    for label in comparison.labels:
        cells = []
        for quantity, _, _, factor in kinds:
            found = comparison.measured(label, quantity)
            if found is None:
                cells.append(Cell())
                continue
            ends = [None if end is None else end * factor for end in (found.low, found.high)]
            low, high = (_short(end) if end is not None else "" for end in ends)
            cells.append(Cell(_short(found.value * factor), found.value, f"{low} to {high}" if low and high else ""))
        rows.append(Row(_head(comparison, label), label, cells))
    if not any(cell.content for row in rows for cell in row.cells):
        return ""
    columns = [Column(title, unit, first="ascending") for _, title, unit, _ in kinds]
    return "<h3>Cost</h3>" + page_parts.table("cost", "What each mechanism costs", "Mechanism", columns, rows)


def _short(value: float) -> str:
    """Three significant digits, whole numbers whole, very small ones with a power of ten."""
    if not isfinite(value):
        return text(value, 0)
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    if value < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits} × 10{str(int(power)).translate(_RAISED)}"
    return f"{value:.3g}"


def _head(comparison: Comparison, label: str) -> str:
    mark = swatch(comparison.labels.index(label)) if label in comparison.labels else ""
    return mark + escape(label)


def _figures(comparison: Comparison, results: Path) -> str:
    shown = []
    for name, (title, caption) in FIGURES.items():
        path = results / "figures" / f"{name}.png"
        if path.is_file():
            words = escape(caption.format(reference=comparison.reference))
            alt = f"{title}. {' '.join(answers.findings(comparison)) if name == 'compare_differences' else ''}".strip()
            shown.append(
                f'<figure><div class="plot" role="region" tabindex="0" aria-label="{title}">{picture(path, alt)}</div>'
                f"<figcaption><strong>{title}.</strong> {words}</figcaption></figure>"
            )
    body = "".join(shown) or "<p>No figure was drawn for this comparison.</p>"
    return _section("figures", "Figures", body)


def _crops(comparison: Comparison, results: Path) -> str:
    folder = results / "comparison" / "crops"
    if not (folder / "index.json").is_file():
        return _section("crops", "Crops", "<p>None were made for this comparison.</p>")
    parts = []
    for scene in crops.read(results):
        panels = "".join(_crop(comparison, scene, crop, folder) for crop in scene.crops)
        box = (
            f'<svg viewBox="0 0 {scene.width} {scene.height}" aria-hidden="true"><rect x="{scene.x}" y="{scene.y}"'
            f' width="{scene.size}" height="{scene.size}" fill="none" stroke="#e3000f"'
            f' stroke-width="{max(scene.width, scene.height) / 110:.1f}"/></svg>'
        )
        whole = picture(folder / scene.whole, f"{scene.image}, with the place of the crop marked", lossy=True)
        parts.append(
            f"<h3>{escape(scene.image)} <span class='unit'>{escape(scene.dataset)}</span></h3>"
            f'<p class="soft">{escape(scene.why)}.</p>'
            f'<div class="scene"><div class="where">{whole}{box}</div><div class="crops">{panels}</div></div>'
        )
    return _section(
        "crops",
        "Where they differ most",
        "<p>Chosen by a rule, not by hand: the test images whose PSNR differs most from "
        f"{escape(comparison.reference)}’s, in either direction, and in each the square whose squared error differs "
        "most. PSNR is that of the whole image and, after the stroke, that of the crop; shown are the networks of the "
        f"first seed.</p>{''.join(parts)}",
    )


def _crop(comparison: Comparison, scene: crops.Scene, crop: crops.Crop, folder: Path) -> str:
    figures = [text(value, 2) for value in (crop.psnr, crop.crop_psnr) if value is not None]
    said = f'<br><span class="figure">{" / ".join(figures)} dB</span>' if figures else ""
    image = picture(folder / crop.file, f"{crop.label}: crop of {scene.image}")
    name = _head(comparison, crop.label)
    return f"<figure>{image}<figcaption><b>{name}</b>{said}</figcaption></figure>"


def _methods(comparison: Comparison) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in table_view.view(comparison.table).notes)
    return _section(
        "methods",
        "Methods",
        "<p>Every mechanism stands at the same places of the same backbone and was trained by the same recipe on the "
        "same patches; any difference in the recipe is listed below. PSNR and SSIM are measured on luminance, image by "
        f"image, without a border of as many pixels as the scale.</p><ul>{notes}</ul>",
    )


def _origin(comparison: Comparison, results: Path) -> str:
    blocks = []
    for label in comparison.labels:
        cell = comparison.cell(label, "psnr", comparison.datasets[0])
        facts = (
            ("Runs", cell["runs"]), ("Training", cell["training"]), ("Commit", cell["git_commit"]),
            ("Weights, SHA-256", cell["weights_sha256"]), ("Hardware", cell["hardware"]), ("PyTorch", cell["torch"]),
            ("Measured by", cell["protocol"]),
        )  # fmt: skip
        known = "".join(f"<dt>{name}</dt><dd><code>{escape(str(value))}</code></dd>" for name, value in facts if value)
        blocks.append(f"<details><summary>{_head(comparison, label)}</summary><dl>{known}</dl></details>")
    costs = [c for label in comparison.labels if (c := comparison.cell(label, "forward_seconds")) is not None]
    machines = "; ".join(dict.fromkeys(f"{c['hardware']}, PyTorch {c['torch']}" for c in costs if c["hardware"]))
    return _section(
        "origin",
        "Where this comes from",
        f"{''.join(blocks)}<p>{escape(f'Time and memory: {machines}.') if machines else ''}</p>"
        f"<p>Made anew by <code>python -m sisr compare page --results {escape(str(results))}</code> from the files "
        "in that folder; the table by <code>python -m sisr tables compare</code> from one row an image.</p>",
    )
