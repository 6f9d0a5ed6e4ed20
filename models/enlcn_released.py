"""Loading of the released ENLCN checkpoints: flat state dicts, recognised by their keys and shapes.

Their body is one list of residual blocks and attention modules that ends with a convolution. Width, depth, slots,
scale, number of features and size of the embeddings follow from the tensors. The other options are constants in the
released code (k = 6, ranks 0–15 and 50–65, residual scale 0.1).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.edsr import RGB_MEAN
from models.restore import restore
from models.trunk import scale_of

RENAMED = {"conv_match1.0": "query", "conv_match2.0": "key", "conv_assembly.0": "value"}


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of an authors' checkpoint."""
    return {"head.0.weight", "tail.0.0.weight"} <= state.keys()


def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The ENLCN in the authors' state dict, in eval mode. ValueError if a weight is missing, unknown or misshapen."""
    channels = state["head.0.weight"].shape[0]
    kinds = _kinds(state)
    names, slots, options = _layout(state, kinds, channels)
    tensors = {}
    for key, tensor in state.items():
        if key.startswith(("sub_mean.", "add_mean.")):
            _check_mean(key, tensor)
            continue
        tensors[_rename(key, names)] = tensor
    return restore(
        tensors,
        name="enlcn",
        scale=scale_of(state, "tail.0."),
        blocks=sum(kind == "block" for kind in kinds),
        channels=channels,
        attention="enlca" if slots else None,
        attention_options=options,
        slots=slots,
    )


def _kinds(state: Mapping[str, Tensor]) -> list[str]:
    """Kind of each entry of the body: "block", "attention" or "end"."""
    seen: dict[int, set[str]] = {}
    for key in state:
        if match := re.match(r"body\.(\d+)\.(.+)", key):
            seen.setdefault(int(match[1]), set()).add(match[2])
    if sorted(seen) != list(range(len(seen))):
        raise ValueError(f"the body of this checkpoint has gaps: it has entries {sorted(seen)}")

    def kind(parts: set[str]) -> str:
        if any(part.startswith("conv_match") for part in parts):
            return "attention"
        return "block" if any(part.startswith("body.") for part in parts) else "end"

    return [kind(seen[index]) for index in range(len(seen))]


def _layout(
    state: Mapping[str, Tensor], kinds: list[str], channels: int
) -> tuple[dict[int, str], list[int], dict[str, Any]]:
    """New names of the body's entries, the slots, and the attention's options."""
    names: dict[int, str] = {}
    slots: list[int] = []
    options: dict[str, Any] = {}
    blocks = 0
    for index, kind in enumerate(kinds):
        if kind == "block":
            names[index] = f"blocks.{blocks}"
            blocks += 1
        elif kind == "end":
            names[index] = "body_end"
        else:
            names[index] = f"attention.{blocks}"
            slots.append(blocks)
            needed = [f"body.{index}.{part}" for part in ("conv_match1.0.weight", "attn_fn.projection_matrix")]
            if missing := [key for key in needed if key not in state]:
                raise ValueError(f"this checkpoint lacks {', '.join(missing)}")
            match, projection = (state[key] for key in needed)
            options = {
                "k": 6.0,
                "m": projection.shape[0],
                "reduction": channels // match.shape[0],
                "embedding_kernel": match.shape[-1],
                "relevant": (0, 15),
                "irrelevant": (50, 65),
            }
    return names, slots, options


def _rename(key: str, names: dict[int, str]) -> str:
    if match := re.match(r"body\.(\d+)\.(.+)", key):
        rest = match[2].replace("attn_fn.projection_matrix", "projection")
        rest = re.sub(r"^body\.0\.", "first.", rest)
        rest = re.sub(r"^body\.2\.", "second.", rest)
        for old, new in RENAMED.items():
            rest = rest.replace(old, new)
        return f"{names[int(match[1])]}.{rest}"
    key = re.sub(r"^head\.0\.", "head.", key)
    key = re.sub(r"^tail\.0\.", "upsampler.", key)
    return re.sub(r"^tail\.1\.", "tail.", key)


def _check_mean(key: str, tensor: Tensor) -> None:
    """The released code shifts colours by a 1x1 convolution; here the shift is constant, so both must be equal."""
    sign = -1 if key.startswith("sub_mean") else 1
    expected = torch.eye(3).view(3, 3, 1, 1) if key.endswith("weight") else sign * torch.tensor(RGB_MEAN)
    if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, atol=1e-4):
        raise ValueError(f"{key} of this checkpoint is not the expected colour shift for RGB in [0, 1]")
