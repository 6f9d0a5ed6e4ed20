"""Table 4, efficiency: what one mechanism costs, and the PSNR of a network that has it in its slots."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.config.mechanisms import Mechanism
from sisr.report.tables.view import (
    Column,
    Section,
    Text,
    View,
    difference_text,
    lower_bounds,
    marks,
    measured_text,
    rule,
)
from sisr.results import published
from sisr.results.cells import Cell, difference, frame, level, measured_value, number, paper, read_columns, text
from sisr.results.labels import cost_label
from sisr.results.runs import NOT_EVALUATED, Run, Setting, by_row, datasets, group
from sisr.utils.errors import SisrError

COLUMNS = (
    "spec", "kind", "channels", "height", "width", "parameters", "fvcore_gmacs", "core_gmacs", "paper_gflops",
    "paper_convention", "uncounted", "seconds_median", "seconds_low", "seconds_high", "peak_memory_bytes", "device",
    "threads", "torch",
)  # fmt: skip
"""Columns that this table reads of `python -m sisr complexity --output`."""
_ADDED = {"at_least": "", "core_at_least": ""}


def row(setting: Setting) -> str | None:
    """Label of the mechanism in a network's slots; None for a control and for the plain backbone."""
    run = setting.first
    return None if run.attention is None else cost_label(run.attention, run.options)


def build(runs: list[Run], preset: str, complexity: Path) -> pd.DataFrame:
    """All cells of Table 4. Raises SisrError where the measurements of complexity are missing."""
    costs = read_complexity(complexity)
    settings = by_row(group(runs), row)
    known = list(dict.fromkeys(published.rows("table4")["row"]))
    names = [*known, *(n for n in dict.fromkeys([*costs, *(name for name, _ in settings)]) if n not in known)]
    return frame(cell for name in names for cell in _cells(name, costs.get(name), settings, preset))


def read_complexity(file: Path) -> dict[str, dict[str, Any]]:
    """Rows of a complexity file by the label of their mechanism; networks are left out."""
    texts = {"spec": str, "paper_convention": str, "uncounted": str, **dict.fromkeys(_ADDED, str)}
    absent = "are no measurements of complexity"
    table = read_columns(file, COLUMNS, "python -m sisr complexity", absent, _ADDED, dtype=texts)
    if "gmacs" not in table.columns:  # a file of an older version, which had fvcore's count alone
        table["gmacs"] = table["fvcore_gmacs"]
    rows: dict[str, dict[str, Any]] = {}
    for record in table[table["kind"] == "mechanism"].to_dict("records"):
        mechanism = Mechanism.parse(str(record["spec"]))
        name = cost_label(mechanism.name, dict(mechanism.options))
        if name in rows:
            raise SisrError(f"{file} holds two rows for {name}; measure each mechanism once.")
        rows[name] = {str(key): value for key, value in record.items()}
    return rows


_COSTS = (
    # quantity, unit, column
    ("gflops", "GFLOP", "paper_gflops"),
    ("core_gmacs", "GMAC", "core_gmacs"),
    ("fvcore_gmacs", "GMAC", "gmacs"),  # the name in the committed tables
    ("uncounted", "", "uncounted"),
    ("parameters", "", "parameters"),
    ("seconds", "s", "seconds_median"),
    ("peak_memory", "byte", "peak_memory_bytes"),
)
_COUNTS = {"core_gmacs": "core_at_least", "gmacs": "at_least"}


def _cells(
    name: str, cost: dict[str, Any] | None, settings: dict[tuple[str, int], Setting], preset: str
) -> Iterator[Cell]:
    for quantity, unit, column in _COSTS:
        known: dict[str, Any] = {
            "table": "table4", "row": name, "kind": "mechanism", "quantity": quantity, "unit": unit,
        }  # fmt: skip
        if quantity == "gflops":
            known |= paper(published.figure("table4", name, "gflops"))
        yield _cost(known, cost, column, preset)
    for scale in sorted({scale for _, scale in settings}):
        yardstick = settings.get(("convolution", scale))
        for dataset in datasets(setting for (_, at), setting in settings.items() if at == scale):
            setting = settings.get((name, scale))
            known = {
                "table": "table4", "row": name, "kind": "network", "scale": scale, "dataset": dataset,
                "quantity": "psnr", "unit": "dB", **paper(published.figure("table4", name, "psnr")),
            }  # fmt: skip
            if setting is None or dataset not in setting.datasets:
                absent = f"no run with {name} was evaluated on {dataset} at x{scale}"
                yield Cell(**known, note=(setting and setting.why_not(dataset)) or absent)
            else:
                yield level(known, setting, preset)
                if yardstick is not None and setting is not yardstick and dataset in yardstick.datasets:
                    known |= {"quantity": "psnr_difference", "published_note": "the paper compares no such difference"}
                    yield difference(known, setting, ("convolution", yardstick), settings.values(), preset)


def _cost(known: dict[str, Any], cost: dict[str, Any] | None, column: str, preset: str) -> Cell:
    if cost is None:
        return Cell(**known, note="its complexity was not measured")
    value = cost[column]
    if value is None or value != value:
        return Cell(**known, note=str(cost["paper_convention"]) if column == "paper_gflops" else "not measured")
    shape = f"one {cost['height']}x{cost['width']} feature map of {cost['channels']} channels"
    hardware = f"{cost['device']} ({cost['threads']} threads)"
    where: dict[str, Any] = {"hardware": hardware, "torch": str(cost["torch"]), "preset": preset}
    if column == "uncounted":
        listed = json.loads(str(value)).items()
        operators = ", ".join(f"{op.removeprefix('aten::')} {count}" for op, count in listed)
        return Cell(**known, **where, measured=operators, note=shape)
    if column == "seconds_median":
        where |= {"interval": "quartiles", "low": cost["seconds_low"], "high": cost["seconds_high"]}
    if column in _COUNTS:
        where["at_least"] = str(cost[_COUNTS[column]])
    convention = f"{cost['paper_convention']}; " if column == "paper_gflops" and cost["paper_convention"] else ""
    return Cell(**known, **where, measured=float(value), note=convention + shape)


_VIEWED = (
    # group of columns, heading, quantity, factor, decimals
    ("counted", "GFLOPs, same convention", "gflops", 1.0, 2),
    ("counted", "GMAC of the core", "core_gmacs", 1.0, 3),
    ("counted", "GMAC of the module", "fvcore_gmacs", 1.0, 3),
    ("measured", "time, ms", "seconds", 1e3, 2),
    ("measured", "peak memory, MB", "peak_memory", 1e-6, 1),
    ("measured", "parameters", "parameters", 1.0, 0),
)


def view(table: pd.DataFrame) -> View:
    """Table 4 for readers."""
    networks = table[table["kind"] == "network"]
    places = list(dict.fromkeys(zip(networks["scale"], networks["dataset"], strict=True)))
    columns = [
        Column("GFLOPs", "paper"),
        *(Column(heading, group) for group, heading, *_ in _VIEWED),
        *(
            Column(label_, f"{dataset} x{int(scale)}")
            for scale, dataset in places
            for label_ in ("PSNR, dB", "difference to convolution, dB")
        ),
        Column("operators (times)", "not counted by fvcore"),
    ]
    names = list(dict.fromkeys(table["row"]))
    costs = {(c["row"], c["quantity"]): c for _, c in table[table["kind"] == "mechanism"].iterrows()}
    psnr = {(c["row"], c["scale"], c["dataset"], c["quantity"]): c for _, c in networks.iterrows()}
    ranks = {place: marks([number(psnr[name, *place, "psnr"]["measured"]) for name in names], 2) for place in places}
    rows = []
    for index, name in enumerate(names):
        texts = [
            _published(costs[name, "gflops"]),
            *(measured_text(costs[name, quantity], digits, factor) for _, _, quantity, factor, digits in _VIEWED),
        ]
        for place in places:
            level_text = measured_text(psnr[name, *place, "psnr"], 2, mark=ranks[place][index])
            baseline = name == "convolution" and level_text.main != ""
            texts += [level_text, difference_text(psnr.get((name, *place, "psnr_difference")), baseline)]
        uncounted = costs[name, "uncounted"]["measured"]
        texts.append(Text("", uncounted if isinstance(uncounted, str) else ""))
        rows.append((name, texts))
    title = "Table 4: cost and PSNR of the mechanisms"
    return View.of(table, "table4", title, columns, [Section("", rows)], _notes(table))


def _notes(table: pd.DataFrame) -> list[str]:
    timed = [c for _, c in table[table["quantity"] == "seconds"].iterrows() if measured_value(c) is not None]
    where = "; ".join(dict.fromkeys(f"{c['hardware']}, torch {c['torch']}, {c['note']}" for c in timed))
    return [
        "GFLOPs by the paper's convention: two operations a multiply-add, the attention core only "
        "(embeddings not counted), a 100x100 feature map with 64 channels for queries and keys and 64 for values.",
        "† derived by us from that convention, which gives the 0.66 the paper does print; not the paper's own figure. "
        "NLSA's GFLOPs are our own count and stand under “counted” only.",
        "A multiply-add is counted once (1 GMAC is 2 GFLOP), by fvcore; where more matrix products are executed than "
        "it counts, these are taken. “core” is the mechanism's attend(), “module” has its embeddings too. "
        "exp, softmax, sort and their like are no multiply-adds and are listed in the complexity file by operator.",
        *lower_bounds(table),
        "Time is the median of one forward of the module, [first, third quartile], all rows in one process: "
        f"{where or 'not measured'}.",
        rule(table),
        *(
            f"{cell['row']}, {cell['dataset']} x{int(cell['scale'])}: {cell['note']}."
            for _, cell in table[table["note"].str.startswith(NOT_EVALUATED)].iterrows()
        ),
        "The paper's PSNR in this table is not known to this suite; it says that ENLCA-m128 is above NLA and NLSA.",
    ]


def _published(cell: Any) -> Text:
    value = cell["published"]
    if value is None or value != value:
        return Text("", "not known" if cell["published_status"] == "unknown" else "")
    return Text(text(float(value), 2) + ("†" if cell["published_status"] == "derived" else ""))
