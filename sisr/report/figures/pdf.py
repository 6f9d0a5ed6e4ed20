"""Figures as PDF for papers: as wide as a column or as the text, with embedded fonts."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_pdf import Op, PdfFile, RendererPdf

COLUMN, TEXT = 3.3, 7.0
"""Width of a column, and of the text of two columns, in inches, as in most templates of conferences."""
_DOTS = 300
"""Resolution of images within a figure, in dots an inch of the figure before it is reduced."""
_SMALLEST = 0.6
"""How much a figure may be reduced to fit a column; its text of 9 points has 5.4 then."""


def width(inches: float) -> float:
    """Width in inches of the PDF of a figure that is so wide: at most a column's, or else at most the text's."""
    return min(inches, COLUMN if inches * _SMALLEST <= COLUMN else TEXT)


def write(figure: Any, path: Path) -> None:
    """Write a figure whose layout is fixed. Text stays text, with TrueType subsets of its fonts (Type 42).

    matplotlib scales a figure only by a new layout, so everything is drawn as it is, below one scaling matrix.
    """
    wide, high = figure.get_size_inches()
    scale = width(wide) / wide
    dots = figure.dpi
    with mpl.rc_context({"pdf.fonttype": 42, "pdf.compression": 9}):
        file = PdfFile(path, metadata={"CreationDate": None, "Creator": None, "Producer": None})
        try:
            figure.dpi = 72  # points, the unit of a PDF
            file.newPage(wide * scale, high * scale)
            file.width, file.height = wide, high  # what lines are cut off at
            file.output(scale, 0, 0, scale, 0, 0, Op.concat_matrix)
            renderer = MixedModeRenderer(figure, wide, high, _DOTS, RendererPdf(file, _DOTS, high, wide))
            figure.draw(renderer)
            renderer.finalize()
            file.finalize()
        finally:
            file.close()
            figure.dpi = dots
