"""Exact non-local attention: every pixel attends to every other (Wang et al., CVPR 2018, arXiv 1711.07971).

Y = softmax(Q Kᵀ) V, "embedded Gaussian" form, without the 1/√C of transformers. Time grows with N²; memory does not:
`scaled_dot_product_attention` works through the matrix in blocks.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.attention.base import Attention
from models.attention.registry import register


@register("nla")
class NLA(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        k: None uses the embeddings as they are (the original non-local block); a number normalises them as ENLCA does,
            which makes this the exact attention that ENLA with the same k estimates.
    """

    def __init__(
        self,
        channels: int = 64,
        *,
        k: float | None = None,
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
        return exact_attention(query, key, value)

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same, with the whole matrix of N x N weights."""
        return torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value


def exact_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query keyᵀ) value: query, key (B, N, C), value (B, N, Cv) of any width → (B, N, Cv).

    The blockwise kernels want values as wide as queries, so a wider value is cut into heads that share query and key.
    """
    B, N, C = query.shape
    width = value.shape[-1]
    heads = -(-width // C)
    # (B, N, Cv) → (B, heads, N, C); a width that does not divide is filled up with zeros
    values = F.pad(value, (0, heads * C - width)).reshape(B, N, heads, C).transpose(1, 2)
    queries = query.to(value.dtype).contiguous()[:, None].expand(B, heads, N, C)
    keys = key.to(value.dtype).contiguous()[:, None].expand(B, heads, N, C)
    out = F.scaled_dot_product_attention(queries, keys, values.contiguous(), scale=1.0)
    return out.transpose(1, 2).reshape(B, N, heads * C)[..., :width]
