"""The answer as a figure: differences to the reference, their 95 % intervals, and the verdicts beside them."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sisr.comparison.result import Comparison
from sisr.comparison.sentences import p_value, significant, verdict
from sisr.report.figures import style
from sisr.report.tables.view import interval
from sisr.results.cells import number, text
from sisr.utils.errors import SisrError

_PANELS = (("psnr", "PSNR", "dB", 3), ("ssim", "SSIM", "", 5))
_COLOURS = {"better": "#00704f", "worse": "#b04a00"}  # by the first word of the verdict


def draw(comparison: Comparison) -> Figure:
    """A forest plot, PSNR on the left and SSIM on the right, the sets one below another."""
    lines = _lines(comparison)
    if not any(label for _, label in lines):
        raise SisrError("the comparison holds no measured difference, so there is nothing to draw; compare again.")
    # a set's name is a line of its own
    figure, panels = plt.subplots(1, 2, figsize=(11, 1.5 + 0.33 * len(lines)), layout="constrained", sharey=True)
    for axes, (quantity, name, unit, digits) in zip(panels, _PANELS, strict=True):
        _panel(axes, comparison, lines, quantity, digits)
        axes.set_title(f"{name} minus {comparison.reference}'s" + (f" ({unit})" if unit else ""))
    axes = panels[0]
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks(range(len(lines)), [label or dataset for dataset, label in lines])
    for tick, (_, label) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if label else "bold")
    style.stamp(
        figure,
        comparison.table,
        f"Points: mean difference on the same images; lines: {interval(comparison.table)}. Filled: "
        "better or worse than the reference after correction; hollow: equivalent or inconclusive.",
    )
    return figure


def _lines(comparison: Comparison) -> list[tuple[str, str]]:
    """(data set, mechanism) from top to bottom; mechanism is blank in the line that names the set."""
    lines: list[tuple[str, str]] = []
    for label, dataset in comparison.places():
        lines += [(dataset, label)] if lines and lines[-1][0] == dataset else [(dataset, ""), (dataset, label)]
    return lines


def _panel(axes: Axes, comparison: Comparison, lines: list[tuple[str, str]], quantity: str, digits: int) -> None:
    look = style.identities(comparison.labels)
    axes.axvline(0, color=style.DARK, linewidth=1, zorder=1.5)
    for y, (dataset, label) in enumerate(lines):
        if not label:
            if y:
                axes.axhline(y - 0.5, color="#d1d5db", linewidth=0.8)
            continue
        gain = comparison.measured(label, f"{quantity}_difference", dataset)
        if gain is None:
            continue
        word = verdict(comparison, label, dataset, quantity)
        shade = _COLOURS.get(word.split()[0] if word else "", style.GREY)
        colour, marker = look[label]
        axes.errorbar(
            gain.value, y, xerr=gain.bars, fmt=marker, color=colour, markersize=6.5, capsize=3, elinewidth=1.5,
            markerfacecolor=colour if significant(word) else "white", markeredgewidth=1.4, zorder=3,
        )  # fmt: skip
        p = number(comparison.cell(label, f"{quantity}_difference", dataset)["p_corrected"])
        words = [word] + ([f"p {p_value(p)}"] if p is not None else [])
        for shift, aligned, written, ink in (
            (47, "right", text(gain.value, digits, sign=True), style.DARK),
            (54, "left", ", ".join(part for part in words if part), shade),
        ):
            axes.annotate(
                written, (1, y), (shift, 0), xycoords=("axes fraction", "data"), textcoords="offset points", ha=aligned,
                va="center", fontsize=8.5, color=ink, fontweight="bold" if significant(word) else "normal",
                annotation_clip=False,
            )  # fmt: skip
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=4)
    axes.annotate(
        "← worse     better →", (0, 0), (0, -25), xycoords=("data", "axes fraction"), textcoords="offset points",
        ha="center", va="center", fontsize=8.5, color=style.GREY,
    )  # fmt: skip
