"""Cost of a comparison: labelled mechanisms at several sizes, and their networks."""

from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from models.attention._errors import CRASHES, sentence
from sisr.cost import measure
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write

COLUMNS = ("label", *measure.COLUMNS, *measure.TRAINING, "gflops", "gflops_convention", "gflops_at_least")
BY_SIZE = (
    "label", "height", "width", "forward_seconds", "forward_low", "forward_high", "training_seconds",
    "peak_memory_bytes", "gflops", "device", "training_low", "training_high", "training_memory_bytes", "threads",
    "torch", "gflops_at_least",
)  # fmt: skip
"""Columns of the file by size."""
_FORWARD = {"seconds_median": "forward_seconds", "seconds_low": "forward_low", "seconds_high": "forward_high"}


def rows(
    specs: Sequence[str],
    labels: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    channels: int,
    embedding: int,
    device: torch.device,
    seconds: float,
) -> Iterator[dict[str, Any]]:
    """Measure each mechanism at each size, smallest first, and each network at the largest: rows with `COLUMNS`.

    labels: one a spec. Invalid specs raise before the first measurement.
    """
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    subjects = [measure.build(spec, channels, ordered[0], embedding, device) for spec in specs]
    for label, subject in zip(labels, subjects, strict=True):
        for size in ordered if subject.kind == "mechanism" else ordered[-1:]:
            each = measure.build(subject.spec, channels, size, embedding, device)
            try:
                row = measure.measure_cost(each, seconds)
                training = measure.measure_training(each, seconds) if each.kind == "mechanism" else {}
            except CRASHES as error:
                raise SisrError(f"{label} cannot be measured at {size[0]}x{size[1]}: {sentence(error)}.") from error
            yield {"label": label, **row, **dict.fromkeys(measure.TRAINING), **training, **gflops(row)}


def gflops(row: dict[str, Any]) -> dict[str, Any]:
    """GFLOP of one row of `sisr.cost.measure`, by which convention, and what is not in it (then a lower bound).

    The paper's convention if it exists for this mechanism; else two operations a multiply-add, counted for the
    attention core as in the paper, and for the whole network.
    """
    paper = row["paper_gflops"]
    if paper is not None and not isnan(paper):
        return {"gflops": paper, "gflops_convention": row["paper_convention"], "gflops_at_least": ""}
    prefix, part = ("core_", "core") if row["kind"] == "mechanism" else ("", "whole network")
    how = "counted operator by operator" if row.get(f"{prefix}counter") == "operators" else "as counted by fvcore"
    return {
        "gflops": 2 * row[f"{prefix}gmacs"],
        "gflops_convention": f"two operations a multiply-add of the {part}, {how}",
        "gflops_at_least": row.get(f"{prefix}at_least", ""),
    }


def write(measured: Sequence[dict[str, Any]], output: Path | None, by_size: Path | None) -> None:
    """Write all rows, and the mechanisms' time and memory over size (`BY_SIZE`)."""
    if by_size:
        part = [row for row in measured if row["kind"] == "mechanism"]
        frame = pd.DataFrame(part, columns=list(COLUMNS)).rename(columns=_FORWARD)[list(BY_SIZE)]
        with atomic_write(by_size) as temporary:
            frame.to_csv(temporary, index=False)
    if output:
        with atomic_write(output) as temporary:
            pd.DataFrame(measured, columns=list(COLUMNS)).to_csv(temporary, index=False)
