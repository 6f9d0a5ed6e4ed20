"""Sentences that are computed from the cells of a comparison."""

from collections import Counter

from sisr.comparison.result import Comparison
from sisr.results.cells import number, ratio_bound, span, text
from sisr.results.runs import CONTROLS
from sisr.results.significance import BETTER, EQUIVALENT, VERDICTS, WORSE

_SAME = 0.05
"""Costs that differ by less than this share are called about the same."""
_COSTS = (
    ("forward_seconds", "time of a forward pass"),
    ("training_seconds", "time of forward and backward"),
    ("peak_memory_bytes", "peak memory"),
    ("gflops", "operations"),
)


def verdict(comparison: Comparison, label: str, dataset: str, quantity: str = "psnr") -> str:
    """The verdict on a difference to the reference; blank where there is none."""
    cell = comparison.cell(label, f"{quantity}_difference", dataset)
    return "" if cell is None else str(cell["verdict"])


def significant(verdict: str) -> bool:
    """Whether a verdict is `better` or `worse`."""
    return verdict.startswith((BETTER, WORSE))


def summary(comparison: Comparison, label: str) -> list[tuple[str, str]]:
    """(verdict, words) on PSNR over all sets: `better on 2 of 3 sets`, `inconclusive on 1 of 3 sets`."""
    counts = Counter(word for dataset in comparison.datasets if (word := verdict(comparison, label, dataset)))
    sets = sum(counts.values())
    order = sorted(counts, key=lambda word: (VERDICTS.index(word.split()[0]), word))
    return [(word, word + (f" on {counts[word]} of {sets} sets" if sets > 1 else "")) for word in order]


def sentence(comparison: Comparison, label: str, dataset: str) -> str:
    """The difference of PSNR on one set with its verdict; blank where there is no difference measured."""
    gain = comparison.measured(label, "psnr_difference", dataset)
    if gain is None:
        return ""
    cell, reference = comparison.cell(label, "psnr_difference", dataset), comparison.reference
    p, word = number(cell["p_corrected"]), verdict(comparison, label, dataset)
    details = f"{text(gain.value, 3, sign=True)} dB {span(gain.low, gain.high, 3, sign=True)}".strip()
    details += f" over {int(cell['images'])} images"
    details += f", corrected p {p_value(p)}" if p is not None else ""
    details += f" ({cell['note']})" if cell["note"] else ""
    if significant(word):
        first, by, size = word.partition(" by ")
        return f"On {dataset}, {label} is {first} than {reference}{by}{size}: {details}."
    if word.startswith(EQUIVALENT):
        return f"On {dataset}, {label} and {reference} are {word}: {details}."
    return f"On {dataset}, the difference of {label} to {reference} is {word}: {details}."


def cost(comparison: Comparison, label: str) -> str:
    """Cost of the mechanism relative to the reference; blank where none was measured."""
    parts = []
    for quantity, name in _COSTS:
        mine, other = comparison.measured(label, quantity), comparison.measured(comparison.reference, quantity)
        if mine and other and other.value > 0:
            ratio, bound = mine.value / other.value, ratio_bound(mine.at_least, other.at_least)
            if bound is None:  # nothing can be said of two lower bounds
                continue
            same = not bound and abs(ratio - 1) < _SAME
            parts.append(f"about the same {name}" if same else f"{bound}{times(ratio)} the {name}")
    if not parts:
        return ""
    most = ", ".join(parts[:-1])
    return f"Beside {comparison.reference} it takes {most + ' and ' if most else ''}{parts[-1]}."


def describe_comparison(comparison: Comparison) -> list[str]:
    """All sentences, mechanism by mechanism, and the reference's distance to bicubic upscaling."""
    reference, lines = comparison.reference, []
    for label in comparison.others:
        lines += [sentence(comparison, label, dataset) for dataset in comparison.datasets]
        lines.append(cost(comparison, label))
    for dataset in comparison.datasets:
        rows = (reference, CONTROLS["bicubic"])
        network, bicubic = (comparison.measured(row, "psnr", dataset) for row in rows)
        if network and bicubic:
            gain = network.value - bicubic.value
            where = "above" if gain >= 0 else "below"
            lines.append(f"On {dataset}, {reference} is {text(abs(gain), 2)} dB {where} bicubic upscaling.")
    return [line for line in lines if line]


def times(ratio: float) -> str:
    """A ratio in words, with two significant digits: `37 times`, `1.3 times`, `4.2 % of`, `less than 0.01 % of`."""
    if ratio < 1e-4:
        return "less than 0.01 % of"
    if ratio < 0.1:
        return f"{100 * ratio:.2g} % of"
    return (f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}" if ratio < 1 else f"{ratio:.1f}") + " times"


def p_value(p: float) -> str:
    """A p-value with its relation: `= 0.034`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"
