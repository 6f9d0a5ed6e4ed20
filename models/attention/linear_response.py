"""Exact attention to first order about the mean query: the cost of two small matrix products, and no random numbers.

A mechanism of this suite; docs/linear-response.md derives it and bounds its error. The output of exact attention is a
function of the query, Y(q) = Σ pₙ(q) vₙ with p(q) = softmax(K q), whose derivative is the covariance of keys and values
under these weights. With the mean query q̄, p = p(q̄), b = Σ pₙ kₙ and V̄ = Σ pₙ vₙ:

    Y(q) ≈ V̄ + (q − q̄)ᵀ Σ pₙ (kₙ − b) vₙᵀ
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.attention._base import Attention
from models.attention._maps import softmax_rows
from models.attention._registry import register
from models.attention.enla import CPU_CHUNK, GPU_CHUNK, compute_dtype
from models.attention.nla import exact_attention
from models.precision import native_bfloat16


@register("linear_response")
class LinearResponse(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        k: amplification factor.
    """

    random_projection = False
    own_loss = False
    paper = "this suite, docs/linear-response.md"
    recipes = {"paper": {"k": 6.0, "embedding_kernel": 3}, "released": {"k": 6.0, "embedding_kernel": 1}}

    def __init__(
        self,
        channels: int = 64,
        *,
        k: float = 6.0,
        reduction: int = 4,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
        normalise_eps: float = 5e-5,
    ) -> None:
        super().__init__(
            channels,
            k=k,
            reduction=reduction,
            residual_scale=residual_scale,
            embedding_kernel=embedding_kernel,
            normalise_eps=normalise_eps,
        )

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        return linear_response(query, key, value)

    def exact(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """What `attend` approximates: attention with the weights softmax(Q Kᵀ)."""
        return exact_attention(query, key, value)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        flops = 2 * (2 * tokens * channels * out_channels + 2 * tokens * channels + tokens * out_channels)
        return flops, "our own count, not the paper's: 2(2Nc·c_out + 2Nc + Nc_out)"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The derivative of exact attention at the mean query, as weights pₙ (1 + (q − q̄)·(kₙ − b)) on the values."""
        centre = query.mean(dim=1, keepdim=True)
        weights = torch.softmax(centre @ key.transpose(1, 2), dim=2)  # (B, 1, N)
        change = (query - centre) @ (key - weights @ key).transpose(1, 2)  # (B, N, N)
        return (weights * (1 + change)) @ value

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        """Rows of the exact softmax(Q Kᵀ); those of the approximation can be negative."""
        return softmax_rows(query, key, positions)


def linear_response(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """query, key (B, N, C) and value (B, N, Cv) → (B, N, Cv).

    Sums and weights are float32 (float64 for float64 input). With a bfloat16 value the products with values are
    bfloat16, or float32 on a CPU that only emulates bfloat16.
    """
    if value.dtype == torch.bfloat16 and not native_bfloat16(value.device):
        return linear_response(query.float(), key.float(), value.float()).to(value.dtype)
    B, N, _ = query.shape
    with torch.autocast(query.device.type, enabled=False):
        wide = torch.promote_types(query.dtype, torch.float32)
        compute = compute_dtype(value.dtype, wide)
        chunk = N
        if not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
            chunk = max(1, (GPU_CHUNK if query.is_cuda else CPU_CHUNK) // B)
        centre = query.mean(dim=1, keepdim=True, dtype=wide)  # q̄: (B, 1, C)
        key = key.to(wide)
        weights = torch.softmax(torch.matmul(key, centre.transpose(1, 2)), dim=1)  # p: (B, N, 1)
        key_centre = torch.matmul(weights.transpose(1, 2), key)  # b: (B, 1, C)
        response: Tensor | float = 0.0
        pooled: Tensor | float = 0.0
        for keys, values, share in zip(*(x.split(chunk, 1) for x in (key, value, weights)), strict=True):
            around = ((keys - key_centre) * share).to(compute).transpose(1, 2)  # (B, C, n)
            response = response + torch.matmul(around, values.to(compute)).to(wide)  # (B, C, Cv)
            pooled = pooled + torch.matmul(share.to(compute).transpose(1, 2), values.to(compute)).to(wide)  # V̄
        assert isinstance(response, Tensor)
        start = pooled - torch.matmul(centre, response)  # (B, 1, Cv)
        return torch.baddbmm(start.to(compute), query.to(compute), response.to(compute)).to(value.dtype)
