"""Parts of the page of a comparison: sortable tables, intervals drawn small, images that stand in the page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isinf, isnan
from pathlib import Path

from PIL import Image

from sisr.comparison.result import Measured
from sisr.results.significance import VERDICTS

KINDS = dict(zip(VERDICTS, ("better", "worse", "same", "unknown"), strict=True))
"""CSS class of each verdict, by its first word."""


@dataclass(frozen=True)
class Column:
    """A column of a sortable table."""

    title: str
    unit: str = ""
    kind: str = "number"
    """`number` or `text`, and both where text is sorted by a number."""
    first: str = "descending"
    """How the first click sorts."""


@dataclass(frozen=True)
class Cell:
    """A cell: HTML, the value it is sorted by (None: last), and the small text below it."""

    content: str = ""
    value: float | str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Row:
    """A row: its heading as HTML, what that is sorted by, its cells, and a CSS class."""

    head: str
    name: str
    cells: Sequence[Cell]
    kind: str = ""


def table(name: str, caption: str, first: str, columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """A table in a box that scrolls by itself where it is too wide; every heading is a button that sorts."""
    heads = [_head(Column(first, kind="text", first="ascending")), *(_head(column) for column in columns)]
    body = "".join(
        (f'<tr class="{row.kind}">' if row.kind else "<tr>")
        + f'<th scope="row" data-value="{escape(row.name)}">{row.head}</th>'
        + "".join(_cell(cell, column) for cell, column in zip(row.cells, columns, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0">'
        f'<table class="sortable" id="{name}" data-said="{name}-said">'
        f'<caption class="hidden">{escape(caption)}</caption>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table></div>"
        f'<p class="hidden" id="{name}-said" aria-live="polite"></p>'
    )


def _head(column: Column) -> str:
    unit = f' <span class="unit">{escape(column.unit)}</span>' if column.unit else ""
    return (
        f'<th scope="col" aria-sort="none" data-kind="{column.kind.split()[0]}" data-first="{column.first}"'
        f' class="{column.kind}"><button type="button">{escape(column.title)}{unit}</button></th>'
    )


def _cell(cell: Cell, column: Column) -> str:
    value = cell.value
    if isinstance(value, float):
        value = "" if isnan(value) else ("Infinity" if value > 0 else "-Infinity") if isinf(value) else repr(value)
    detail = f'<span class="detail">{escape(cell.detail)}</span>' if cell.detail else ""
    shown = escape("" if value is None else str(value))
    return f'<td class="{column.kind}" data-value="{shown}">{cell.content}{detail}</td>'


def badge(verdict: str, words: str = "") -> str:
    """A verdict as a coloured word."""
    return (
        f'<span class="badge {KINDS.get(verdict.partition(" ")[0], "unknown")}">{escape(words or verdict)}</span>'
        if verdict
        else ""
    )


def swatch(index: int) -> str:
    """The colour and shape of a mechanism in the figures (`sisr.report.figures.style.COLOURS` and `MARKERS`)."""
    shape = (
        '<circle cx="8" cy="8" r="6"/>',
        '<rect x="2.5" y="2.5" width="11" height="11"/>',
        '<path d="M8 2 14.5 14h-13z"/>',
        '<path d="M8 1.5 14.5 8 8 14.5 1.5 8z"/>',
        '<path d="M8 14 1.5 2h13z"/>',
        '<path d="M5.5 1.5h5v4h4v5h-4v4h-5v-4h-4v-5h4z"/>',
    )[(index + index // 6) % 6]  # as `sisr.report.figures.style.identities`
    box = f'<svg class="swatch k{index % 6}" viewBox="0 0 16 16" aria-hidden="true">'
    return f'{box}<g fill="currentColor">{shape}</g></svg>'


def interval(found: Measured, reach: float, told_apart: bool, index: int, words: str) -> str:
    """A point with its interval on a line from −reach to +reach, zero in the middle; hollow where not significant."""

    def x(value: float) -> str:
        return f"{100 + 92 * max(-1.0, min(1.0, value / reach)):.1f}"

    line = ""
    if found.low is not None and found.high is not None:
        ends = "".join(f"M{x(end)} 7v10" for end in (found.low, found.high))
        line = (
            f'<path d="M{x(found.low)} 12H{x(found.high)}{ends}" stroke="currentColor" stroke-width="2" fill="none"/>'
        )
    hollow = "" if told_apart else ' class="hollow"'
    return (
        f'<svg class="k{index % 6}" viewBox="0 0 200 24" role="img" aria-label="{escape(words)}">'
        f'<path class="zero" d="M100 0v24" stroke-width="1"/>{line}<circle cx="{x(found.value)}" cy="12" r="4.5"'
        f' stroke="currentColor" stroke-width="2" fill="currentColor"{hollow}/></svg>'
    )


def picture(path: Path, words: str, lossy: bool = False) -> str:
    """An image file as an element that holds its pixels as WebP; lossy is for photographs that only show a place."""
    with Image.open(path) as image:
        width, height = image.size
        kept = image.convert("L" if image.mode == "L" else "RGB")
        held = io.BytesIO()
        if lossy:
            kept.save(held, "WEBP", quality=80, method=4)
        else:
            kept.save(held, "WEBP", lossless=True, quality=60, method=4)
    return (
        f'<img src="data:image/webp;base64,{base64.b64encode(held.getvalue()).decode()}" width="{width}"'
        f' height="{height}" alt="{escape(words)}">'
    )


def download(path: Path) -> str:
    """A link that saves a text file that stands in the page."""
    held = base64.b64encode(path.read_bytes()).decode()
    return f'<a download="{escape(path.name)}" href="data:text/csv;base64,{held}">{escape(path.name)}</a>'
