"""Figures of the tidy tables (`sisr.report.tables`)."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from sisr.config.layout import Results
from sisr.report.tables import check
from sisr.utils.errors import UsageError
from sisr.utils.files import atomic_write

ENDINGS = ("png", "svg", "pdf")
"""In which each figure is written."""


def draw(name: str, table: pd.DataFrame) -> Any:
    """The matplotlib figure of a tidy table: `table1`, `table2`, `table4` or `k_sweep`.

    Raises SisrError where the table holds nothing that was measured.
    """
    from sisr.report.figures import style

    check(name)
    with style.settings():
        return import_module(f"{__name__}.{name}").draw(table)


def write(name: str, table: pd.DataFrame, results: Path) -> list[Path]:
    """Write `figures/<name>.png` (200 dots an inch), `.svg` and `.pdf`; the same table gives the same bytes."""
    return save(draw(name, table), name, results)


def write_gain(table: pd.DataFrame, results: Path) -> list[Path]:
    """Write `figures/gain` for Table 2 of a results folder, if its runs were validated while they trained."""
    from sisr.report.figures import gain, style

    with style.settings():
        figure = gain.draw(table, results)
        return save(figure, "gain", results) if figure else []


def save(figure: Any, name: str, results: Path) -> list[Path]:
    """Write a figure as `figures/<name>.png`, `.svg` and `.pdf` into a results folder, and close it."""
    return save_as(figure, [Results(results).figure(name, ending) for ending in ENDINGS])


def save_as(figure: Any, paths: Sequence[Path]) -> list[Path]:
    """Write a figure into files, .png, .svg or .pdf, and close it; equal figures give equal bytes.

    A PDF is as wide as a column of a paper or as its text, and contains its fonts.

    Raises UsageError where a file has another ending.
    """
    import matplotlib.pyplot as plt
    from matplotlib.image import AxesImage

    from sisr.report.figures import pdf, style

    check_endings(paths)
    with style.settings():
        style.settle(figure)
        for path in paths:
            if path.suffix.lower() == ".pdf":
                with atomic_write(path) as temporary:
                    pdf.write(figure, temporary)
                continue
            metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
            with atomic_write(path) as temporary:
                figure.savefig(temporary, dpi=style.DPI, metadata=metadata)
                if path.suffix.lower() == ".png" and not figure.findobj(AxesImage):
                    _reduce_colours(temporary)
    plt.close(figure)
    return list(paths)


def _reduce_colours(png: Path) -> None:
    """Write a chart, which has few colours, with a palette of 256: a third of the size."""
    with Image.open(png) as chart:
        few = chart.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(png, optimize=True, dpi=chart.info["dpi"])


def check_endings(paths: Sequence[Path]) -> None:
    """Raise UsageError if the suffix is not supported."""
    for path in paths:
        if path.suffix.lower().removeprefix(".") not in ENDINGS:
            raise UsageError(f"figures are written as .png, .svg or .pdf, not as {path.name}.")
