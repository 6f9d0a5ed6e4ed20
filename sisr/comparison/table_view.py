"""The comparison for readers."""

from typing import Any

import pandas as pd

from sisr.comparison.learning_rates import chosen_rate
from sisr.report.tables.view import Column, Section, Text, View, lower_bounds, marks, measured_text, rule
from sisr.results.cells import measured_value, number, span, text
from sisr.results.significance import ONE_SEED

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
    reference = str(table.loc[table["state"] == "reference", "row"].iloc[0])
    columns: list[Column] = []
    texts: dict[str, list[Text]] = {label: [] for label in (*kinds["mechanism"], *kinds["control"])}
    searches = searched(table)
    if searches:
        columns.append(Column("learning rate"))
        for label, shown in texts.items():
            shown.append(Text(chosen_rate(searches.get(label, ""))))
    for dataset in sets:
        for quantity, unit in (("psnr", ", dB"), ("ssim", "")):
            name, (digits, finer) = quantity.upper(), _DIGITS[quantity]
            columns += [
                Column(f"{name}{unit}", dataset),
                Column(f"{name} difference to {reference}{unit}", dataset),
                Column("p, corrected", dataset),
                Column("verdict", dataset),
            ]
            values = [measured_value(cells.get((label, dataset, quantity))) for label in kinds["mechanism"]]
            ranks = dict(zip(kinds["mechanism"], marks(values, digits), strict=True))
            for label, shown in texts.items():
                shown.append(measured_text(cells.get((label, dataset, quantity)), digits, mark=ranks.get(label, "")))
                shown += _difference(cells.get((label, dataset, f"{quantity}_difference")), finer, label == reference)
    for group, listed in (("one mechanism", _COSTS), ("its network", _NETWORK)):
        for heading, quantity, factor, digits in listed:
            if all(measured_value(cells.get((label, "", quantity))) is None for label in texts):
                continue
            columns.append(Column(heading, group))
            for label, shown in texts.items():
                shown.append(measured_text(cells.get((label, "", quantity)), digits, factor))
    title = f"Comparison of attention mechanisms with {reference}, x{int(table['scale'].dropna().iloc[0])}"
    sections = [Section("", list(texts.items()))]
    return View.of(table, NAME, title, columns, sections, _notes(table, reference))


def searched(table: pd.DataFrame) -> dict[str, str]:
    """The search over learning rates of each row in words; empty without a search."""
    cells = table[table["learning_rates"] != ""].drop_duplicates("row")
    return dict(zip(cells["row"], cells["learning_rates"], strict=True))


def _notes(table: pd.DataFrame, reference: str) -> list[str]:
    differences = table[table["quantity"].str.endswith("_difference")]
    notes = [note for note in dict.fromkeys(differences["note"]) if note and note != ONE_SEED]  # `rule` has that one
    lines = [f"The reference is {reference}. {rule(table)}", *(f"{note[0].upper()}{note[1:]}." for note in notes)]
    if searches := searched(table):
        listed = "; ".join(f"{label}: {words}" for label, words in searches.items())
        lines.append(
            f"The learning rate of each mechanism was chosen on validation sets, not on the test sets. {listed}."
        )
    apart = differences[differences["recipe_differences"] != ""].drop_duplicates("row")
    lines += [
        f"{cell['row']} was trained with a different recipe than {reference}: {cell['recipe_differences']}."
        for _, cell in apart.iterrows()
    ]
    costs = table[(table["quantity"] == "forward_seconds") & (table["measured"] != "")]
    if not costs.empty:
        first = costs.iloc[0]
        lines.append(
            f"Cost of {first['note']}, median and quartiles, one after another on {first['hardware']}, torch "
            f"{first['torch']}; memory is the peak of a forward beyond weights and input. GFLOPs are two operations a "
            "multiply-add, by the paper's convention where it has one (attention core only), else the core as counted."
        )
    return lines + lower_bounds(table)


def _difference(cell: Any, digits: int, reference: bool) -> list[Text]:
    """Difference, p-value, verdict."""
    if cell is None:
        return [Text("0"), Text(), Text("reference")] if reference else [Text(), Text(), Text()]
    p = number(cell["p_corrected"])
    return [
        Text(text(number(cell["measured"]), digits, True), span(cell["low"], cell["high"], digits, True)),
        Text("" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"),
        Text(cell["verdict"]),
    ]
