"""Efficient attention: a softmax of queries over channels and of keys over positions (Shen et al., "Efficient
Attention: Attention with Linear Complexities", WACV 2021, arXiv 1812.01243).

Y = ρ(Q) (σ(K)ᵀ V), ρ the softmax over the C channels of a query, σ that over the N positions of a channel of the keys.
Each channel of the keys is a map of the whole image, a query mixes these C maps; rows of ρ(Q) σ(K)ᵀ sum to 1. Time and
memory grow with N. Difference from the paper: no 1x1 convolution on the output, which is contained in that of the
values, since both are linear and weights sum to 1. Equals the authors' `EfficientAttention` (cmsflash/
efficient-attention) with one head, as in the paper, whose two convolutions are multiplied.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.attention._base import Attention
from models.attention._registry import register


@register("efficient")
class EfficientAttention(Attention):
    """(B, channels, H, W) → the same shape. Options are in `Attention`."""

    random_projection = False
    own_loss = False
    paper = "Shen et al., WACV 2021, arXiv 1812.01243"

    def __init__(
        self, channels: int = 64, *, reduction: int = 4, residual_scale: float = 0.1, embedding_kernel: int = 1
    ) -> None:
        super().__init__(
            channels, reduction=reduction, residual_scale=residual_scale, embedding_kernel=embedding_kernel
        )

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        context = _softmax(key, 1).to(value.dtype).transpose(1, 2) @ value  # (B, C, Cv)
        return _softmax(query, 2).to(value.dtype) @ context

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`): both products."""
        return 4 * tokens * channels * out_channels, "our own count, not the paper's: 4N·c·c_out"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same with the whole matrix of N x N weights."""
        return torch.softmax(query, dim=2) @ torch.softmax(key, dim=1).transpose(1, 2) @ value

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        return _softmax(query[:, list(positions)], 2) @ _softmax(key, 1).transpose(1, 2)


def _softmax(x: Tensor, axis: int) -> Tensor:
    """In float32 or better."""
    return torch.softmax(x.to(torch.promote_types(x.dtype, torch.float32)), dim=axis)
