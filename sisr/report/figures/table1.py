"""Table 1 as a figure: what each network gains over bicubic, set by set."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sisr.report.figures import style
from sisr.report.tables.view import interval
from sisr.results.cells import select_measured
from sisr.utils.errors import SisrError


def draw(table: pd.DataFrame) -> Figure:
    """Dots with 95 % intervals: one panel a scale, one line a data set, one colour a network."""
    quantity = "psnr_over_bicubic" if (table["quantity"] == "psnr_over_bicubic").any() else "psnr"
    part = select_measured(table[table["kind"] == "network"], quantity)
    if part.empty:
        raise SisrError("Table 1 holds no measured network, so there is nothing to draw; add runs with --runs.")
    names, sets = list(dict.fromkeys(part["row"])), list(dict.fromkeys(part["dataset"]))
    scales = sorted(set(part["scale"]))
    height = 1.55 + max(1.1, len(sets) * (0.25 + 0.16 * len(names)))
    figure, panels = plt.subplots(
        1, len(scales), figsize=(3.9 * len(scales) + 0.6, height), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, scale in zip(panels[0], scales, strict=True):
        series = {}
        for index, name in enumerate(names):
            cells = part[(part["row"] == name) & (part["scale"] == scale)]
            shift = 0.62 * ((index + 0.5) / len(names) - 0.5)
            series[name] = [(sets.index(cell["dataset"]) + shift, cell) for _, cell in cells.iterrows()]
        style.forest(axes, sets, series, 0.1, zero=quantity == "psnr_over_bicubic")
        axes.set_title(f"x{int(scale)}")
        axes.set_xlabel("PSNR above bicubic (dB)" if quantity == "psnr_over_bicubic" else "PSNR (dB)")
    style.legend(figure, len(names))
    style.stamp(figure, table, f"Mean difference on the same images, {interval(table)}.")
    return figure
