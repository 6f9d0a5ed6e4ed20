"""Table 1 as a figure: what each network gains over bicubic, set by set."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sisr.report.figures import style
from sisr.report.tables.view import interval
from sisr.results.cells import number
from sisr.utils.errors import SisrError


def draw(table: pd.DataFrame) -> Figure:
    """Dots with 95 % intervals: one panel a scale, one line a data set, one colour a network."""
    quantity = "psnr_over_bicubic" if (table["quantity"] == "psnr_over_bicubic").any() else "psnr"
    part = table[(table["quantity"] == quantity) & (table["kind"] == "network")]
    part = part[[number(value) is not None for value in part["measured"]]]
    if part.empty:
        raise SisrError("Table 1 holds no measured network, so there is nothing to draw; add runs with --runs.")
    names, sets = list(dict.fromkeys(part["row"])), list(dict.fromkeys(part["dataset"]))
    scales = sorted(set(part["scale"]))
    height = 1.55 + max(1.1, len(sets) * (0.25 + 0.16 * len(names)))
    figure, panels = plt.subplots(
        1, len(scales), figsize=(3.9 * len(scales) + 0.6, height), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, scale in zip(panels[0], scales, strict=True):
        for index, name in enumerate(names):
            cells = part[(part["row"] == name) & (part["scale"] == scale)]
            for order, (_, cell) in enumerate(cells.iterrows()):
                value, error = style.bars(cell)
                y = sets.index(cell["dataset"]) + 0.62 * ((index + 0.5) / len(names) - 0.5)
                axes.errorbar(
                    value, y, xerr=error, fmt=style.MARKERS[index % 6], color=style.COLOURS[index % 6], markersize=5.5,
                    capsize=2.5, elinewidth=1.3, label=name if order == 0 else None,
                )  # fmt: skip
        if quantity == "psnr_over_bicubic":
            axes.axvline(0, color=style.GREY, linewidth=1)
        for line in range(1, len(sets)):
            axes.axhline(line - 0.5, color="#e5e7eb", linewidth=0.8)
        axes.set_title(f"x{int(scale)}")
        axes.set_xlabel("PSNR above bicubic (dB)" if quantity == "psnr_over_bicubic" else "PSNR (dB)")
        axes.set_yticks(range(len(sets)), sets)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.1)
    panels[0][0].set_ylim(len(sets) - 0.5, -0.5)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(names))
    style.stamp(figure, table, f"Mean difference on the same images, {interval(table)}.")
    return figure
