"""Attention maps as in the paper's Figures 1 and 7: the image with the marked position, and its weights
on all positions for several networks, in one colour scale."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from sisr.report.figures import style
from sisr.report.figures.crops import FRAME, place

CELL = 1.9
"""Width of a panel in inches."""
TALLEST = 2.6
GAP, TEXT, TITLE, MARGIN, BAR = 0.1, 0.52, 0.24, 0.1, 0.75
LEAST = 0.05
"""Smallest weight of the colour scale, as a multiple of uniform weights."""


@dataclass(frozen=True)
class Panel:
    """One map: its label, the lines below it, and the weights (h, w), which sum to 1."""

    label: str
    weights: NDArray[np.floating]
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Line:
    """A row of maps with an optional title; None leaves a gap."""

    title: str
    panels: list[Panel | None] = field(default_factory=list)


def draw(
    image: NDArray[np.uint8],
    at: tuple[int, int],
    lines: Sequence[Line],
    name: str = "",
    said: str = "",
    comparable: bool = True,
    note: str = "",
) -> Figure:
    """Draw the maps of one position. Call it within `style.settings()`.

    Args:
        image: (H, W) or (H, W, 3); each map covers the whole image.
        at: x and y of the marked pixel in `image`.
        lines: the maps; the image precedes the first line.
        name: caption of the image.
        said, comparable, note: text below the figure, as for `style.footer`.
    """
    tall, wide = image.shape[:2]
    height = min(CELL * tall / wide, TALLEST)
    width = height * wide / tall
    room = max(width, CELL)  # needed by the caption of a narrow map
    edge = (room - width) / 2
    columns = max(2, *(len(line.panels) for line in lines))  # a title needs the width of two
    heights = [(TITLE if line.title else 0.0) + max(height + TEXT, 1.2) for line in lines]
    all_wide = 2 * MARGIN + (columns + 1) * (room + GAP) + BAR
    foot = style.footer_height(all_wide, said, note)
    figure = plt.figure(figsize=(all_wide, MARGIN + sum(heights) + foot))
    style.footer(figure, said, comparable, note)
    all_tall = figure.get_size_inches()[1]
    colours = scale([panel.weights for line in lines for panel in line.panels if panel is not None])
    top = all_tall - MARGIN
    for number, (line, used) in enumerate(zip(lines, heights, strict=True)):
        first = MARGIN + room + GAP
        upper = top - (TITLE if line.title else 0.0)
        if line.title:
            figure.text(first / all_wide, (top - 0.15) / all_tall, line.title, fontsize=9, weight="bold")
        if number == 0:
            axes = place(figure, MARGIN + edge, upper, width, height)
            axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="auto")
            _mark(axes, at, FRAME)
            _write(figure, MARGIN + room / 2, upper - height, name, [f"marked: x = {at[0]}, y = {at[1]}"])
            bar = place(figure, first + columns * (room + GAP), upper, 0.11, max(height, 1.0))
        for column, panel in enumerate(line.panels):
            if panel is None:
                continue
            left = first + column * (room + GAP)
            axes = place(figure, left + edge, upper, width, height)
            relative = np.clip(panel.weights * panel.weights.size, colours.vmin, None)
            shown = axes.imshow(
                relative, norm=colours, cmap="magma", interpolation="auto",
                extent=(-0.5, wide - 0.5, tall - 0.5, -0.5), aspect="auto",
            )  # fmt: skip
            _mark(axes, at, "white")
            _write(figure, left + room / 2, upper - height, panel.label, panel.lines)
        top -= used
    _bar(figure, shown, bar)
    return figure


def scale(maps: Sequence[NDArray[np.floating]]) -> LogNorm:
    """The colour scale of all maps: logarithmic, in multiples of uniform weights, from `LEAST` to the maximum."""
    most = max(float(weights.max()) * weights.size for weights in maps)
    return LogNorm(LEAST, max(most, 2.0))


def _mark(axes: Axes, at: tuple[int, int], colour: str) -> None:
    """A ring around the marked position, with a dark edge for contrast on any background."""
    axes.plot(
        [at[0]], [at[1]], "o", markersize=7, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.4,
        path_effects=[withStroke(linewidth=2.8, foreground="black" if colour == "white" else "white")], clip_on=False,
    )  # fmt: skip
    axes.set_axis_off()


def _write(figure: Figure, x: float, y: float, label: str, lines: Sequence[str]) -> None:
    wide, tall = figure.get_size_inches()
    for number, text in enumerate([label, *lines]):
        figure.text(
            x / wide, (y - 0.04 - 0.14 * number) / tall, text, ha="center", va="top", color=style.DARK,
            fontsize=8.5 if number == 0 else 7, weight="bold" if number == 0 else "normal",
        )  # fmt: skip


def _bar(figure: Figure, shown: object, axes: Axes) -> None:
    bar = figure.colorbar(shown, cax=axes)  # type: ignore[arg-type]
    bar.outline.set_visible(False)
    axes.grid(visible=False)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.tick_params(labelsize=7, length=2)
    axes.set_ylabel("weight, uniform weights = 1", fontsize=7.5)
    axes.axhline(1, color="white", linewidth=1.2)
