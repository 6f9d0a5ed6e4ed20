"""The maps themselves: which position, which network and slot, and the weights on all others."""

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
"""LR pixels around a position that count as near it."""


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
        """Enlargement factor."""
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
    """Amplification factor, None where query and key are not normalised."""
    estimate: bool = False
    """Whether these are the weights that the random features really give, and not those of exact softmax."""
    changed: bool = False
    """Whether query and key were brought to `k`, whatever k the network was trained with."""

    @property
    def near(self) -> float:
        """Share of the weight within `RADIUS` LR pixels."""
        return float(self.weights[self._circle].sum(dtype=np.float64))

    @property
    def near_if_even(self) -> float:
        """What `near` would be if all positions had the same weight."""
        return float(self._circle.mean())

    @property
    def effective(self) -> float:
        """How many positions carry the weight: exp of its entropy, 1 to H·W."""
        weights = self.weights[self.weights > 0].astype(np.float64)
        return float(np.exp(-(weights * np.log(weights)).sum()))

    @property
    def _circle(self) -> NDArray[np.bool_]:
        rows, columns = np.ogrid[: self.weights.shape[0], : self.weights.shape[1]]
        circle: NDArray[np.bool_] = (rows - self.position[0]) ** 2 + (columns - self.position[1]) ** 2 <= RADIUS**2
        return circle


def open_sources(words: Sequence[str], scale: int | None = None, skip: bool = False) -> tuple[list[Source], list[str]]:
    """Networks as the command line names them: run folders and weights files, each perhaps as LABEL=PATH.

    Args:
        words: their names.
        scale: what all of them must enlarge by; None: as the first.
        skip: leave out those whose mechanism tells no map, as long as one is left.

    Returns:
        The networks, and for each that was left out a sentence why.

    Raises:
        SisrError: one is not there or cannot be read, has no attention, or none that tells a map.
        UsageError: one enlarges by another factor.
    """
    found: list[tuple[str | None, Path, Any, Run | None]] = []
    skipped = []
    for word in words:
        label, what = sources.labelled(word)
        weights = weights_of(Path(what))
        if weights is None:
            raise SisrError(f"{what} is neither a weights file nor a run folder with weights.safetensors.")
        model = load(weights, scale)
        scale = scale or int(model.scale)
        if int(model.scale) != scale:
            raise UsageError(f"{what} enlarges x{int(model.scale)}, not x{scale}; draw networks of one scale.")
        reason = _why_not(model)
        if reason and (not skip or (not found and word == words[-1])):
            raise SisrError(f"{what} cannot be drawn: {reason}.")
        if reason:
            skipped.append(f"Left out: {what} ({reason}).")
        else:
            found.append((label, Path(what), model, sources.run_of(weights)))
    runs = [run for *_, run in found]
    labels = [label or sources.attention_label(model.config, run) for label, _, model, run in found]
    return [
        Source(label, path, model, run)
        for label, (_, path, model, run) in zip(sources.unique(labels, runs), found, strict=True)
    ], skipped


def _why_not(model: Any) -> str:
    """Why a network has no map; blank where it has."""
    modules = list(slots(model).values())
    if not modules:
        return f"{model.config['name']} has no attention in this network; name one that has"
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
        source: the network; it runs where its weights are.
        picture: the image; the network gets its LR.
        position: row and column in LR.
        wanted: slots by their numbers, or `first`, `last`, `all`; the last if there are none.
        k: amplification factor that query and key are brought to, as trained if None.
        estimate: weights that the random features give, instead of those of exact softmax.

    Raises:
        SisrError: there is no such slot, or the mechanism cannot tell its weights.
    """
    known = slots(source.model)
    ends = {"first": list(known)[:1], "last": list(known)[-1:], "all": list(known)}
    names = [name for word in wanted or ["last"] for name in ends.get(word, [word])]
    for name in names:
        if name not in known:
            raise UsageError(f"{source.path} has no attention in slot {name}; it has {', '.join(known)}.")
    chosen = {name: module for name, module in known.items() if name in names}
    device = next(source.model.parameters()).device
    inputs = slot_inputs(source.model, chosen, to_tensor(picture.lr).to(device))
    found = []
    for slot, x in inputs.items():
        module: Any = chosen[slot]
        with torch.inference_mode():
            try:
                weights = _weights(module, x, position, k, estimate)
            except ValueError as error:
                raise SisrError(f"{source.path} cannot be drawn: {error}.") from error
        array = weights[0].float().cpu().numpy()
        amplification = k or getattr(module, "k", None)
        found.append(Map(source, slot, array, position, amplification, estimate, k is not None))
    return found


def _weights(module: Any, x: Tensor, position: tuple[int, int], k: float | None, estimate: bool) -> Tensor:
    """(1, H, W)"""
    if k is None and not estimate:
        return _maps.attention_map(module, x, position)
    size = (x.shape[2], x.shape[3])
    place = position[0] * size[1] + position[1]
    own = getattr(module, "k", None)
    if own is None:
        raise ValueError("its query and key are not normalised, so there is no amplification factor to change")
    query, key, _ = module.embed(x)
    factor = 1.0 if k is None else (k / own) ** 0.5
    query, key = query * factor, key * factor
    if not estimate:
        return module.weights_of(query, key, size, [place]).unflatten(2, size)[:, 0]
    if not hasattr(module, "projection"):
        raise ValueError("it has no random features, so its weights are no estimate")
    return landmarks(query[0, place : place + 1], key[0], module.projection, module.epsilon).weights().view(1, *size)
