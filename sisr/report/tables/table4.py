"""Table 4, efficiency: what one mechanism costs, and the PSNR of a network that has it in its slots."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.config.mechanisms import Mechanism
from sisr.report.tables.view import Column, Section, Text, View, banner, caveats, difference_text, marks, rule
from sisr.results import published
from sisr.results.cells import Cell, difference, frame, level, number, paper, span, text
from sisr.results.labels import cost_label
from sisr.results.runs import Run, Setting, by_row, datasets, group
from sisr.utils.errors import SisrError

COLUMNS = (
    "spec", "kind", "channels", "height", "width", "parameters", "fvcore_gmacs", "core_gmacs", "paper_gflops",
    "paper_convention", "uncounted", "seconds_median", "seconds_low", "seconds_high", "peak_memory_bytes", "device",
    "threads", "torch",
)  # fmt: skip
"""Columns that this table reads of `python -m sisr complexity --output`."""


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
    if not file.is_file():
        raise SisrError(f"there are no measurements of complexity at {file}; run python -m sisr complexity first.")
    table = pd.read_csv(file, dtype={"spec": str, "paper_convention": str, "uncounted": str})
    if missing := set(COLUMNS) - set(table.columns):
        raise SisrError(f"{file} lacks the column {min(missing)}; make it again with python -m sisr complexity.")
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
    ("fvcore_gmacs", "GMAC", "fvcore_gmacs"),
    ("uncounted", "", "uncounted"),
    ("parameters", "", "parameters"),
    ("seconds", "s", "seconds_median"),
    ("peak_memory", "byte", "peak_memory_bytes"),
)


def _cells(
    name: str, cost: dict[str, Any] | None, settings: dict[tuple[str, int], Setting], preset: str
) -> Iterator[Cell]:
    for quantity, unit, column in _COSTS:
        known: dict[str, Any] = {
            "table": "table4",
            "row": name,
            "kind": "mechanism",
            "quantity": quantity,
            "unit": unit,
        }
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
                yield Cell(**known, note=f"no run with {name} was evaluated on {dataset} at x{scale}")
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
    where: dict[str, Any] = {
        "hardware": f"{cost['device']} ({cost['threads']} threads)",
        "torch": str(cost["torch"]),
        "preset": preset,
    }
    if column == "uncounted":
        listed = json.loads(str(value))
        return Cell(
            **known,
            **where,
            measured=", ".join(f"{op.removeprefix('aten::')} {count}" for op, count in listed.items()),
            note=shape,
        )
    if column == "seconds_median":
        where |= {"interval": "quartiles"}
        return Cell(
            **known, **where, measured=float(value), low=cost["seconds_low"], high=cost["seconds_high"], note=shape
        )
    note = str(cost["paper_convention"]) if column == "paper_gflops" else ""
    return Cell(**known, **where, measured=float(value), note="; ".join(part for part in (note, shape) if part))


def view(table: pd.DataFrame) -> View:
    """Table 4 for readers."""
    networks = table[table["kind"] == "network"]
    places = list(dict.fromkeys(zip(networks["scale"], networks["dataset"], strict=True)))
    columns = [
        Column("GFLOPs", "paper"),
        Column("GFLOPs, same convention", "counted"),
        Column("GMAC of the core by fvcore", "counted"),
        Column("GMAC of the module by fvcore", "counted"),
        Column("time, ms", "measured"),
        Column("peak memory, MB", "measured"),
        Column("parameters", "measured"),
        *(
            Column(label_, f"{dataset} x{int(scale)}")
            for scale, dataset in places
            for label_ in ("PSNR, dB", "difference to convolution, dB")
        ),
        Column("operators (times)", "not counted"),
    ]
    names = list(dict.fromkeys(table["row"]))
    costs = {(c["row"], c["quantity"]): c for _, c in table[table["kind"] == "mechanism"].iterrows()}
    psnr = {(c["row"], c["scale"], c["dataset"], c["quantity"]): c for _, c in networks.iterrows()}
    ranks = {place: marks([number(psnr[name, *place, "psnr"]["measured"]) for name in names], 2) for place in places}
    rows = []
    for index, name in enumerate(names):
        texts = [
            _published(costs[name, "gflops"]),
            Text(text(number(costs[name, "gflops"]["measured"]), 2)),
            Text(text(number(costs[name, "core_gmacs"]["measured"]), 3)),
            Text(text(number(costs[name, "fvcore_gmacs"]["measured"]), 3)),
            _scaled(costs[name, "seconds"], 1e3, 2),
            _scaled(costs[name, "peak_memory"], 1e-6, 1),
            Text(_count(costs[name, "parameters"])),
        ]
        for place in places:
            cell = psnr[name, *place, "psnr"]
            value = text(number(cell["measured"]), 2)
            texts.append(Text(value, span(cell["low"], cell["high"], 2), ranks[place][index]))
            texts.append(
                difference_text(psnr.get((name, *place, "psnr_difference")), name == "convolution" and value != "")
            )
        texts.append(Text("", str(costs[name, "uncounted"]["measured"] or "")))
        rows.append((name, texts))
    said, same = banner(table)
    return View(
        "table4", "Table 4: cost and PSNR of the mechanisms", said, same, columns, [Section("", rows)], _notes(table)
    )


def _notes(table: pd.DataFrame) -> list[str]:
    timed = table[(table["quantity"] == "seconds") & (table["measured"] != "")]
    where = "; ".join(dict.fromkeys(f"{c['hardware']}, torch {c['torch']}, {c['note']}" for _, c in timed.iterrows()))
    notes = [
        "GFLOPs by the paper's convention: two operations a multiply-add, the attention core only "
        "(embeddings not counted), a 100x100 feature map with 64 channels for queries and keys and 64 for values.",
        "† derived by us from that convention, which gives the 0.66 the paper does print; not the paper's own figure. "
        "NLSA's GFLOPs are our own count and stand under “counted” only.",
        "fvcore counts multiply-adds once (1 GMAC is 2 GFLOP); “core” is the mechanism's attend(), "
        "“module” has its embeddings too. "
        "exp, softmax, sort and their like are no multiply-adds and are listed in the complexity file by operator.",
        "Time is the median of one forward of the module, [first, third quartile], all rows in one process: "
        f"{where or 'not measured'}.",
        rule(table),
        "The paper's PSNR in this table is not known to this suite; it says that ENLCA-m128 is above NLA and NLSA.",
    ]
    return notes + caveats(table)


def _published(cell: Any) -> Text:
    value = cell["published"]
    if value is None or value != value:
        return Text("", "not known" if cell["published_status"] == "unknown" else "")
    return Text(text(float(value), 2) + ("†" if cell["published_status"] == "derived" else ""))


def _scaled(cell: Any, factor: float, digits: int) -> Text:
    value = number(cell["measured"])
    if value is None:
        return Text()
    low, high = (None if end is None or end != end else float(end) * factor for end in (cell["low"], cell["high"]))
    return Text(text(value * factor, digits), span(low, high, digits))


def _count(cell: Any) -> str:
    value = number(cell["measured"])
    return "" if value is None else f"{int(value):,}"
