"""Layout and captions of the maps in a figure."""

from collections.abc import Iterable, Sequence
from itertools import count

from sisr.analysis.attention_maps.figure import LEAST, Line, Panel
from sisr.analysis.attention_maps.maps import RADIUS, Map
from sisr.analysis.attention_maps.picture import Picture
from sisr.utils.errors import UsageError

ABREAST = 6
"""Maximum number of maps in a row."""


def by_slot(maps: Sequence[Map]) -> list[Line]:
    """One row a slot, the networks in their order; long rows are split."""
    slots = list(dict.fromkeys(each.slot for each in maps))
    lines = []
    for slot in sorted(slots, key=lambda slot: (not slot.isdigit(), int(slot) if slot.isdigit() else 0)):
        panels = [panel(each, name(each)) for each in maps if each.slot == slot]
        title = f"slot {slot}" + (f", after {slot} residual blocks" if slot.isdigit() and slot != "0" else "")
        for start in range(0, len(panels), ABREAST):
            lines.append(Line(title if start == 0 else "", [*panels[start : start + ABREAST]]))
    return lines


def over_k(maps: Sequence[Map]) -> list[Line]:
    """One column an amplification factor, one line a mechanism, slot, and kind of weights.

    Raises UsageError if a network has no amplification factor.
    """
    for each in maps:
        if each.k is None:
            raise UsageError(
                f"{each.source.path} has no amplification factor, because its query and key are not normalised; "
                "remove it, or remove --over k."
            )
    columns = sorted({float(each.k) for each in maps if each.k is not None})
    several = len({each.slot for each in maps}) > 1
    lines: dict[str, dict[float, Map]] = {}
    for each in sorted(maps, key=lambda each: each.estimate):  # groups rows with and without the loss
        title, k = without_k(each) + (f", slot {each.slot}" if several else ""), float(each.k or 0)
        titles = (title if number == 1 else f"{title} ({number})" for number in count(1))
        lines.setdefault(next(name for name in titles if k not in lines.get(name, {})), {})[k] = each
    return [
        Line(title, [panel(by_k[k], f"k = {k:g}") if k in by_k else None for k in columns])
        for title, by_k in lines.items()
    ]


def panel(each: Map, label: str) -> Panel:
    """A map with its captions."""
    near = f"{percent(each.near)} within {RADIUS} LR pixels (uniform: {percent(each.near_if_even)})"
    return Panel(label, each.weights, [near, f"effective: {each.effective:,.0f} of {each.weights.size:,} positions"])


def name(each: Map) -> str:
    """Name of the network, with k if it differs from training."""
    shown = f", shown at k = {each.k:g}" if each.changed else ""
    return each.source.label + shown + (" (estimate)" if each.estimate else "")


def without_k(each: Map) -> str:
    """The mechanism without its k, whether it was trained with the contrastive loss, and the kind of weights."""
    k = each.source.config.get("attention_options", {}).get("k")
    label = each.source.label.replace(f", k = {float(k):g}", "") if k is not None else each.source.label
    if each.changed:
        return f"{each.source.label}, shown at other k" + (": estimate" if each.estimate else "")
    if each.source.random_features:
        label += ", with contrastive loss" if each.source.contrastive else ", without contrastive loss"
    return label + (": estimate" if each.estimate else "")


def note(picture: Picture, at: tuple[int, int], maps: Sequence[Map]) -> str:
    """Notes for the reader of the figure."""
    row, column = maps[0].position
    height, width = maps[0].weights.shape
    words = [
        f"Marked: x = {at[0]}, y = {at[1]} of the {picture.kind} image"
        + (f", row {row}, column {column} of LR" if picture.kind == "HR" else "")
        + f"; every network processed the whole LR image of {width} x {height} pixels.",
        f"Colours: weight divided by the uniform weight (1/N), logarithmic, up to {LEAST:g} is black. Below a map: "
        f"share of the weight within {RADIUS} LR pixels of the mark, and exp(entropy), the effective number of "
        "positions.",
    ]
    slots = list(dict.fromkeys(each.slot for each in maps))
    if len(slots) == 1:
        words.append(f"Attention in slot {slots[0]}, the number of residual blocks before it.")
    if any(each.source.random_features and not each.estimate for each in maps):
        words.append("ENLA and ENLCA: the row of exact softmax(Q Kᵀ), as in the paper's figures.")
    if any(each.estimate for each in maps):
        words.append("Estimate: the weights of the random features, from which ENLA's output is computed.")
    return " ".join(words)


def summary(maps: Iterable[Map]) -> list[str]:
    """One line a map, for the terminal."""
    return [
        f"{name(each)}, slot {each.slot}: {percent(each.near)} within {RADIUS} LR pixels (uniform weights: "
        f"{percent(each.near_if_even)}), effective positions {each.effective:,.0f} of {each.weights.size:,}"
        for each in maps
    ]


def percent(share: float) -> str:
    """Three digits at most."""
    return f"{100 * share:.{1 if share < 0.9995 else 0}f} %"
