"""Table 2 as a figure: what each part of ENLCA adds, beside what the paper says."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sisr.report.figures import style
from sisr.report.tables.table2 import ROWS
from sisr.report.tables.view import interval
from sisr.results import published
from sisr.results.cells import number
from sisr.utils.errors import SisrError


def draw(table: pd.DataFrame) -> Figure:
    """Paired differences to the baseline with 95 % intervals, one colour a data set; the paper's as open diamonds."""
    part = table[table["quantity"] == "psnr_difference"]
    part = part[[number(value) is not None for value in part["measured"]]]
    if part.empty:
        raise SisrError("Table 2 holds no measured difference, so there is nothing to draw; add runs with --runs.")
    rows = [name for name in ROWS if name != "baseline"]
    places = list(dict.fromkeys(zip(part["dataset"], part["scale"], strict=True)))
    figure, axes = plt.subplots(
        figsize=(7.2, 1.75 + len(rows) * max(0.45, 0.2 * (len(places) + 1))), layout="constrained"
    )
    step = 0.66 / (len(places) + 1)
    for index, (dataset, scale) in enumerate(places):
        cells = part[(part["dataset"] == dataset) & (part["scale"] == scale)]
        for order, (_, cell) in enumerate(cells.iterrows()):
            value, error = style.bars(cell)
            axes.errorbar(
                value, rows.index(cell["row"]) - 0.33 + (index + 1.5) * step, xerr=error, fmt=style.MARKERS[index % 6],
                color=style.COLOURS[index % 6], markersize=5.5, capsize=2.5, elinewidth=1.3,
                label=f"{dataset} x{int(scale)}" if order == 0 else None,
            )  # fmt: skip
    said = [(published.figure("table2", name, "psnr_difference").value, y) for y, name in enumerate(rows)]
    known = [(value, y - 0.33 + 0.5 * step) for value, y in said if value is not None]
    axes.plot(
        [value for value, _ in known], [y for _, y in known], "D", markerfacecolor="white", markeredgecolor=style.DARK,
        markersize=6.5, linestyle="", label="the paper",
    )  # fmt: skip
    for value, y in known:
        axes.annotate(f"+{value:.2f}", (value, y), (8, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(0, color=style.GREY, linewidth=1)
    for line in range(1, len(rows)):
        axes.axhline(line - 0.5, color="#e5e7eb", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [ROWS[name] for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    axes.set_xlabel("PSNR minus the baseline's (dB)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=min(4, len(places) + 1))
    style.stamp(
        figure,
        table,
        f"Mean difference on the same images, {interval(table)}. The paper's figure for the "
        "middle row and its data set are not known to this suite.",
    )
    return figure
