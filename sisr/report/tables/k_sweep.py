"""The k-sweep (the paper's Figure 6): PSNR over the amplification factor, and the noise that comes with it."""

from collections.abc import Iterator
from math import expm1, inf, sqrt
from typing import Any

import pandas as pd

from sisr.config.declared import paper
from sisr.report.tables.view import Column, Section, Text, View, difference_text, marks, measured_text, rule
from sisr.results import published
from sisr.results.cells import Cell, difference, frame, level, measured_value, origin
from sisr.results.runs import Run, Setting, by_row, datasets, group
from sisr.utils.errors import SisrError

COSINES = (0.0, 0.5, 1.0)
"""Cosines of query and key at which the noise of the estimate is given."""


def relative_deviation(k: float, m: int, cosine: float) -> float:
    """Relative standard deviation of φ(Q)·φ(K), the estimate of exp(Q·K), with |Q|² = |K|² = k and Q·K = k·cosine.

    From the paper's Var[φ(Q)·φ(K)] = (1/m)·exp(2 Q·K)·(exp(|Q+K|²) − 1), divided by exp(Q·K)²; |Q+K|² = 2k(1 + cosine).
    That is for m independent projections; orthogonal ones are somewhat better.
    """
    try:
        return sqrt(expm1(2 * k * (1 + cosine)) / m)
    except OverflowError:
        return inf


def amplification(setting: Setting) -> float:
    """The k of a setting."""
    return float(setting.first.options.get("k", 6))


def row(setting: Setting) -> str | None:
    """`k = 6` for a network with ENLCA, None for anything else."""
    return f"k = {amplification(setting):g}" if setting.first.attention == paper()["MECHANISM"] else None


def build(runs: list[Run], preset: str) -> pd.DataFrame:
    """All cells of the sweep. Raises SisrError where there are not two values of k at a scale."""
    settings = by_row(group(runs), row)
    scales = sorted({scale for _, scale in settings})
    if not scales or all(sum(at == scale for _, at in settings) < 2 for scale in scales):
        raise SisrError(
            "the k-sweep needs runs of enlca with at least two values of k at one scale; add them to --runs."
        )
    cells: list[Cell] = []
    for scale in scales:
        swept = sorted((s for (_, at), s in settings.items() if at == scale), key=amplification)
        if len(swept) > 1:
            cells += _scale(scale, swept, preset)
    return frame(cells)


def _scale(scale: int, swept: list[Setting], preset: str) -> Iterator[Cell]:
    best = published.figure("k_sweep", "best", "k").value
    reference = next((setting for setting in swept if amplification(setting) == best), None)
    unknown = {"published_status": "unknown", "published_note": published.figure("k_sweep", "curve", "psnr").note}
    for setting in swept:
        k, m = amplification(setting), int(setting.first.options.get("m", 128))
        known: dict[str, Any] = {"table": "k_sweep", "row": f"k = {k:g}", "kind": "network", "scale": scale}
        for dataset in datasets([setting]):
            cell = {**known, "dataset": dataset, "quantity": "psnr", "unit": "dB", **unknown}
            yield level(cell, setting, preset)
            if reference is not None and reference is not setting and dataset in reference.datasets:
                cell["quantity"] = "psnr_difference"
                yield difference(cell, setting, (f"k = {best:g}", reference), swept, preset)
        for cosine in COSINES:
            yield Cell(
                **{**known, "kind": "theory"},
                quantity=f"relative_deviation_cos_{cosine:g}",
                unit="",
                measured=relative_deviation(k, m, cosine),
                note=f"from Var[φ(Q)·φ(K)] with m = {m}, not measured",
                runs=origin(setting, preset)["runs"],
                preset=preset,
            )


def view(table: pd.DataFrame) -> View:
    """The sweep for readers."""
    sets = [name for name in dict.fromkeys(table["dataset"]) if name]
    best = published.figure("k_sweep", "best", "k").value or 0
    with_gain = (table["quantity"] == "psnr_difference").any()
    headings = ["PSNR, dB", f"difference to k = {best:g}, dB"][: 1 + with_gain]
    columns = [Column(heading, dataset) for dataset in sets for heading in headings]
    columns += [Column(f"cos = {cosine:g}", "relative deviation of the estimate") for cosine in COSINES]
    sections = []
    for scale in sorted(set(table["scale"])):
        part = table[table["scale"] == scale]
        names = list(dict.fromkeys(part["row"]))
        cells = {(c["row"], c["dataset"], c["quantity"]): c for _, c in part.iterrows()}
        values = {name: [measured_value(cells.get((row, name, "psnr"))) for row in names] for name in sets}
        ranks = {dataset: marks(values[dataset], 2) for dataset in sets}
        rows = []
        for index, name in enumerate(names):
            texts = []
            for dataset in sets:
                texts.append(measured_text(cells.get((name, dataset, "psnr")), 2, mark=ranks[dataset][index]))
                if with_gain:
                    texts.append(difference_text(cells.get((name, dataset, "psnr_difference"))))
            theory = [measured_value(cells.get((name, "", f"relative_deviation_cos_{at:g}"))) or 0.0 for at in COSINES]
            rows.append((name, texts + [Text(f"{value:.3g}") for value in theory]))
        sections.append(Section(f"x{int(scale)}", rows))
    notes = [
        f"The paper says that PSNR peaks at k = {best:g} (Figure 6); its curve, its values of k and its data set "
        "are not known to this suite.",
        rule(table),
        "Relative deviation: standard deviation of φ(Q)·φ(K) over exp(Q·K), from the paper's variance, with "
        "|Q|² = |K|² = k and Q·K = k·cos. Above 1 a single estimate is mostly noise.",
    ]
    return View.of(table, "k_sweep", "The k-sweep: PSNR over the amplification factor", columns, sections, notes)
