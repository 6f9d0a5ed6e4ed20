"""Query, key and value of a trained network's attention modules, captured during inference."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.slots import slot_inputs, slots
from sisr.config.declared import paper
from sisr.config.layout import Results
from sisr.data.pairs import Pairs
from sisr.evaluation.inference import to_tensor
from sisr.results.runs import Run, read_settings
from sisr.utils.errors import SisrError, UsageError

LARGEST = 192
"""Side in LR pixels of the central crop of larger images, to limit the memory."""


@dataclass(frozen=True)
class Captured:
    """Input of one attention module for one image."""

    run: Run
    image: str
    slot: str
    query: Tensor
    key: Tensor
    """(N, C)"""
    value: Tensor
    """(N, Cv)"""
    k: float | None
    """Squared length of each query and key; None if they are not normalised."""
    projection: Tensor | None
    """(m, C); None for exact attention."""
    epsilon: float
    a: float
    """A of optimal random features; 0 for positive ones."""


def find_runs(results: Path, ids: Sequence[str], scale: int) -> list[Run]:
    """The runs with query, key and value, with their configuration.

    Raises SisrError if one is missing, UsageError if none has a supported attention.
    """
    runs = []
    for name in dict.fromkeys(ids):
        folder = Results(results).run(name)
        run = Run(name, *read_settings(folder), Results(results).evaluation(name))
        if run.scale != scale:
            raise UsageError(f"{name} upscales x{run.scale}, not x{scale}; remove it or set --scale.")
        if run.attention in paper()["EXPONENTIAL"]:
            runs.append(run)
    if not runs:
        raise UsageError(f"none of --runs has the attention {', '.join(paper()['EXPONENTIAL'])}; add one.")
    return runs


def capture(run: Run, weights: Path, pairs: Pairs) -> Iterator[Captured]:
    """All images, one after the other; all attention modules of the network in order of their slots."""
    import models

    try:
        model = models.load(weights)
    except ValueError as error:
        raise SisrError(f"{error}.") from error
    modules: dict[str, Any] = {slot: module for slot, module in slots(model).items() if hasattr(module, "embed")}
    for index, image in enumerate(pairs.names):
        lr = to_tensor(pairs.lr(index))
        for slot, x in slot_inputs(model, modules, _middle(lr)).items():
            module = modules[slot]
            with torch.inference_mode():
                query, key, value = module.embed(x)
            yield Captured(
                run, image, slot, query[0], key[0], value[0], module.k,
                getattr(module, "projection", None), float(getattr(module, "epsilon", 0.0)),
                float(getattr(module, "a", 0.0)),
            )  # fmt: skip


def _middle(lr: Tensor) -> Tensor:
    height, width = lr.shape[2:]
    top, left = (max(0, side - LARGEST) // 2 for side in (height, width))
    return lr[..., top : top + LARGEST, left : left + LARGEST]
