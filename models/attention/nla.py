"""Exact non-local attention: every pixel attends to every other (Wang et al., CVPR 2018, arXiv 1711.07971).

Y = softmax(Q Kᵀ) V, "embedded Gaussian" form, without the 1/√C of transformers. Time grows with N²; memory does
not, because `scaled_dot_product_attention` processes the matrix in blocks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from models.attention._base import Attention
from models.attention._maps import softmax_rows
from models.attention._registry import register

WIDEST_HEAD = 256  # of the flash kernels


@register("nla")
class NLA(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        k: None: embeddings are not normalised (the original non-local block). A number: embeddings are normalised as in
            ENLCA, and the result is the exact attention that ENLA with the same k estimates.
    """

    random_projection = False
    own_loss = False
    in_paper = True
    paper = "Wang et al., CVPR 2018, arXiv 1711.07971"
    recipes = {"paper": {"embedding_kernel": 3}, "released": {"embedding_kernel": 1}}

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

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """As the paper counts (see `Attention`): both products of the N x N matrix."""
        return 2 * (tokens * tokens * channels + tokens * tokens * out_channels), "2(N²c + N²c_out)"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same, with the whole matrix of N x N weights."""
        return torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        return softmax_rows(query, key, positions)


def exact_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query keyᵀ) value: query (B, N, C), key (B, L, C), value (B, L, Cv) of any width → (B, N, Cv).

    The blockwise kernels require equal widths of values and queries: the narrower are padded with zeros, which does not
    change the logits. Values wider than the kernels' limit are split into heads.
    """
    B, N, C = query.shape
    width = value.shape[-1]
    head = max(C, min(width, WIDEST_HEAD))
    heads = -(-width // head)
    # (B, L, Cv) → (B, heads, L, head)
    values = F.pad(value, (0, heads * head - width)).unflatten(2, (heads, head)).transpose(1, 2).contiguous()
    queries, keys = (
        F.pad(x.to(value.dtype), (0, head - C)).contiguous()[:, None].expand(-1, heads, -1, -1) for x in (query, key)
    )
    out = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
    return out.transpose(1, 2).reshape(B, N, heads * head)[..., :width]
