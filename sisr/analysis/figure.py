"""Figure of the analysis: kernel noise, distance from exact attention, distribution of the weights."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from sisr.analysis.findings import ENOUGH_DRAWS
from sisr.analysis.summary import labels, mean, select
from sisr.report.figures import save, style

NAME = "what_enla_computes"
_SERIES = (
    ("random, 64 channels", "random features, 64 channels"),
    ("random, {narrow} channels", "random features, {narrow} channels"),
    ("ENLA, k = 1", "trained, ENLA, k = 1"),
    ("ENLA, k = 6", "trained, ENLA, k = 6"),
    ("ENLCA, k = 6", "trained, ENLCA, k = 6"),
)


def write(tables: dict[str, pd.DataFrame], results: Path) -> list[Path]:
    """Write `figures/what_enla_computes.png` and `.svg`; tables: kernel, error, attended."""
    with style.settings():
        figure = draw(tables)
    return save(figure, NAME, results)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Seven panels: three on the estimate, four on the weights."""
    kernel, error, attended = tables["kernel"], tables["error"], tables["attended"]
    shown = labels(attended)
    figure = plt.figure(figsize=(13.2, 4.6 + 0.24 * len(shown) + 1.3), layout="constrained")
    grid = figure.add_gridspec(2, 12, height_ratios=[3.4, 0.24 * len(shown) + 1.0])
    top = [figure.add_subplot(grid[0, 0:4]), figure.add_subplot(grid[0, 4:8])]
    top.append(figure.add_subplot(grid[0, 8:12], sharey=top[1]))
    bottom = [figure.add_subplot(grid[1, 3 * i : 3 * i + 3]) for i in range(4)]
    _variance(top[0], kernel)
    _errors(top[1], error, "k")
    _errors(top[2], error, "m")
    _weights(bottom, attended, shown)
    channels = sorted(set(select(attended, source="trained")["channels"]))
    style.stamp(
        figure,
        select(attended, source="trained"),
        "Bars: 95 % interval (b, c over draws, or over images and slots). Query and key of the trained networks have "
        f"{' or '.join(map(str, channels))} channels, the paper's 64. (e)–(g): means over queries; m = 128 unless "
        "stated. Dotted in (f): 2 %, uniform weights.",
    )
    return figure


def _variance(axes: Axes, kernel: pd.DataFrame) -> None:
    m = int(kernel["m"].iloc[0])
    line = np.linspace(0.2, kernel["squared"].max(), 200)
    axes.plot(line, np.expm1(line) / m, color=style.DARK, linewidth=1.3, label="formula, independent F")
    for index, kind in enumerate(("independent", "orthogonal")):
        part = select(kernel, projection=kind).drop_duplicates("squared")
        for enough in (True, False):
            some = part[(part["expected_spread"] <= ENOUGH_DRAWS) == enough]
            if some.empty:
                continue
            bars = [some["variance"] - some["variance_low"], some["variance_high"] - some["variance"]]
            axes.errorbar(
                some["squared"], some["variance"], yerr=np.array(bars), fmt=style.MARKERS[index], capsize=2,
                color=style.COLOURS[index], markersize=4.5, elinewidth=0.9,
                markerfacecolor=style.COLOURS[index] if enough else "white",
                label=f"measured, {kind}" if enough else None,
            )  # fmt: skip
    reach = kernel.loc[kernel["expected_spread"] <= ENOUGH_DRAWS, "squared"].max()
    axes.axvspan(reach * 1.12, kernel["squared"].max() * 1.04, color="#f3f4f6", zorder=0)
    axes.set_yscale("log")
    axes.set_ylim(select(kernel, projection="orthogonal")["variance"].min() / 3, np.expm1(line[-1]) / m * 40)
    axes.set_xlim(0, kernel["squared"].max() * 1.04)
    axes.text(
        0.97, 0.05, "hollow, shaded: too few draws\nto measure the variance", transform=axes.transAxes, ha="right",
        fontsize=7.5, color=style.GREY,
    )  # fmt: skip
    for cosine in (0, 1):
        at = 12.0 * (1 + cosine)
        height = float(np.expm1(at) / m)
        axes.annotate(
            f"k = 6, cos = {cosine}", (at, height), (-4, 5), textcoords="offset points", fontsize=7.5, ha="right",
            va="bottom", color=style.DARK,
        )  # fmt: skip
        axes.plot([at], [height], "x", color=style.DARK, markersize=5)
    axes.set_xlabel("|Q + K|² = 2k(1 + cos)")
    axes.set_ylabel("variance / exp(2 Q·K)")
    axes.set_title(f"(a) Noise of φ(Q)·φ(K), m = {m}")
    axes.legend(loc="upper left", fontsize=7.5, bbox_to_anchor=(0, 0.94))


def _errors(axes: Axes, error: pd.DataFrame, over: str) -> None:
    narrow = min(error["channels"])
    fixed: dict[str, Any] = {"m": 128} if over == "k" else {"k": 6.0}
    orthogonal = select(error, projection="orthogonal", **fixed)
    for index, (label, name) in enumerate(_SERIES):
        label, name = label.format(narrow=narrow), name.format(narrow=narrow)
        part = select(orthogonal, label=label)
        values = sorted(set(part[over]))
        if len(values) < 2:
            continue
        points = [mean(select(part, **{over: value}), "error") for value in values]
        bars = np.array([[p.value - p.low for p in points], [p.high - p.value for p in points]])
        axes.errorbar(
            values, [p.value for p in points], yerr=np.nan_to_num(bars), fmt=style.MARKERS[index] + "-",
            color=style.COLOURS[index], markersize=4.5, capsize=2, linewidth=1.3, elinewidth=0.9, label=name,
        )  # fmt: skip
        pooled = [mean(select(part, **{over: value}), "error_of_mean").value for value in values]
        axes.plot(values, pooled, ":", color=style.COLOURS[index], linewidth=1.2)
    axes.errorbar([], [], fmt=":", color=style.GREY, label="mean pooling instead of ENLA")
    axes.axhline(1, color=style.GREY, linewidth=0.8)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel("distance from exact attention")
    if over == "k":
        axes.set_xticks(sorted(set(orthogonal["k"])))
        axes.set_xlabel("amplification factor k")
        axes.set_title("(b) |Y − Y*| / |Y*|, m = 128")
        handles, names = axes.get_legend_handles_labels()
        axes.figure.legend(handles, names, loc="outside upper right", ncols=6, fontsize=8)
    else:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("random features m")
        axes.set_title("(c) |Y − Y*| / |Y*|, k = 6")


def _weights(panels: list[Axes], attended: pd.DataFrame, shown: list[str]) -> None:
    places = {label: len(shown) - 1 - index for index, label in enumerate(shown)}
    for label, y in places.items():
        part = select(attended, label=label)
        once = select(part, operator="exact")
        low, first, middle, third, high = (once[f"cosine_{q}"].mean() for q in ("01", "25", "50", "75", "99"))
        panels[0].plot([low, high], [y, y], color=style.GREY, linewidth=1)
        panels[0].plot([first, third], [y, y], color=style.COLOURS[0], linewidth=4.5, solid_capstyle="butt")
        panels[0].plot([middle], [y], "o", color="white", markersize=2.5)
        for axes, column in ((panels[1], "positions"), (panels[2], "top_share")):
            found = {}
            for operator, marker, face in (("exact", "s", "white"), ("ENLA", "o", style.COLOURS[1])):
                rows = select(part, operator=operator)
                if rows.empty:
                    continue
                share = rows[column] / rows["tokens"] if column == "positions" else rows[column]
                found[operator] = share.mean()
                axes.plot(
                    [share.mean()], [y], marker, markersize=5.5, markerfacecolor=face, zorder=3,
                    color=style.DARK if operator == "exact" else style.COLOURS[1],
                )  # fmt: skip
            if len(found) == 2:
                axes.plot(list(found.values()), [y, y], color=style.GREY, linewidth=0.8, zorder=1)
        rows = select(part, operator="ENLA")
        if len(rows):
            panels[3].plot([rows["features"].mean()], [y], "o", color=style.COLOURS[1], markersize=5.5)
            panels[3].plot([rows["buckets"].mean()], [y], "D", color=style.COLOURS[2], markersize=4.5)
    titles = (
        ("(d) Cosine of query and key", "1, 25, 50, 75, 99 % quantiles"),
        ("(e) Attended positions", "effective number, share of N"),
        ("(f) On the most similar 2 %", "share of the weight"),
        ("(g) Effective features", "effective number"),
    )
    for axes, (title, label) in zip(panels, titles, strict=True):
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.set_yticks(list(places.values()), list(places) if axes is panels[0] else [])
        axes.tick_params(axis="y", length=0)
        axes.set_title(title)
        axes.set_xlabel(label)
    panels[0].set_xlim(-1, 1)
    for axes in panels[1:3]:
        axes.set_xlim(0, 1.05)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[2].axvline(0.02, color=style.GREY, linewidth=0.8, linestyle=":")
    panels[3].set_xscale("log", base=2)
    panels[3].set_xlim(0.85, 150)
    panels[3].set_xticks([1, 2, 4, 8, 16, 32, 64, 128])
    panels[3].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    operators = (("s", style.DARK, "white", "exact"), ("o", style.COLOURS[1], style.COLOURS[1], "ENLA"))
    numbers = (
        ("o", style.COLOURS[1], style.COLOURS[1], "contribute to a query's sum"),
        ("D", style.COLOURS[2], style.COLOURS[2], "distinguish queries"),
    )
    for axes, entries in ((panels[1], operators), (panels[2], operators), (panels[3], numbers)):
        for marker, colour, face, name in entries:
            axes.plot([], [], marker, color=colour, markerfacecolor=face, markersize=5, label=name)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -52 / (24 * len(shown) + 30)), ncols=2, fontsize=8,
            columnspacing=1.2, handletextpad=0.3,
        )  # fmt: skip
