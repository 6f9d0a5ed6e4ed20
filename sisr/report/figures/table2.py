"""Table 2 as a figure: what each part of ENLCA adds, beside what the paper says."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sisr.report.figures import style
from sisr.report.tables.table2 import ROWS
from sisr.report.tables.view import interval
from sisr.results import published
from sisr.results.cells import by_place, select_measured
from sisr.utils.errors import SisrError


def draw(table: pd.DataFrame) -> Figure:
    """Paired differences to the baseline with 95 % intervals, one colour a data set; the paper's as open diamonds."""
    part = select_measured(table, "psnr_difference")
    if part.empty:
        raise SisrError("Table 2 holds no measured difference, so there is nothing to draw; add runs with --runs.")
    rows = [name for name in ROWS if name != "baseline"]
    places = by_place(part)
    figure, axes = plt.subplots(
        figsize=(7.2, 1.75 + len(rows) * max(0.45, 0.2 * (len(places) + 1))), layout="constrained"
    )
    step = 0.66 / (len(places) + 1)
    series = {
        f"{dataset} x{scale}": [
            (rows.index(cell["row"]) - 0.33 + (index + 1.5) * step, cell) for _, cell in cells.iterrows()
        ]
        for index, (scale, dataset, cells) in enumerate(places)
    }
    style.forest(axes, [ROWS[name] for name in rows], series, 0.12, zero=True)
    published_gains = [(published.figure("table2", name, "psnr_difference").value, y) for y, name in enumerate(rows)]
    points = [(value, y - 0.33 + 0.5 * step) for value, y in published_gains if value is not None]
    axes.plot(
        *zip(*points, strict=True), "D", markerfacecolor="white", markeredgecolor=style.DARK, markersize=6.5,
        linestyle="", label="the paper",
    )  # fmt: skip
    for value, y in points:
        axes.annotate(f"+{value:.2f}", (value, y), (8, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlabel("PSNR minus the baseline's (dB)")
    style.legend(figure, min(4, len(places) + 1))
    note = "The paper's figure for the middle row and its data set are not known to this suite."
    style.stamp(figure, table, f"Mean difference on the same images, {interval(table)}. {note}")
    return figure
