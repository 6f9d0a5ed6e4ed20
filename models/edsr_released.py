"""Loading of checkpoints whose layout is that of the authors' code of EDSR: EDSR, NLSN and ENLCN.

The body is one list of residual blocks and attention modules that ends with a convolution. Width, depth, slots, scale,
number of features and size of the embeddings follow from the tensors. The other options are constants in the authors'
code: of ENLCN k = 6 and ranks 0–15 and 50–65, of NLSN four rounds and chunks of 144 pixels, of both a residual scale of
0.1. EDSR's residual scale is an option, which the file does not contain: its authors' command lines have 0.1 for 256
channels, and the default of 1 for 64.
EDSR's authors use RGB values from 0 to 255, those of NLSN and ENLCN from 0 to 1; the shift of colours shows which. The
factor of 255 becomes part of the first and of the last convolution.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.edsr import RGB_MEAN
from models.restore import restore
from models.trunk import scale_of

WIDE = 256  # channels from which EDSR's residual scale is 0.1
RENAMED = {
    "head.0": "head",
    "body.0": "first",
    "body.2": "second",
    "conv_match.0": "query",
    "conv_match1.0": "query",
    "conv_match2.0": "key",
    "conv_assembly.0": "value",
    "attn_fn.projection_matrix": "projection",
    "tail.0": "upsampler",
    "tail.1": "tail",
}
"""Names outside of the body and in its entries."""
_OLD = re.compile(rf"\A({'|'.join(map(re.escape, RENAMED))})(?=\.|\Z)")
_ENTRY = re.compile(r"body\.(\d+)\.((\w+).*)")
SHIFT = ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias")
_log = logging.getLogger("models")


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of an authors' checkpoint."""
    return {"head.0.weight", "tail.0.0.weight"} <= state.keys()


def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network in the authors' state dict, in eval mode. ValueError if a weight is missing, unknown or misshapen."""
    channels = state["head.0.weight"].shape[0]
    kinds = _kinds(state)
    options: dict[str, Any] = {"scale": scale_of(state, "tail.0."), "channels": channels, "blocks": kinds.count("edsr")}
    name = next((kind for kind in kinds if kind in ("nlsn", "enlcn")), "edsr")
    places, slots = _places(kinds)
    if name == "edsr":
        options["residual_scale"] = 0.1 if channels >= WIDE else 1.0
    else:
        options |= {"slots": slots, "attention_options": _attention(state, name, kinds.index(name), channels)}
    tensors = {_rename(key, places): tensor for key, tensor in state.items() if key not in SHIFT}
    value_range = _value_range(state)
    for key, factor in (("head.weight", value_range), ("tail.weight", 1 / value_range), ("tail.bias", 1 / value_range)):
        if value_range > 1 and key in tensors and tensors[key].is_floating_point():
            tensors[key] = tensors[key].float() * factor
    network = restore(tensors, name=name, **options)
    if name == "edsr":
        _log.warning(
            "the file does not contain EDSR's residual scale: using %g for its %d channels (its authors': 1 for 64, "
            "0.1 for 256).",
            options["residual_scale"],
            channels,
        )
    return network


def _kinds(state: Mapping[str, Tensor]) -> list[str]:
    """What each entry of the body is: a residual block ("edsr"), the attention of "nlsn" or "enlcn", or the "end"."""
    seen: dict[int, set[str]] = {}
    for key in state:
        if match := _ENTRY.match(key):
            seen.setdefault(int(match[1]), set()).add(match[3])
    if sorted(seen) != list(range(len(seen))):
        raise ValueError(f"the body of this checkpoint has gaps: it has entries {sorted(seen)}")
    kinds = {"conv_match": "nlsn", "conv_match1": "enlcn", "conv_match2": "enlcn", "body": "edsr"}
    return [next((kind for part, kind in kinds.items() if part in seen[index]), "end") for index in range(len(seen))]


def _places(kinds: list[str]) -> tuple[list[str], list[int]]:
    """New names of the body's entries, and the slots of the attention."""
    places: list[str] = []
    slots: list[int] = []
    blocks = 0
    for kind in kinds:
        if kind == "edsr":
            places.append(f"blocks.{blocks}.")
            blocks += 1
        elif kind == "end":
            places.append("body_end.")
        else:
            places.append(f"attention.{blocks}.")
            slots.append(blocks)
    return places, slots


def _rename(key: str, places: list[str]) -> str:
    match = _ENTRY.match(key)
    place, rest = (places[int(match[1])], match[2]) if match else ("", key)
    return place + _OLD.sub(lambda old: RENAMED[old[0]], rest)


def _attention(state: Mapping[str, Tensor], name: str, index: int, channels: int) -> dict[str, Any]:
    """Options of the attention in the body's entry of this index."""
    needed = [f"body.{index}.conv_match{'1' if name == 'enlcn' else ''}.0.weight"]
    needed += [f"body.{index}.attn_fn.projection_matrix"] if name == "enlcn" else []
    if missing := [key for key in needed if key not in state]:
        raise ValueError(f"this checkpoint lacks {', '.join(missing)}")
    match, *projection = (state[key] for key in needed)
    options: dict[str, Any] = {"reduction": channels // match.shape[0], "embedding_kernel": match.shape[-1]}
    if name == "nlsn":
        return options | {"rounds": 4, "chunk": 144}
    return options | {"k": 6.0, "m": projection[0].shape[0], "relevant": (0, 15), "irrelevant": (50, 65)}


def _value_range(state: Mapping[str, Tensor]) -> float:
    """Largest value of the authors' RGB, from the shift of colours; without one, RGB is in [0, 1].

    The shift is two 1x1 convolutions in the authors' code and constant here: both must be equal.
    """
    if not any(key in state for key in SHIFT):
        return 1.0
    if missing := [key for key in SHIFT if key not in state]:
        raise ValueError(f"this checkpoint lacks {', '.join(missing)}")
    value_range = 255.0 if state["add_mean.bias"].abs().max() > 2 else 1.0
    mean = torch.tensor(RGB_MEAN)
    for key, expected, unit in (
        (SHIFT[0], torch.eye(3).view(3, 3, 1, 1), 1.0),
        (SHIFT[1], -mean, value_range),
        (SHIFT[2], torch.eye(3).view(3, 3, 1, 1), 1.0),
        (SHIFT[3], mean, value_range),
    ):
        if state[key].shape != expected.shape or not torch.allclose(state[key].float() / unit, expected, atol=1e-4):
            raise ValueError(f"{key} of this checkpoint is not the expected colour shift for RGB in [0, 1] or [0, 255]")
    return value_range
