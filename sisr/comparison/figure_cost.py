"""How time and memory of the mechanisms grow with the image."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from sisr.comparison.result import Comparison
from sisr.report.figures import style
from sisr.utils.errors import SisrError

_PANELS = (
    ("forward_seconds", 1e3, "forward (ms)"),
    ("training_seconds", 1e3, "forward and backward (ms)"),
    ("peak_memory_bytes", 1e-6, "peak memory (MB)"),
)


def draw(comparison: Comparison, costs: pd.DataFrame) -> Figure:
    """Three panels, both axes logarithmic; grey lines grow in proportion to the pixels and to their square."""
    if costs[[column for column, *_ in _PANELS]].isna().all(axis=None):
        raise SisrError("comparison/cost_by_size.csv holds nothing measured, so there is nothing to draw.")
    figure, panels = plt.subplots(1, 3, figsize=(11, 4.1), layout="constrained")
    for axes, (column, factor, label) in zip(panels, _PANELS, strict=True):
        _panel(axes, comparison, costs, column, factor)
        axes.set_title(label)
        axes.set_xlabel("feature map (pixels)")
    style.legend(figure, 7)
    devices = ", ".join(dict.fromkeys(costs["device"].dropna()))
    note = f"One mechanism alone on 64 channels, measured on {devices}; band: quartiles of repeated timings."
    style.stamp(figure, comparison.table, note)
    return figure


def _panel(axes: Axes, comparison: Comparison, costs: pd.DataFrame, column: str, factor: float) -> None:
    look = style.identities(comparison.labels)
    sizes = costs.assign(pixels=costs["height"] * costs["width"]).sort_values("pixels")
    for label in comparison.labels:
        part = sizes[(sizes["label"] == label) & (sizes[column] > 0)]
        if part.empty:
            continue
        colour, marker = look[label]
        axes.plot(
            part["pixels"], part[column] * factor, marker + "-", color=colour, markersize=5, linewidth=1.5, label=label
        )
        if column == "forward_seconds":
            low, high = part["forward_low"] * factor, part["forward_high"] * factor
            axes.fill_between(part["pixels"], low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.08)
    _guides(axes, sizes["pixels"])
    ticks = sizes.drop_duplicates("pixels")
    names = {float(row["pixels"]): f"{row['height']}×{row['width']}" for _, row in ticks.iterrows()}
    axes.xaxis.set_major_locator(FixedLocator(list(names)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: names.get(value, "")))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelrotation=35 if len(names) > 4 else 0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _guides(axes: Axes, pixels: "pd.Series[int]") -> None:
    """Straight lines of slope 1 and 2 from the lower left corner, within the limits that the measurements set."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    x = np.geomspace(pixels.min(), right, 50)
    for power, line in ((1, ":"), (2, "-.")):
        y = low * 1.15 * (x / x[0]) ** power
        inside = y <= high
        axes.plot(
            x[inside], y[inside], line, color="#9ca3af", linewidth=1, zorder=1,
            label="∝ pixels" if power == 1 else "∝ pixels²",
        )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
