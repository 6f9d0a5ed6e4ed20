"""The comparison for readers."""

from typing import Any

import pandas as pd

from sisr.report.tables.view import Column, Section, Text, View, banner, caveats, marks
from sisr.results.cells import number, span, text
from sisr.results.significance import LEVEL, UNTOLD

NAME = "compare"
"""Name of the table and of its files."""
_COSTS = (
    # heading, quantity, factor, decimals
    ("parameters", "parameters", 1.0, 0),
    ("GFLOPs", "gflops", 1.0, 2),
    ("forward, ms", "forward_seconds", 1e3, 2),
    ("forward and backward, ms", "training_seconds", 1e3, 2),
    ("peak memory, MB", "peak_memory_bytes", 1e-6, 1),
)
_NETWORK = (
    ("parameters", "network_parameters", 1.0, 0),
    ("GFLOPs", "network_gflops", 1.0, 2),
    ("forward, ms", "network_forward_seconds", 1e3, 2),
    ("forward and backward, ms", "network_training_seconds", 1e3, 2),
)
_DIGITS = {"psnr": (2, 3), "ssim": (4, 4)}


def view(table: pd.DataFrame) -> View:
    """Mechanisms beside each other: PSNR and SSIM, difference to the reference with verdict, cost; controls below."""
    cells = {(c["row"], c["dataset"], c["quantity"]): c for _, c in table.iterrows()}
    sets = [name for name in dict.fromkeys(table["dataset"]) if name]
    kinds = {kind: list(dict.fromkeys(table[table["kind"] == kind]["row"])) for kind in ("mechanism", "control")}
    reference = next(row for (row, _, quantity), c in cells.items() if quantity == "psnr" and _is_reference(c))
    columns: list[Column] = []
    texts: dict[str, list[Text]] = {label: [] for label in (*kinds["mechanism"], *kinds["control"])}
    for dataset in sets:
        for quantity, unit in (("psnr", ", dB"), ("ssim", "")):
            name, (digits, finer) = quantity.upper(), _DIGITS[quantity]
            columns += [
                Column(f"{name}{unit}", dataset),
                Column(f"{name} difference to {reference}{unit}", dataset),
                Column("p, corrected", dataset),
                Column("verdict", dataset),
            ]
            values = [_number(cells.get((label, dataset, quantity))) for label in kinds["mechanism"]]
            ranks = dict(zip(kinds["mechanism"], marks(values, digits), strict=True))
            for label, shown in texts.items():
                level = cells.get((label, dataset, quantity))
                shown.append(_figure(level, digits, mark=ranks.get(label, "")))
                shown.append(
                    _difference(cells.get((label, dataset, f"{quantity}_difference")), finer, label == reference)
                )
                shown.append(Text(_p(cells.get((label, dataset, f"{quantity}_p_corrected")))))
                shown.append(Text(_verdict(cells.get((label, dataset, f"{quantity}_verdict")), label == reference)))
    for group, listed in (("one mechanism", _COSTS), ("its network", _NETWORK)):
        for heading, quantity, factor, digits in listed:
            if all(_number(cells.get((label, "", quantity))) is None for label in texts):
                continue
            columns.append(Column(heading, group))
            for label, shown in texts.items():
                shown.append(_figure(cells.get((label, "", quantity)), digits, factor))
    said, same = banner(table)
    return View(
        NAME, f"Comparison of attention mechanisms with {reference}, x{int(table['scale'].dropna().iloc[0])}",
        said, same, columns, [Section("", list(texts.items()))], _notes(table, reference),
    )  # fmt: skip


def _notes(table: pd.DataFrame, reference: str) -> list[str]:
    def notes(ending: str) -> list[str]:
        return [note for note in dict.fromkeys(table[table["quantity"].str.endswith(ending)]["note"]) if note]

    tests = notes("_p")
    told = table[table["quantity"].str.endswith("_verdict")]
    reasons = list(dict.fromkeys(told[told["measured"].str.startswith(UNTOLD)]["measured"]))
    found = [
        f"Differences are to {reference}, on the same images, with 95 % bootstrap intervals over images and, where "
        "there are several, seeds.",
        f"Test: {'; '.join(tests) or 'none'} (docs/compare.md explains it). "
        f"Correction: {'; '.join(notes('_p_corrected')) or 'none'} "
        "(scipy.stats.false_discovery_control).",
        f"Verdict: better or worse where the corrected p, over images and trainings, is below {LEVEL:g}, or where the "
        "difference is larger than another seed makes (docs/compare.md); “no difference” means that this measurement "
        "found none.",
        *(f"{row}: {note}." for row, note in _by_size(told)),
        *(f"{reason[0].upper()}{reason[1:]}." for reason in reasons),
    ]
    part = table[(table["quantity"] == "psnr_difference") & table["note"].str.contains("trained otherwise")]
    found += list(dict.fromkeys(f"{cell['row']} was {_apart(cell['note'])}." for _, cell in part.iterrows()))
    costs = table[(table["quantity"] == "forward_seconds") & (table["measured"] != "")]
    if not costs.empty:
        first = costs.iloc[0]
        found.append(
            f"Cost of {first['note']}, median and quartiles, one after another on {first['hardware']}, torch "
            f"{first['torch']}; memory is the peak of a forward beyond weights and input. GFLOPs are two operations a "
            "multiply-add, by the paper's convention where it has one (attention core only), else the core as counted."
        )
    return found + caveats(table)


def _by_size(told: pd.DataFrame) -> list[tuple[str, str]]:
    """Verdicts that rest on the size of a difference."""
    found = told[told["note"].str.startswith("by its size")]
    return [
        (f"{cell['row']} on {cell['dataset']}, {cell['quantity'].partition('_')[0].upper()}", f"told {cell['note']}")
        for _, cell in found.iterrows()
    ]


def _apart(note: str) -> str:
    return next(part for part in note.split("; ") if part.startswith("trained otherwise"))


def _is_reference(cell: Any) -> bool:
    return "reference" in str(cell["note"]).split("; ")


def _number(cell: Any) -> float | None:
    return None if cell is None else number(cell["measured"])


def _figure(cell: Any, digits: int, factor: float = 1.0, mark: str = "") -> Text:
    value = _number(cell)
    if value is None:
        return Text()
    low, high = (None if number(end) is None else float(end) * factor for end in (cell["low"], cell["high"]))
    main = f"{value * factor:,.0f}" if digits == 0 else text(value * factor, digits)
    return Text(main, span(low, high, digits), mark)


def _difference(cell: Any, digits: int, reference: bool) -> Text:
    if cell is None:
        return Text("0" if reference else "")
    return Text(text(number(cell["measured"]), digits, True), span(cell["low"], cell["high"], digits, True))


def _p(cell: Any) -> str:
    value = _number(cell)
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _verdict(cell: Any, reference: bool) -> str:
    if cell is None:
        return "reference" if reference else ""
    return str(cell["measured"]).partition(":")[0]
