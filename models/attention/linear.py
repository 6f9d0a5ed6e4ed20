"""Linear attention: a positive feature map instead of the exponential (Katharopoulos et al., "Transformers are RNNs:
Fast Autoregressive Transformers with Linear Attention", ICML 2020, arXiv 2006.16236).

Y = φ(Q) (φ(K)ᵀ V) / (φ(Q) φ(K)ᵀ 1 + ε) with φ(x) = elu(x) + 1: the product φ(K)ᵀ V has no N, so that time and memory
grow with N. Differences from the paper: one head and no output projection, as in this suite's other non-local blocks;
no causal mask, which images do not need.
Equals the authors' `LinearAttention` (idiap/fast-transformers).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from models.attention._base import Attention
from models.attention._registry import register


@register("linear")
class LinearAttention(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        epsilon: added to the normaliser (authors' code: 1e-6).
    """

    random_projection = False
    own_loss = False
    paper = "Katharopoulos et al., ICML 2020, arXiv 2006.16236"

    def __init__(
        self,
        channels: int = 64,
        *,
        epsilon: float = 1e-6,
        reduction: int = 4,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
    ) -> None:
        super().__init__(
            channels, reduction=reduction, residual_scale=residual_scale, embedding_kernel=embedding_kernel
        )
        if epsilon < 0:
            raise ValueError(f"epsilon must not be negative, it is {epsilon}")
        self.epsilon = epsilon

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        return kernel_attention(_feature_map(query), _feature_map(key), value, self.epsilon)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`): φ(K)ᵀV and φ(Q) times it, and the normaliser."""
        products = 2 * tokens * channels * out_channels + tokens * channels
        return 2 * products, "our own count, not the paper's: 2(2N·c·c_out + N·c)"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same with the whole matrix of N x N weights."""
        similarity = _feature_map(query) @ _feature_map(key).transpose(1, 2)
        return similarity @ value / (similarity.sum(-1, keepdim=True) + self.epsilon)

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        similarity = _feature_map(query[:, list(positions)]) @ _feature_map(key).transpose(1, 2)
        return similarity / similarity.sum(-1, keepdim=True)


def kernel_attention(query: Tensor, key: Tensor, value: Tensor, epsilon: float) -> Tensor:
    """query (keyᵀ value) / (query keyᵀ 1 + ε): features (…, N, C) without negative entries, value (…, N, Cv) → value's.

    In the features' precision, which has to hold sums over N tokens: float32 or better.
    """
    with torch.autocast(query.device.type, enabled=False):
        context = key.transpose(-1, -2) @ value.to(key.dtype)  # (…, C, Cv)
        normaliser = query @ key.sum(-2).unsqueeze(-1) + epsilon  # (…, N, 1)
        return (query @ context / normaliser).to(value.dtype)


def _feature_map(x: Tensor) -> Tensor:
    """φ, in float32 or better."""
    return F.elu(x.to(torch.promote_types(x.dtype, torch.float32))) + 1
