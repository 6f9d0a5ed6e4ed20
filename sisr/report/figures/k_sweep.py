"""The k-sweep as a figure: PSNR over the amplification factor, and the noise of the estimate on a second axis."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sisr.report.figures import style
from sisr.report.tables.view import interval
from sisr.results import published
from sisr.results.cells import by_place
from sisr.utils.errors import SisrError

_COSINES = {"0": ":", "1": "--"}


def draw(table: pd.DataFrame) -> Figure:
    """One panel a data set. Left: mean PSNR; its bars are the paired interval of the difference to the paper's k, since
    the spread between images, which is the same for every k, would hide it. Right: relative deviation, logarithmic."""
    places = [(scale, dataset) for scale, dataset, _ in by_place(table[table["quantity"] == "psnr"])]
    if not places:
        raise SisrError("the k-sweep holds no measured PSNR, so there is nothing to draw; add runs with --runs.")
    columns = min(len(places), 2)
    rows = -(-len(places) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(4.6 * columns + (1.4 if columns == 1 else 0), 2.9 * rows + 1.0), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    paired = (table["quantity"] == "psnr_difference").any()
    for index, place in enumerate(places):
        _panel(panels.flat[index], table, *place, last=index % columns == columns - 1 or index == len(places) - 1)
    for axes in panels.flat[len(places) :]:
        axes.set_visible(False)
    style.legend(figure, 2 * columns)
    compared = f" of the difference to k = {published.figure('k_sweep', 'best', 'k').value:g}" if paired else ""
    deviation = "Relative deviation: standard deviation of φ(Q)·φ(K) over exp(Q·K), from the paper's variance."
    style.stamp(figure, table, f"Bars: {interval(table)}{compared}. {deviation}")
    return figure


def _panel(axes: Axes, table: pd.DataFrame, scale: int, dataset: str, last: bool) -> None:
    part = table[table["scale"] == scale]
    psnr = part[(part["dataset"] == dataset) & (part["quantity"] == "psnr")]
    differences = {
        cell["row"]: cell
        for _, cell in part[(part["dataset"] == dataset) & (part["quantity"] == "psnr_difference")].iterrows()
    }
    ks = [_k(row) for row in psnr["row"]]
    values = [float(value) for value in psnr["measured"]]
    noise = axes.twinx()
    for cosine, line in _COSINES.items():
        theory = part[part["quantity"] == f"relative_deviation_cos_{cosine}"]
        noise.plot(
            [_k(row) for row in theory["row"]], [float(value) for value in theory["measured"]], line,
            color=style.GREY, linewidth=1.2, label=f"relative deviation, cos = {cosine} (right)",
        )  # fmt: skip
    noise.set_yscale("log")
    noise.grid(visible=False)
    noise.tick_params(axis="y", colors=style.GREY)
    if last:
        noise.spines["right"].set_visible(True)
        noise.set_ylabel("relative deviation of the estimate", color=style.GREY)
    else:
        noise.tick_params(axis="y", right=False, labelright=False)
    axes.set_zorder(noise.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot(ks, values, color=style.COLOURS[0], linewidth=1.5)
    for order, (_, cell) in enumerate(psnr.iterrows()):
        value, error = style.bars(cell)
        if differences:
            difference = differences.get(cell["row"])
            error = style.bars(difference)[1] if difference is not None else None
        label = "mean PSNR (left)" if order == 0 else None
        style.dot(axes, _k(cell["row"]), value, 0, yerr=error, elinewidth=1.3, label=label)
    best = published.figure("k_sweep", "best", "k").value
    if best is not None:
        axes.axvline(best, color=style.COLOURS[1], linewidth=1, label=f"the paper's best, k = {best:g}")
    axes.set_xticks(ks, [f"{k:g}" for k in ks])
    axes.margins(x=0.06, y=0.15)
    axes.set_title(f"{dataset} x{scale}")
    axes.set_xlabel("amplification factor k")
    axes.set_ylabel("PSNR (dB)")


def _k(row: str) -> float:
    return float(row.removeprefix("k = "))
