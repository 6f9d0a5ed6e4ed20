"""What a mechanism gains and what it costs: PSNR over operations and over time."""

from math import floor, log10
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sisr.comparison.result import Comparison, Measured
from sisr.report.figures import style
from sisr.report.tables.view import interval, lower_bounds
from sisr.results.cells import bounded, text
from sisr.utils.errors import SisrError

_AXES = (("gflops", 1.0, "operations of one forward (GFLOPs)"), ("forward_seconds", 1e3, "time of one forward (ms)"))


def draw(comparison: Comparison) -> Figure:
    """One row of panels a data set; vertical: the paired difference to the reference, itself at 0."""
    datasets = list(dict.fromkeys(dataset for _, dataset in comparison.places()))
    if not datasets:
        raise SisrError("the comparison holds no measured difference, so there is nothing to draw; compare again.")
    figure, panels = plt.subplots(
        len(datasets), 2, figsize=(9.4, 2.7 * len(datasets) + 1.1), sharey="row", squeeze=False, layout="constrained"
    )
    pending = []
    for line, dataset in zip(panels, datasets, strict=True):
        for axes, (cost, factor, label) in zip(line, _AXES, strict=True):
            pending.append((axes, *_panel(axes, comparison, dataset, cost, factor)))
            axes.set_xlabel(label)
        mean = comparison.measured(comparison.reference, "psnr", dataset)
        level = f"; {comparison.reference}: {text(mean.value, 2)} dB" if mean else ""
        line[0].set_title(f"{dataset} x{comparison.scale}{level}")
        line[0].set_ylabel(f"PSNR minus {comparison.reference}'s (dB)")
    style.legend(figure)
    bounds = lower_bounds(comparison.table[comparison.table["quantity"] == "gflops"])
    style.stamp(
        figure,
        comparison.table,
        f"Vertical: mean difference over images, {interval(comparison.table)}. Horizontal: one mechanism "
        "alone, quartiles of repeated timings. Up and to the left is better. " + " ".join(bounds),
    )
    figure.canvas.draw()
    for axes, points, ends, labels, colours in pending:
        style.label_points(axes, points, ends, labels, colours)
    return figure


def _panel(axes: Axes, comparison: Comparison, dataset: str, cost: str, factor: float) -> tuple[Any, ...]:
    look = style.identities(comparison.labels)
    points, ends, labels, colours = [], [], [], []
    prices = {label: comparison.measured(label, cost) for label in comparison.labels}
    positive = [price.value * factor for price in prices.values() if price is not None and price.value > 0]
    free = min(positive) / 4 if positive else 0.0  # position of a mechanism without cost: no logarithm reaches 0
    for label, price in prices.items():
        gain = comparison.measured(label, "psnr_difference", dataset)
        if label == comparison.reference:
            gain = Measured(0.0, None, None)
        if price is None or gain is None:
            continue
        x, y, (colour, marker) = price.value * factor or free, gain.value, look[label]
        spread = None if price.bars is None or not price.value else [[end[0] * factor] for end in price.bars]
        axes.errorbar(
            x, y, xerr=spread, yerr=gain.bars, fmt=marker, color=colour, markersize=6, capsize=2.5, elinewidth=1,
            label=f"{label} (reference)" if label == comparison.reference else label,
        )  # fmt: skip
        points.append((x, y))
        ends.append((y, y) if gain.low is None or gain.high is None else (gain.low, gain.high))
        labels.append(bounded(label, price.at_least))
        colours.append(colour)
    axes.axhline(0, color=style.GREY, linewidth=0.8, zorder=1)
    if points and positive:
        lowest, highest = min(x for x, _ in points), max(x for x, _ in points)
        axes.set_xscale("log")
        axes.set_xlim(lowest / 2, highest * 2)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest / lowest < 30 else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        none = any(x == free for x, _ in points)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "" if none and x < 2 * free else _tick(x)))
        if none:
            axes.text(
                free, -0.035, "0", transform=axes.get_xaxis_transform(), ha="center", va="top",
                fontsize=axes.xaxis.get_ticklabels()[0].get_fontsize(),
            )  # fmt: skip
    axes.margins(y=0.2)
    style.pareto(axes, points)
    return points, ends, labels, colours


def _tick(value: float) -> str:
    """Plain from a hundredth on, below that with a power of ten."""
    if value >= 0.01:
        return f"{value:g}"
    power = floor(log10(value) + 1e-9)
    digit = round(value / 10**power)
    return rf"${digit}\cdot 10^{{{power}}}$" if digit > 1 else f"$10^{{{power}}}$"
