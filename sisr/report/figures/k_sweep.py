"""The k-sweep as a figure: PSNR over the amplification factor, and the noise of the estimate on a second axis."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sisr.report.figures import style
from sisr.report.tables.view import interval
from sisr.results import published
from sisr.utils.errors import SisrError

_COSINES = {"0": ":", "1": "--"}


def draw(table: pd.DataFrame) -> Figure:
    """One panel a data set. Left: mean PSNR; its bars are the paired interval of the difference to the paper's k, since
    the spread between images, which is the same for every k, would hide it. Right: relative deviation, logarithmic."""
    part = table[table["quantity"] == "psnr"]
    places = list(dict.fromkeys(zip(part["scale"], part["dataset"], strict=True)))
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
    handles, labels = panels.flat[0].get_legend_handles_labels()
    more, names = panels.flat[0].noise.get_legend_handles_labels()
    figure.legend(handles + more, labels + names, loc="outside upper center", ncols=2 * columns)
    best = published.figure("k_sweep", "best", "k").value
    style.stamp(
        figure,
        table,
        (f"Bars: {interval(table)} of the difference to k = {best:g}." if paired else f"Bars: {interval(table)}.")
        + " Relative deviation: standard deviation of φ(Q)·φ(K) over exp(Q·K), from the paper's variance.",
    )
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
    axes.noise = noise  # type: ignore[attr-defined]
    axes.set_zorder(noise.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot(ks, values, color=style.COLOURS[0], linewidth=1.5)
    for order, (_, cell) in enumerate(psnr.iterrows()):
        value, error = style.bars(cell)
        if differences:
            difference = differences.get(cell["row"])
            error = style.bars(difference)[1] if difference is not None else None
        axes.errorbar(
            _k(cell["row"]), value, yerr=error, fmt="o", color=style.COLOURS[0], markersize=5.5, capsize=2.5,
            elinewidth=1.3, label="mean PSNR (left)" if order == 0 else None,
        )  # fmt: skip
    best = published.figure("k_sweep", "best", "k").value
    if best is not None:
        axes.axvline(best, color=style.COLOURS[1], linewidth=1, label=f"the paper's best, k = {best:g}")
    axes.set_xticks(ks, [f"{k:g}" for k in ks])
    axes.margins(x=0.06, y=0.15)
    axes.set_title(f"{dataset} x{int(scale)}")
    axes.set_xlabel("amplification factor k")
    axes.set_ylabel("PSNR (dB)")


def _k(row: str) -> float:
    return float(row.removeprefix("k = "))
