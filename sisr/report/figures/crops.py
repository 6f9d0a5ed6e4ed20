"""Crops of an image for several methods side by side, as in the paper's Figure 5."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from sisr.evaluation.crops import Panel, Row
from sisr.report.figures import style
from sisr.results.cells import text

CELL = 1.2
"""Side of a crop in inches: 240 dots, so that 80 pixels are scaled by exactly three."""
GAP, TEXT, TITLE, MARGIN = 0.07, 0.47, 0.24, 0.1
MOST = 6
"""Maximum number of crops in a row; more are split into two rows."""
FRAME = "#e3000f"


def draw(rows: Sequence[Row], said: str = "", comparable: bool = True, note: str = "") -> Figure:
    """One row an image. said, comparable: text on the preset, as for `style.footer`; note: text below the figure. Call
    it within `style.settings()`."""
    counts = [len(row.panels) for row in rows]
    lines = 1 if max(counts) <= MOST else 2
    columns = max(-(-count // lines) for count in counts)
    block = lines * (CELL + TEXT)
    whole = block - TEXT if lines == 1 else block - TEXT / 2
    sizes = [_size(row, whole) for row in rows]
    wide = max(size[0] for size in sizes)
    width = 2 * MARGIN + wide + columns * (CELL + GAP) + GAP
    foot = style.footer_height(width, said, note)
    tall = [TITLE + (0.16 if row.caption else 0.0) + block for row in rows]
    height = sum(tall) + MARGIN + foot
    figure = plt.figure(figsize=(width, height))
    style.footer(figure, said, comparable, note)
    top = height - MARGIN
    for row, size, used in zip(rows, sizes, tall, strict=True):
        first = MARGIN + wide - size[0]  # beside the crops
        figure.text(first / width, (top - 0.15) / height, row.image, fontsize=10, weight="bold", color=style.DARK)
        if row.caption:
            figure.text(first / width, (top - 0.31) / height, row.caption, fontsize=7.5, color=style.GREY)
        upper = top - (used - block)
        axes = place(figure, first, upper, *size)
        _show(axes, row.whole)
        x, y, w, h = row.box
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, edgecolor=FRAME, linewidth=1.6))
        per_line = -(-len(row.panels) // lines)
        for index, panel in enumerate(row.panels):
            line, column = divmod(index, per_line)
            left = MARGIN + wide + GAP + column * (CELL + GAP)
            below = upper - line * (CELL + TEXT)
            crop = place(figure, left, below, CELL, CELL)
            _show(crop, panel.pixels)
            _write(figure, panel, (left + CELL / 2) / width, (below - CELL) / height, height)
        top -= used
    return figure


def _size(row: Row, height: float) -> tuple[float, float]:
    """Width and height of the whole image in inches: as tall as the crops, unless the image is wide."""
    tall, wide = row.whole.shape[:2]
    width = min(1.4, wide / tall) * height
    return width, width * tall / wide


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a position in inches, rounded to dots."""
    all_wide, all_tall = figure.get_size_inches()
    box = [round(200 * value) / 200 for value in (left, top - height, width, height)]
    return figure.add_axes((box[0] / all_wide, box[1] / all_tall, box[2] / all_wide, box[3] / all_tall))


def _show(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="auto")
    axes.set_axis_off()


def _write(figure: Figure, panel: Panel, x: float, y: float, height: float) -> None:
    texts = [panel.label, *_figures(panel)]
    for line, caption in enumerate(texts):
        figure.text(
            x, y - (0.03 + 0.145 * line) / height, caption, ha="center", va="top", color=style.DARK,
            fontsize=8 if line == 0 else 7, weight="bold" if line == 0 else "normal",
        )  # fmt: skip


def _figures(panel: Panel) -> list[str]:
    """PSNR in dB and SSIM of the image and of the crop, if known."""
    lines = []
    for name, psnr, ssim in (("", panel.psnr, panel.ssim), ("crop ", panel.crop_psnr, panel.crop_ssim)):
        values = [f"{text(psnr, 2)} dB"] if psnr is not None else []
        values += [f"{ssim:.4f}"] if ssim is not None else []
        lines += [name + " / ".join(values)] if values else []
    return lines
