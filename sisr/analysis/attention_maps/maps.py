"""Attention maps: position, network, slot, and the weights on all positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.attention import _maps
from models.slots import slot_inputs, slots
from sisr.analysis.attention_maps.picture import Picture
from sisr.analysis.landmarks import landmarks
from sisr.evaluation.inference import to_tensor
from sisr.evaluation.upscalers import load, weights_of
from sisr.results import labels as sources
from sisr.results.runs import Run
from sisr.utils.errors import SisrError, UsageError

RADIUS = 8
"""Radius of the neighbourhood of a position in LR pixels."""


@dataclass(frozen=True)
class Source:
    """A network whose attention is drawn."""

    label: str
    path: Path
    model: nn.Module
    run: Run | None
    """None for weights that were not trained here."""

    @property
    def config(self) -> dict[str, Any]:
        """Of the network."""
        config: dict[str, Any] = self.model.config  # type: ignore[assignment]
        return config

    @property
    def scale(self) -> int:
        return int(self.model.scale)  # type: ignore[arg-type]

    @property
    def contrastive(self) -> bool:
        """Whether it was trained with the contrastive loss."""
        return sources.contrastive(self.config, self.run)

    @property
    def random_features(self) -> bool:
        """Whether its attention is an estimate by random features."""
        return any(hasattr(module, "projection") for module in slots(self.model).values())


@dataclass(frozen=True)
class Map:
    """Weights of one position on all positions of an LR image."""

    source: Source
    slot: str
    weights: NDArray[np.float32]
    """(H, W), sums to 1"""
    position: tuple[int, int]
    """row and column in LR"""
    k: float | None
    """Amplification factor, None if query and key are not normalised."""
    estimate: bool = False
    """Whether these are the weights of the random features instead of exact softmax."""
    changed: bool = False
    """Whether query and key were rescaled to `k` after training."""

    @property
    def near(self) -> float:
        """Share of the weight within `RADIUS` LR pixels."""
        return float(self.weights[self._circle].sum(dtype=np.float64))

    @property
    def near_if_even(self) -> float:
        """`near` for uniform weights."""
        return float(self._circle.mean())

    @property
    def effective(self) -> float:
        """Effective number of positions: exp of the entropy, 1 to H·W."""
        weights = self.weights[self.weights > 0].astype(np.float64)
        return float(np.exp(-(weights * np.log(weights)).sum()))

    @property
    def _circle(self) -> NDArray[np.bool_]:
        rows, columns = np.ogrid[: self.weights.shape[0], : self.weights.shape[1]]
        circle: NDArray[np.bool_] = (rows - self.position[0]) ** 2 + (columns - self.position[1]) ** 2 <= RADIUS**2
        return circle


def open_sources(words: Sequence[str], scale: int | None = None, skip: bool = False) -> tuple[list[Source], list[str]]:
    """Networks of the command line: run folders and weights files, optionally as LABEL=PATH.

    Args:
        words: their names.
        scale: required upscaling factor of all networks; None: that of the first.
        skip: omit networks whose mechanism provides no attention map, if at least one remains.

    Returns:
        The networks, and a sentence for each omitted network.

    Raises:
        SisrError: a network does not exist, cannot be read, or has no attention map.
        UsageError: a network has another upscaling factor.
    """
    opened: list[tuple[str | None, Path, Any, Run | None]] = []
    skipped = []
    for word in words:
        label, what = sources.labelled(word)
        weights = weights_of(Path(what))
        if weights is None:
            raise SisrError(f"{what} is neither a weights file nor a run folder with weights.safetensors.")
        model = load(weights, scale)
        scale = scale or int(model.scale)
        if int(model.scale) != scale:
            raise UsageError(f"{what} upscales x{int(model.scale)}, not x{scale}; choose networks of one scale.")
        reason = _why_not(model)
        if reason and (not skip or (not opened and word == words[-1])):
            raise SisrError(f"{what} cannot be drawn: {reason}.")
        if reason:
            skipped.append(f"Skipped: {what} ({reason}).")
        else:
            opened.append((label, Path(what), model, sources.run_of(weights)))
    runs = [run for *_, run in opened]
    labels = [label or sources.attention_label(model.config, run) for label, _, model, run in opened]
    return [
        Source(label, path, model, run)
        for label, (_, path, model, run) in zip(sources.unique(labels, runs), opened, strict=True)
    ], skipped


def _why_not(model: Any) -> str:
    """Why a network has no map; empty if it has one."""
    modules = list(slots(model).values())
    if not modules:
        return f"{model.config['name']} has no attention in this network; choose another"
    return _maps.why_not(modules[-1])


def look(
    source: Source,
    picture: Picture,
    position: tuple[int, int],
    wanted: Sequence[str] = (),
    k: float | None = None,
    estimate: bool = False,
) -> list[Map]:
    """Maps of one network, one a slot.

    Args:
        source: the network; it runs on the device of its weights.
        picture: the image; its LR is the input.
        position: row and column in LR.
        wanted: slots by their numbers, or `first`, `last`, `all`; the last if there are none.
        k: amplification factor to which query and key are rescaled; None: as trained.
        estimate: weights of the random features instead of exact softmax.

    Raises:
        SisrError: the slot does not exist, or the mechanism provides no attention map.
    """
    modules = slots(source.model)
    ends = {"first": list(modules)[:1], "last": list(modules)[-1:], "all": list(modules)}
    names = [name for word in wanted or ["last"] for name in ends.get(word, [word])]
    for name in names:
        if name not in modules:
            raise UsageError(f"{source.path} has no attention in slot {name}; it has {', '.join(modules)}.")
    chosen = {name: module for name, module in modules.items() if name in names}
    device = next(source.model.parameters()).device
    inputs = slot_inputs(source.model, chosen, to_tensor(picture.lr).to(device))
    maps = []
    for slot, x in inputs.items():
        module: Any = chosen[slot]
        with torch.inference_mode():
            try:
                weights = _weights(module, x, position, k, estimate)
            except ValueError as error:
                raise SisrError(f"{source.path} cannot be drawn: {error}.") from error
        array = weights[0].float().cpu().numpy()
        amplification = k or getattr(module, "k", None)
        maps.append(Map(source, slot, array, position, amplification, estimate, k is not None))
    return maps


def _weights(module: Any, x: Tensor, position: tuple[int, int], k: float | None, estimate: bool) -> Tensor:
    """(1, H, W)"""
    if k is None and not estimate:
        return _maps.attention_map(module, x, position)
    size = (x.shape[2], x.shape[3])
    index = position[0] * size[1] + position[1]
    trained_k = getattr(module, "k", None)
    if trained_k is None:
        raise ValueError("its query and key are not normalised, so there is no amplification factor to change")
    query, key, _ = module.embed(x)
    factor = 1.0 if k is None else (k / trained_k) ** 0.5
    query, key = query * factor, key * factor
    if not estimate:
        return module.weights_of(query, key, size, [index]).unflatten(2, size)[:, 0]
    if not (hasattr(module, "projection") and hasattr(module, "epsilon")):
        raise ValueError("it has no random features of ENLA, so there is no estimate")
    steps = landmarks(query[0, index : index + 1], key[0], module.projection, module.epsilon, module.a)
    return steps.weights().view(1, *size)
