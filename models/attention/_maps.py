"""Attention maps: the weights of one position of an image on all positions.

maps.attention_map(module, x, (row, column))   # x (B, channels, H, W) → (B, H, W), which sums to 1 in each image

A mechanism provides its weights by one of two optional methods:

- `weights_of(query, key, size, positions) -> (B, P, N)`, for subclasses of `Attention`: query and key (B, N, C) from
  `embed`, size (H, W), and P numbers of positions below N = H·W, row by row. Only those rows are computed,
  so that an image of millions of pixels needs no more than P·N numbers.
- `attention_map(x, position) -> (B, H, W)`, for a free module: its input (B, channels, H, W), and (row, column).

A mechanism without weights on positions states the reason in the attribute `no_map`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class NoMap(ValueError):  # noqa: N818  (not an error: there is no map)
    """A mechanism has no map; the message states the reason or how to add one."""


def attention_map(module: nn.Module, x: Tensor, position: tuple[int, int]) -> Tensor:
    """Weights of one position on all positions of the image: x (B, channels, H, W) → (B, H, W), without gradients.

    Args:
        module: an attention mechanism.
        x: its input.
        position: (row, column) in x.

    Raises:
        NoMap: the mechanism has no such weights, or does not provide them.
        ValueError: the position is outside of x, or the weights have the wrong shape.
    """
    mechanism: Any = module
    size = (x.shape[2], x.shape[3])
    row, column = position
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise ValueError(f"row {row}, column {column} is outside of {size[0]} rows and {size[1]} columns")
    if reason := why_not(module):
        raise NoMap(reason)
    with torch.no_grad():
        if hasattr(mechanism, "attention_map"):
            weights = mechanism.attention_map(x, position)
        else:
            query, key, _ = mechanism.embed(x)
            weights = mechanism.weights_of(query, key, size, [row * size[1] + column]).reshape(-1, *size)
    if weights.shape != (x.shape[0], *size):
        raise ValueError(
            f"the weights of {type(module).__name__} are {tuple(weights.shape)}, but the image is "
            f"{(x.shape[0], *size)}; weights_of gives (B, P, N), attention_map (B, H, W)"
        )
    return weights


def why_not(module: nn.Module) -> str:
    """Why a mechanism has no map, or how to add one; empty if it has one."""
    if hasattr(module, "attention_map") or (hasattr(module, "weights_of") and hasattr(module, "embed")):
        return ""
    name = type(module).__name__
    if reason := getattr(module, "no_map", ""):
        return f"{name} has no map: {reason}"
    return (
        f"{name} provides no attention map; implement weights_of(query, key, size, positions) or "
        "attention_map(x, position) as described in models/attention/_maps.py"
    )


def softmax_rows(query: Tensor, key: Tensor, positions: Sequence[int]) -> Tensor:
    """Rows of softmax(query keyᵀ): query, key (B, N, C) → (B, P, N), in float32 or better; each sums to 1."""
    precise = torch.promote_types(query.dtype, torch.float32)
    rows = query[:, list(positions)].to(precise)
    return torch.softmax(rows @ key.to(precise).transpose(1, 2), dim=-1)
