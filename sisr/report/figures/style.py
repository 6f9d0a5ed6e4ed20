"""Style of all figures: colours for colour-blind readers, and a footer with the preset."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from sisr.report.tables.view import banner
from sisr.results.cells import number
from sisr.results.pareto import front

# Okabe and Ito's palette
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "v", "P")
DPI = 200  # of PNG files
GREY = "#6b7280"
DARK = "#1b1f24"


@contextmanager
def settings() -> Iterator[None]:
    """matplotlib settings of this suite, without a display and without changing the caller's settings."""
    mpl.use("Agg")
    chosen: Any = {
        "figure.dpi": DPI,  # laid out as written: at 100 dots an inch texts are up to 8 % narrower
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.labelcolor": DARK,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.grid": True,
        "grid.color": "#e5e7eb",
        "grid.linewidth": 0.8,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "svg.hashsalt": "sisr",
        "svg.fonttype": "none",
    }
    with mpl.rc_context(chosen):
        yield


def identities(labels: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each label by its position; equal for equal labels in all figures."""
    return {label: look(index) for index, label in enumerate(labels)}


def look(index: int) -> tuple[str, str]:
    """Colour and marker of series `index`: the seventh has the first colour with another marker."""
    return COLOURS[index % 6], MARKERS[(index + index // 6) % 6]


def stamp(figure: Figure, table: pd.DataFrame, extra: str = "") -> None:
    """Write the preset below the figure; the layout reserves the space."""
    said, comparable = banner(table)
    bottom = footer(figure, said, comparable, extra) / figure.get_size_inches()[1]
    figure.get_layout_engine().set(rect=(0, bottom, 1, 1 - bottom))  # type: ignore[union-attr, call-arg]


def footer(figure: Figure, said: str, comparable: bool, extra: str = "") -> float:
    """Write small text below a figure, `extra` first, and `said` in a warning colour unless the values are comparable
    with the paper's. Returns its height in inches, which must be reserved."""
    width, height = figure.get_size_inches()
    first, second = _footer_lines(width, said, extra)
    for lines, below, colour in ((first, len(second), DARK), (second, 0, DARK if comparable else "#9a3d00")):
        figure.text(
            0.08 / width,
            (0.06 + _LINE * below) / height,
            "\n".join(lines),
            fontsize=7.2,
            color=colour,
            va="bottom",
            ha="left",
            linespacing=1.35,
        )
    return footer_height(width, said, extra)


def footer_height(width: float, said: str, extra: str = "") -> float:
    """Height of the footer in inches for a figure of a given width in inches."""
    first, second = _footer_lines(width, said, extra)
    return 0.16 + _LINE * (len(first) + len(second))


_LINE = 0.142
"""Height of a line of the footer in inches."""


def _footer_lines(width: float, said: str, extra: str) -> tuple[list[str], list[str]]:
    characters = int(width * 18)
    return textwrap.wrap(extra, characters), textwrap.wrap(said, characters)


def settle(figure: Figure) -> None:
    """Fix the layout, so that equal figures have equal bytes.

    The solver behind the constrained layout sums in the order of its variables' addresses: two drawings of one figure
    may differ in the last bit of a position, and SVG takes the names of its clipping paths from it.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(Bbox.from_bounds(*(round(value, 9) for value in axes.get_position(original=True).bounds)))


def bars(cell: Any) -> tuple[float, list[list[float]] | None]:
    """A measured cell as (value, error bars for matplotlib); no bars without interval."""
    value, low, high = number(cell["measured"]), number(cell["low"]), number(cell["high"])
    assert value is not None
    if low is None or high is None:
        return value, None
    return value, [[max(0.0, value - low)], [max(0.0, high - value)]]


def dot(axes: Axes, x: float, y: float, index: int, **options: Any) -> None:
    """A point in the colour and marker of series `index`, with the error bars and label of `options`."""
    colour, marker = look(index)
    axes.errorbar(x, y, **{"fmt": marker, "color": colour, "markersize": 5.5, "capsize": 2.5, **options})


def forest(
    axes: Axes, rows: Sequence[str], series: dict[str, list[tuple[float, Any]]], margin: float, zero: bool
) -> None:
    """Measured cells as dots with 95 % intervals: `rows` from top to bottom, one colour a series.

    series: (height, cell) by label. margin: as for `Axes.margins`. zero: draw a line at 0.
    """
    for index, (label, points) in enumerate(series.items()):
        for order, (y, cell) in enumerate(points):
            value, error = bars(cell)
            dot(axes, value, y, index, xerr=error, elinewidth=1.3, label=label if order == 0 else None)
    if zero:
        axes.axvline(0, color=GREY, linewidth=1)
    for line in range(1, len(rows)):
        axes.axhline(line - 0.5, color="#e5e7eb", linewidth=0.8)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.margins(x=margin)


def legend(figure: Figure, columns: int = 6) -> None:
    """One legend above all panels, without duplicates."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        drawn, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, drawn, strict=True))
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=columns)


def pareto(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Draw the Pareto front of (cost, value) points as a dashed step line up to the right edge of the axes. Set the
    limits of the axes before."""
    best = front(points)
    if best:
        right = axes.get_xlim()[1]
        axes.step(
            [x for x, _ in best] + [right], [y for _, y in best] + [best[-1][1]], where="post", color=GREY,
            linewidth=1, linestyle="--", zorder=1, label="Pareto front",
        )  # fmt: skip
        axes.set_xlim(right=right)


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    ends: Sequence[tuple[float, float]],
    texts: Sequence[str],
    colours: Sequence[str],
) -> None:
    """Write a text next to each point, at the nearest position without overlap of points, error bars and texts.

    ends: lower and upper end of each point's error bar. The figure must have been drawn once, so that its layout is
    settled.
    """
    pixel = axes.figure.dpi / 100
    margin = np.array([4, 2]) * pixel
    taken = []
    for (x, y), (low, high) in zip(points, ends, strict=True):
        centre, bottom, top = (axes.transData.transform((x, value)) for value in (y, low, high))
        taken.append(Bbox([centre - 6 * pixel, centre + 6 * pixel]))
        taken.append(Bbox([bottom - margin, top + margin]))
    frame = axes.get_window_extent()
    for point, text, colour in zip(points, texts, colours, strict=True):
        if not text:
            continue
        for distance, (across, up) in product((4, 6, 9, 14, 20, 27, 35, 44), _DIRECTIONS):
            place = (distance * across, distance * up)
            written = axes.annotate(
                text, point, place, textcoords="offset points", fontsize=7.5, color=colour,
                ha=_ALIGNED[across], va=_LEVEL[up], path_effects=[withStroke(linewidth=2, foreground="white")],
            )  # fmt: skip
            box = written.get_window_extent().padded(1.5 * pixel)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                if distance > 14:
                    line = {"arrowstyle": "-", "color": colour, "lw": 0.5}
                    axes.annotate("", point, place, textcoords="offset points", arrowprops=line)
                break
            written.remove()


_DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
_ALIGNED = {1: "left", 0: "center", -1: "right"}
_LEVEL = {1: "bottom", 0: "center", -1: "top"}
