"""What a table shows, in sentences that are computed from it."""

from collections.abc import Iterable, Iterator
from math import inf, isnan
from typing import Any

import pandas as pd

from sisr.report.tables.table2 import ROWS
from sisr.results import published
from sisr.results.cells import number, span, text
from sisr.results.runs import CONTROLS


def describe_table(name: str, table: pd.DataFrame) -> list[str]:
    """Sentences about one of the tables, most important first."""
    return {"table1": _table1, "table2": _table2, "table4": _table4, "k_sweep": _k_sweep}[name](table)


def reasons(table: pd.DataFrame) -> list[str]:
    """Why the measured figures and the paper's differ."""
    trained = table[table["comparable"] != ""]
    found = []
    if (trained["comparable"] == "no").any():
        amounts = "; ".join(dict.fromkeys(trained["training"]))
        found.append(
            f"**Training.** Measured: {amounts}. The paper: 32 blocks of 256 channels, about 1,000,000 steps of "
            "batch 16 on the 800 images of DIV2K. At a toy scale, differences between mechanisms may be no larger than "
            "the noise of training, and their order says nothing about the paper's."
        )
    if (trained["seeds"] == 1).any():
        found.append(
            "**One seed.** Networks that were trained once have intervals over images only, so their differences are "
            "inconclusive."
        )
    others = [name for name in dict.fromkeys(trained["dataset"]) if name and name not in published.SETS]
    if others:
        found.append(f"**Other images.** {', '.join(others)} is not among the paper's data sets.")
    return found or ["The measured networks are of the paper's size and were trained as long, with several seeds."]


def paper(name: str) -> list[str]:
    """What the paper says, in sentences computed from `results/published`."""
    if name == "table1":
        return _paper_table1()
    if name == "table2":
        known = [
            f"{row} {text(figure.value, 2, True)} dB"
            for row in ROWS
            if (figure := published.figure(name, row, "psnr_difference")).status == "paper"
        ]
        return [
            f"Over the baseline without attention: {', '.join(known)}.",
            "The gain of the step between them, the absolute PSNR, the data set and the backbone of Table 2 "
            "are not known to this suite, so those cells are blank.",
        ]
    if name == "table4":
        flops = published.figure(name, "ENLCA-m128", "gflops").value
        return [
            f"ENLCA with 128 random features takes {text(flops, 2)} GFLOPs, which matches the cost of a convolution, "
            "and its PSNR is above that of exact non-local attention (NLA) and of non-local sparse attention (NLSA).",
            "The paper's other cells are not known to this suite. Figures marked † follow from one convention that "
            "gives this one: two operations a multiply-add, the embeddings not counted.",
        ]
    best = published.figure(name, "best", "k").value
    return [
        f"PSNR peaks at k = {best:g} (Figure 6).",
        "The curve, its values of k and its data set are not known to this suite.",
    ]


def _paper_table1() -> list[str]:
    columns = published.table1().pivot(index=["scale", "dataset"], columns="method", values="psnr")
    first = int((columns.idxmax(axis=1) == "ENLCN").sum())
    found = [f"ENLCN has the highest PSNR in {first} of the {len(columns)} columns of the paper's table."]
    for scale in sorted(set(columns.index.get_level_values("scale"))):
        part = columns.loc[scale]
        gains = []
        for other in ("EDSR", "NLSN"):
            gap = part["ENLCN"] - part[other]
            gains.append(f"{text(gap.min(), 2)} to {text(gap.max(), 2)} dB over {other}")
        found.append(f"At x{scale} it gains {' and '.join(gains)}.")
    return found


def _table1(table: pd.DataFrame) -> list[str]:
    found = []
    for quantity, other in (("psnr_over_bicubic", "bicubic"), ("psnr_over_edsr", "EDSR")):
        part = _measured(table, quantity)
        for scale in sorted(set(part["scale"])):
            for row in dict.fromkeys(part.loc[part["scale"] == scale, "row"]):
                cells = part[(part["scale"] == scale) & (part["row"] == row)]
                found.append(_differences(f"**{row} minus {other} at x{int(scale)}**", cells, "the paper's means"))
    ceiling = _measured(table, "psnr")
    ceiling = ceiling[ceiling["row"] == CONTROLS["hr"]]
    if len(ceiling) and all(number(value) == inf for value in ceiling["measured"]):
        found.append("The HR images measured against themselves give an infinite PSNR, as they must.")
    return found or ["Nothing was measured."]


def _table2(table: pd.DataFrame) -> list[str]:
    found = []
    part = _measured(table, "psnr_difference")
    for scale in sorted(set(part["scale"])):
        for row in dict.fromkeys(part.loc[part["scale"] == scale, "row"]):
            cells = part[(part["scale"] == scale) & (part["row"] == row)]
            said = cells["published"].iloc[0]
            paper = "its figure in the paper is not known" if isnan(said) else f"the paper: {text(said, 2, True)} dB"
            label = f"**{ROWS[row]}**, x{int(scale)}, over the baseline ({paper})"
            found.append(_differences(label, cells.assign(published=float("nan")), ""))
    return found or ["No row but the baseline was measured."]


def _differences(label: str, cells: pd.DataFrame, paper: str) -> str:
    """One sentence on the differences of one row on all data sets, sorted by their verdicts."""
    parts: list[str] = []
    for _, cell in cells.iterrows():
        known = "" if isnan(cell["published"]) else f" ({paper}: {text(cell['published'], 2, True)})"
        parts.append(f"{cell['dataset']} {_figure(cell)}{known}")
    verdicts = "; ".join(
        f"{word} on {', '.join(names)}" for word, names in cells.groupby("verdict", sort=False)["dataset"]
    )
    return f"{label}: {', '.join(parts)} dB. {verdicts[0].upper()}{verdicts[1:]}."


def _table4(table: pd.DataFrame) -> list[str]:
    found = []
    cost = {(c["row"], c["quantity"]): number(c["measured"]) for _, c in table[table["kind"] == "mechanism"].iterrows()}
    ours, convolution = "ENLCA-m128", "convolution"
    if (flops := _ratio(cost, ours, convolution, "gflops")) is not None:
        found.append(f"{ours} takes {flops:.2f} times the operations of the convolution by the paper's convention.")
    for quantity, label in (("seconds", "time"), ("peak_memory", "peak memory")):
        ratios = [(name, _ratio(cost, name, ours, quantity)) for name in (convolution, "NLSA-r4", "NLA")]
        parts = [f"{name} {ratio:.2g} times" for name, ratio in ratios if ratio is not None]
        if parts:
            found.append(f"Against the {label} of {ours}: {', '.join(parts)}.")
    networks = table[table["kind"] == "network"]
    for scale, dataset, part in _places(networks):
        cells = {c["row"]: c for _, c in _measured(part, "psnr_difference").iterrows()}
        parts = [f"{name} {_figure(cells[name])}" for name in (ours, "NLSA-r4", "NLA") if name in cells]
        if parts:
            found.append(
                f"{dataset} x{scale}, PSNR over a convolution in the same slots: {', '.join(parts)} dB. "
                f"{_verdicts(cells.values())}"
            )
    return found or ["Nothing was measured."]


def _k_sweep(table: pd.DataFrame) -> list[str]:
    best = published.figure("k_sweep", "best", "k").value
    found = []
    for scale, dataset, part in _places(_measured(table, "psnr")):
        values = {c["row"]: float(c["measured"]) for _, c in part.iterrows()}
        top = max(values, key=lambda row: values[row])
        spread = max(values.values()) - min(values.values())
        found.append(
            f"{dataset} x{scale}: the highest mean PSNR is at {top} (the paper: k = {best:g}); from the lowest to "
            f"the highest are {text(spread, 2)} dB."
        )
        differences = _measured(table, "psnr_difference")
        differences = differences[(differences["scale"] == scale) & (differences["dataset"] == dataset)]
        if len(differences):
            words = _verdicts(cell for _, cell in differences.iterrows())
            found.append(f"{dataset} x{scale}, difference to k = {best:g}: {words}")
    noise = {
        c["row"]: number(c["measured"]) for _, c in table[table["quantity"] == "relative_deviation_cos_0"].iterrows()
    }
    known = [
        f"{value:,.2g} at {row}" if value < 99.5 else f"{value:,.0f} at {row}" for row, value in noise.items() if value
    ]
    if known:
        found.append(
            f"A single estimate of exp(Q·K) has a relative deviation, at cos = 0, of {', '.join(known)}. Above 1 the "
            "random features no longer approximate the softmax: at such k, ENLCA is an operator of its own."
        )
    return found or ["Nothing was measured."]


def _verdicts(cells: Iterable[Any]) -> str:
    """The rows by their verdicts: `better: k = 4; inconclusive: k = 1, k = 2.`"""
    groups: dict[str, list[str]] = {}
    for cell in cells:
        groups.setdefault(cell["verdict"], []).append(cell["row"])
    words = "; ".join(f"{word}: {', '.join(rows)}" for word, rows in sorted(groups.items()))
    return f"{words[0].upper()}{words[1:]}."


def _places(table: pd.DataFrame) -> Iterator[tuple[int, str, pd.DataFrame]]:
    """(scale, data set, its cells) in the table's order."""
    for scale, dataset in dict.fromkeys(zip(table["scale"], table["dataset"], strict=True)):
        yield int(scale), str(dataset), table[(table["scale"] == scale) & (table["dataset"] == dataset)]


def _measured(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    part = table[table["quantity"] == quantity]
    return part[[number(value) is not None for value in part["measured"]]]


def _figure(cell: Any) -> str:
    interval = span(cell["low"], cell["high"], 2, True)
    return text(number(cell["measured"]), 2, True) + (f" {interval}" if interval else "")


def _ratio(cost: dict[Any, float | None], first: str, second: str, quantity: str) -> float | None:
    one, two = cost.get((first, quantity)), cost.get((second, quantity))
    return None if one is None or not two else one / two
