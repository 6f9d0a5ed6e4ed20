"""The HTML page of a comparison: one file without external resources, readable offline.

This module prepares the data; the files in `templates/` define what the page looks like. A
Content-Security-Policy forbids every request and admits the inlined style and script by their hashes.
"""

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping
from importlib.resources import files
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from sisr.comparison import crops, result, sentences, table_view
from sisr.comparison.learning_rates import chosen_rate
from sisr.comparison.result import Comparison, Measured
from sisr.config.layout import Results
from sisr.report.tables.view import banner
from sisr.results.cells import bounded, number, span, text
from sisr.utils.files import atomic_write

FIGURES = {
    "compare_differences": (
        "Differences",
        "Difference to {reference} on each set, mean over images with its 95 % interval, PSNR on the left and SSIM on "
        "the right. Filled points are better or worse than the reference after correction for the number of tests.",
    ),
    "compare_pareto": (
        "Gain over cost",
        "PSNR difference to {reference} over the operations and the time of one mechanism alone. The dashed line is "
        "the Pareto front.",
    ),
    "compare_cost": (
        "Cost over image size",
        "Time and memory of one mechanism alone over the size of the feature map. The grey lines show growth in "
        "proportion to the pixels and to their square.",
    ),
}
_COSTS = (
    # quantity, heading, unit, factor
    ("parameters", "Parameters", "", 1.0),
    ("network_parameters", "Parameters of network", "", 1.0),
    ("gflops", "Operations", "GFLOPs", 1.0),
    ("network_gflops", "Operations of network", "GFLOPs", 1.0),
    ("forward_seconds", "Forward", "ms", 1e3),
    ("training_seconds", "Forward and backward", "ms", 1e3),
    ("peak_memory_bytes", "Peak memory", "MB", 1e-6),
)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Data = dict[str, Any]
"""Plain data for the template."""


def write(results: Path) -> Path:
    """Write `comparison.html` from the tables, figures and crops of a results folder.

    Raises SisrError where the table is missing; missing costs, figures and crops are left out.
    """
    path = Results(results).comparison_page
    with atomic_write(path) as temporary:
        temporary.write_text(page(results), encoding="utf-8")
    return path


def page(results: Path) -> str:
    """The page's HTML."""
    return render("page.html.j2", context(results))


def render(template: str, data: Data) -> str:
    """A page from one of the templates, which share one style and one script."""
    environment = Environment(
        loader=PackageLoader("sisr.comparison"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = files("sisr.comparison") / "templates"
    inlined = {name: (folder / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    hashes = {name: base64_of(hashlib.sha256(content.encode()).digest()) for name, content in inlined.items()}
    return environment.get_template(template).render(data, inlined=inlined, hashes=hashes)


def context(results: Path) -> Data:
    """Everything that the page shows, as plain data."""
    comparison = result.read(results)
    warning, comparable = banner(comparison.table)
    reference = {name: comparison.cell(comparison.reference, "psnr", name) for name in comparison.datasets}
    files_ = (Results(results).table("compare"), Results(results).cost_by_size)
    return {
        "title": f"{_listed(comparison.others)} compared with {comparison.reference}",
        "scale": comparison.scale,
        "preset": comparison.preset,
        "reference": comparison.reference,
        "search": bool(table_view.searched(comparison.table)),
        "indices": {label: index for index, label in enumerate(comparison.labels)},
        "seeds": int(number(reference[comparison.datasets[0]]["seeds"]) or 0),
        "sets": _listed([f"{name} ({int(cell['images'])} images)" for name, cell in reference.items()]),
        "warning": warning,
        "comparable": comparable,
        "cards": _cards(comparison),
        "tables": [table for table in (_quality(comparison), _cost(comparison)) if table],
        "downloads": downloads({file.name: file.read_bytes() for file in files_ if file.is_file()}),
        "figures": _figures(comparison, results),
        "scenes": _scenes(results),
        "notes": table_view.view(comparison.table).notes,
        "origins": {label: _origin(comparison, label) for label in comparison.labels},
        "machines": _machines(comparison),
        "results": str(results),
    }


def downloads(files_: Mapping[str, bytes]) -> list[Data]:
    """Files by name, to be saved from the page."""
    return [{"name": name, "data": base64_of(content)} for name, content in files_.items()]


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _cards(comparison: Comparison) -> list[Data]:
    """The answer on each mechanism: verdicts over all sets, the difference on each set, the cost."""
    gains = {
        (label, dataset): gain
        for label in comparison.others
        for dataset in comparison.datasets
        if (gain := comparison.measured(label, "psnr_difference", dataset))
    }
    ends = [end for gain in gains.values() for end in (gain.value, gain.low, gain.high) if end is not None]
    reach = max(map(abs, ends), default=0.0) or 1.0

    def x(value: float | None) -> str | None:
        """Position on a line from −reach to +reach that is 200 wide."""
        return None if value is None else f"{100 + 92 * max(-1.0, min(1.0, value / reach)):.1f}"

    cards = []
    for label in comparison.others:
        sets = [
            {
                "name": dataset,
                "sentence": sentences.sentence(comparison, label, dataset),
                "significant": sentences.significant(sentences.verdict(comparison, label, dataset)),
                "gain": text(gain.value, 3, sign=True),
                **{name: x(getattr(gain, name)) for name in ("value", "low", "high")},
            }
            for dataset in comparison.datasets
            if (gain := gains.get((label, dataset)))
        ]
        verdicts, cost = sentences.summary(comparison, label), sentences.cost(comparison, label)
        cards.append({"label": label, "verdicts": verdicts, "sets": sets, "cost": cost})
    return cards


def column(title: str, unit: str = "", first: str = "ascending", kind: str = "number") -> Data:
    """A column of a sortable table.

    first: how the first click sorts. kind: `number` or `text`; `number text` is text that is sorted by a number.
    """
    return {"title": title, "unit": unit, "first": first, "kind": kind}


def cell(
    words: str = "",
    value: float | str | None = None,
    detail: str = "",
    verdict: str = "",
    link: tuple[str, str] = ("", ""),
    command: str = "",
) -> Data:
    """A cell: its text, the value that it is sorted by (None: last), the small text below it.

    link: address and text. command: shown when it is asked for.
    """
    if isinstance(value, float) and not isfinite(value):
        value = None if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    sort = "" if value is None else str(value)
    return {"words": words, "sort": sort, "detail": detail, "verdict": verdict, "link": link, "command": command}


def _quality(comparison: Comparison) -> Data:
    several = len(comparison.datasets) > 1
    searches = table_view.searched(comparison.table)
    columns = [column("Set", kind="text")] if several else []
    columns += [column("Learning rate", "chosen")] if searches else []
    for name, unit in (("PSNR", "dB"), ("SSIM", "")):
        columns += [
            column(name, unit, "descending"),
            column(f"{name} difference", unit, "descending"),
            column(f"{name} verdict", "corrected p", kind="number text"),
        ]
    rows = []
    for dataset in comparison.datasets:
        for label in (*comparison.labels, *comparison.controls):
            cells = [cell(dataset, dataset)] if several else []
            rate = chosen_rate(searches.get(label, ""))
            cells += [cell(rate, rate)] if searches else []
            for quantity, digits in (("psnr", 2), ("ssim", 4)):
                cells += quality_cells(comparison, label, dataset, quantity, digits, comparison.reference)
            rows.append({"label": label, "control": label in comparison.controls, "cells": cells})
    caption = f"PSNR and SSIM at x{comparison.scale}"
    return {"id": "quality", "title": "Quality", "caption": caption, "columns": columns, "rows": rows}


def quality_cells(
    comparison: Comparison, label: str, dataset: str, quantity: str, digits: int, reference: str
) -> Iterator[Data]:
    """The mean of `psnr` or `ssim`, its difference to the reference, and the verdict."""
    mean = comparison.measured(label, quantity, dataset)
    difference = comparison.measured(label, f"{quantity}_difference", dataset)
    tested = comparison.cell(label, f"{quantity}_difference", dataset)
    p = None if tested is None else number(tested["p_corrected"])
    for measured, places, sign in ((mean, digits, False), (difference, digits + 1, True)):
        if measured is None:
            yield cell("reference" if sign and label == reference else "")
        else:
            ends = span(measured.low, measured.high, places, sign) if measured.low != measured.high else ""
            yield cell(text(measured.value, places, sign), measured.value, ends)
    verdict = sentences.verdict(comparison, label, dataset, quantity)
    yield cell("", p, "" if p is None else f"p {sentences.p_value(p)}", verdict)


def cost_cell(measured: Measured | None, factor: float) -> Data:
    """A cost in the unit that `factor` makes, with its quartiles or with what is not counted; blank for None."""
    if measured is None:
        return cell()
    ends = [short(end * factor) for end in (measured.low, measured.high) if end is not None]
    detail = " to ".join(ends) if len(ends) == 2 else ""
    if measured.at_least:
        detail = f"not counted: {measured.at_least}"
    return cell(bounded(short(measured.value * factor), measured.at_least), measured.value, detail)


def _cost(comparison: Comparison) -> Data | None:
    rows: list[Data] = []
    for label in comparison.labels:
        cells = [cost_cell(comparison.measured(label, quantity), factor) for quantity, _, _, factor in _COSTS]
        rows.append({"label": label, "control": False, "cells": cells})
    if not any(each["words"] for row in rows for each in row["cells"]):
        return None
    columns = [column(title, unit) for _, title, unit, _ in _COSTS]
    return {"id": "cost", "title": "Cost", "caption": "Cost of each mechanism", "columns": columns, "rows": rows}


def short(value: float) -> str:
    """Three significant digits, integers in full, very small values with a power of ten."""
    if not isfinite(value):
        return text(value, 0)
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    if value < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits} × 10{str(int(power)).translate(_SUPERSCRIPT)}"
    return f"{value:.3g}"


def _figures(comparison: Comparison, results: Path) -> list[Data]:
    figures = []
    for name, (title, caption) in FIGURES.items():
        path = Results(results).figure(name)
        if path.is_file():
            findings = sentences.describe_comparison(comparison) if name == "compare_differences" else []
            image = _image(path, " ".join([f"{title}.", *findings]))
            figures.append({"title": title, "caption": caption.format(reference=comparison.reference), "image": image})
    return figures


def _scenes(results: Path) -> list[Data]:
    folder = Results(results).crops
    if not (folder / "index.json").is_file():
        return []
    return [
        {
            "scene": scene,
            "whole": _image(folder / scene.whole, f"{scene.image}, with the position of the crop marked", lossy=True),
            "crops": [
                {
                    "label": crop.label,
                    "psnr": [text(value, 2) for value in (crop.psnr, crop.crop_psnr) if value is not None],
                    "image": _image(folder / crop.file, f"{crop.label}: crop of {scene.image}"),
                }
                for crop in scene.crops
            ],
        }
        for scene in crops.read(results)
    ]


def _image(path: Path, alt: str, lossy: bool = False) -> Data:
    """An image file as WebP; lossy is for photographs that only show a position."""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        converted = image.convert("L" if image.mode == "L" else "RGB")
    converted.save(buffer, "WEBP", lossless=not lossy, quality=80 if lossy else 60, method=4)
    return {"data": base64_of(buffer.getvalue()), "width": converted.width, "height": converted.height, "alt": alt}


def _origin(comparison: Comparison, label: str) -> dict[str, str]:
    level = comparison.cell(label, "psnr", comparison.datasets[0])
    columns = {
        "Runs": "runs", "Learning rate": "learning_rates", "Training": "training", "Commit": "git_commit",
        "Weights, SHA-256": "weights_sha256", "Hardware": "hardware", "PyTorch": "torch", "Protocol": "protocol",
    }  # fmt: skip
    return {title: str(level[column]) for title, column in columns.items() if level[column]}


def _machines(comparison: Comparison) -> str:
    times = [comparison.cell(label, "forward_seconds") for label in comparison.labels]
    measured = [each for each in times if each is not None and each["hardware"]]
    return "; ".join(dict.fromkeys(f"{each['hardware']}, PyTorch {each['torch']}" for each in measured))
