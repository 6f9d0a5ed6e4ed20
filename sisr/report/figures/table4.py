"""Table 4 as a figure: PSNR over what it costs, in operations and in time."""

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sisr.report.figures import style
from sisr.report.tables.view import interval
from sisr.results.cells import by_place, number, select_measured
from sisr.utils.errors import SisrError

_AXES = (("gflops", 1.0, "GFLOPs of the core (paper's convention)"), ("seconds", 1e3, "time of one forward (ms)"))


def draw(table: pd.DataFrame) -> Figure:
    """One row of panels a data set. The step line joins the mechanisms that no cheaper one matches (Pareto front)."""
    networks = table[table["kind"] == "network"]
    quantity = "psnr_difference" if (networks["quantity"] == "psnr_difference").any() else "psnr"
    places = by_place(select_measured(networks, "psnr", quantity))
    if not places:
        raise SisrError("Table 4 holds no measured PSNR, so there is nothing to draw; add runs with --runs.")
    costs = {
        (c["row"], c["quantity"]): number(c["measured"]) for _, c in table[table["kind"] == "mechanism"].iterrows()
    }
    figure, panels = plt.subplots(
        len(places), 2, figsize=(9.4, 3.3 * len(places) + 1.0), sharey="row", squeeze=False, layout="constrained"
    )
    families = _families(row for _, _, cells in places for row in cells["row"])
    pending = []
    for line, (scale, dataset, cells) in zip(panels, places, strict=True):
        for axes, (cost, factor, label) in zip(line, _AXES, strict=True):
            points = _points(cells, quantity, {row: costs.get((row, cost)) for row in cells["row"]}, factor)
            pending.append((axes, *_panel(axes, points, families)))
            axes.set_xlabel(label)
        line[0].set_title(f"{dataset} x{scale}")
        line[0].set_ylabel("PSNR above the convolution's (dB)" if quantity == "psnr_difference" else "PSNR (dB)")
    style.legend(figure)
    style.stamp(figure, table, f"Mean over images, {interval(table)}.")
    figure.canvas.draw()
    for axes, where, ends, texts, colours in pending:
        style.label_points(axes, where, ends, texts, colours)
    return figure


def _points(
    cells: pd.DataFrame, quantity: str, costs: dict[str, float | None], factor: float
) -> list[tuple[str, float, float, list[list[float]] | None]]:
    """(row, cost, PSNR, error bars) of every mechanism that has both; the convolution at 0 among differences."""
    found = []
    for row in dict.fromkeys(cells["row"]):
        cost, mine = costs[row], cells[cells["row"] == row]
        if cost is None:
            continue
        wanted = mine[mine["quantity"] == quantity]
        if len(wanted):
            found.append((row, cost * factor, *style.bars(wanted.iloc[0])))
        elif row == "convolution":
            found.append((row, cost * factor, 0.0, None))
    return found


def _panel(
    axes: Axes, points: Sequence[tuple[str, float, float, list[list[float]] | None]], families: Sequence[str]
) -> tuple[list[tuple[float, float]], list[tuple[float, float]], list[str], list[str]]:
    texts, colours = [], []
    for row, cost, value, error in points:
        family, text = _family(row)
        index = families.index(family)
        style.dot(axes, cost, value, index, yerr=error, elinewidth=0.9, label=family)
        texts.append(text)
        colours.append(style.look(index)[0])
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.16)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    style.pareto(axes, [(cost, value) for _, cost, value, _ in points])
    ends = [(value - error[0][0], value + error[1][0]) if error else (value, value) for _, _, value, error in points]
    return [(cost, value) for _, cost, value, _ in points], ends, texts, colours


def _families(rows: Iterable[str]) -> list[str]:
    """Of all panels, so that a mechanism that one panel lacks changes no colour in it."""
    found = {_family(row)[0]: None for row in rows}
    first = [name for name in ("ENLCA", "NLSA", "NLA", "convolution") if name in found]
    return list(dict.fromkeys([*first, *found]))


def _family(row: str) -> tuple[str, str]:
    """`ENLCA-m128` as (`ENLCA`, `m = 128`); a mechanism without a number is its own family, and needs no label."""
    name, _, rest = row.rpartition("-")
    if name and rest[1:].isdigit():
        return name, f"{rest[0]} = {rest[1:]}"
    return row, ""
