"""The answer as a figure: differences to the reference, their 95 % intervals, and the verdicts beside them."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sisr.comparison.result import Comparison
from sisr.comparison.sentences import p_value, verdict
from sisr.report.figures import style
from sisr.results.cells import text
from sisr.utils.errors import SisrError

_PANELS = (("psnr", "PSNR", "dB", 3), ("ssim", "SSIM", "", 5))
_COLOURS = {"better": "#00704f", "worse": "#b04a00"}


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
        "Points: mean over images; lines: 95 % bootstrap interval, paired by image. Filled: told apart from the "
        "reference by the corrected test; hollow: not told apart.",
    )
    return figure


def _lines(comparison: Comparison) -> list[tuple[str, str]]:
    """(data set, mechanism) from top to bottom; mechanism is blank in the line that names the set."""
    found = []
    places = list(comparison.places())
    for dataset in comparison.datasets:
        labels = [label for label, name in places if name == dataset]
        found += [(dataset, label) for label in (["", *labels] if labels else [])]
    return found


def _panel(axes: Axes, comparison: Comparison, lines: list[tuple[str, str]], quantity: str, digits: int) -> None:
    look = style.identities(comparison.labels)
    axes.axvline(0, color=style.DARK, linewidth=1, zorder=1.5)
    for y, (dataset, label) in enumerate(lines):
        if not label:
            if y:
                axes.axhline(y - 0.5, color="#d1d5db", linewidth=0.8)
            continue
        found = comparison.measured(label, f"{quantity}_difference", dataset)
        if found is None:
            continue
        told, _ = verdict(comparison, label, dataset, quantity)
        colour, marker = look[label]
        axes.errorbar(
            found.value, y, xerr=found.bars, fmt=marker, color=colour, markersize=6.5, capsize=3, elinewidth=1.5,
            markerfacecolor=colour if told in _COLOURS else "white", markeredgewidth=1.4, zorder=3,
        )  # fmt: skip
        p = comparison.measured(label, f"{quantity}_p_corrected", dataset)
        words = [told] + ([f"p {p_value(p.value)}"] if p else [])
        for shift, aligned, word, shade in (
            (47, "right", text(found.value, digits, sign=True), style.DARK),
            (54, "left", ", ".join(word for word in words if word), _COLOURS.get(told, style.GREY)),
        ):
            axes.annotate(
                word, (1, y), (shift, 0), xycoords=("axes fraction", "data"), textcoords="offset points", ha=aligned,
                va="center", fontsize=8.5, color=shade, fontweight="bold" if told in _COLOURS else "normal",
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
