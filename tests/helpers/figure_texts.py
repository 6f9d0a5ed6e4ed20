"""What a figure says, and that nothing it says covers anything else."""

from itertools import combinations
from typing import Any

import matplotlib as mpl

from sisr.report.figures import style


def shown(figure: Any) -> list[Any]:
    """All visible texts."""
    return [text for text in figure.findobj(mpl.text.Text) if text.get_visible() and text.get_text().strip()]


def check(figure: Any) -> None:
    """Fail where a text covers another or leaves the figure, at the dots an inch of the files."""
    figure.set_dpi(style.DPI)
    figure.canvas.draw()
    undrawn = _undrawn_ticks(figure)
    written = [text for text in shown(figure) if id(text) not in undrawn]
    boxes = {id(text): text.get_window_extent() for text in written}
    width, height = figure.get_size_inches() * figure.dpi
    for text in written:
        box = boxes[id(text)]
        assert box.x0 >= -1, text.get_text()
        assert box.y0 >= -1, text.get_text()
        assert box.x1 <= width + 1, text.get_text()
        assert box.y1 <= height + 1, text.get_text()
    for one, two in combinations(written, 2):
        assert not boxes[id(one)].padded(-1).overlaps(boxes[id(two)].padded(-1)), (one.get_text(), two.get_text())


def _undrawn_ticks(figure: Any) -> set[int]:
    """Labels of ticks beyond the limits exist, but are not drawn."""
    found = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high:
                    found |= {id(tick.label1), id(tick.label2)}
    return found
