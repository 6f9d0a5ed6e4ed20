"""Attention in several heads, each on its own part of the channels."""

from torch import Tensor


def check_heads(heads: int, width: int, channels: int) -> None:
    """Raise ValueError unless `heads` divides the channels of query and key, `width`, and of the value, `channels`."""
    if heads < 1 or width % heads or channels % heads:
        raise ValueError(f"heads must divide the {width} channels of the query and {channels} of the value")


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, C) → (B, heads, N, C / heads)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)
