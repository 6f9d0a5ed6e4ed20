"""Base class of the mechanisms: embeddings, their normalisation, residual connection, switch of the auxiliary loss."""

from typing import Any

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Base class of a non-local mechanism; a subclass implements `attend`, and `auxiliary_loss` if it has a loss.

    Optional: `combine` for what follows the attention; `weights_of` for attention maps, see `models.attention._maps`;
    `exact`, with the arguments of `attend`, for the result that an estimate approximates (`python -m sisr check`);
    `paper_flops(tokens, channels, out_channels) -> (operations, formula)` gives the operations by the convention of the
    ENLCA paper's Table 4: two operations a multiply-add; only `attend` and `combine`, without the
    embeddings that make query, key and value; exp, division and normalisation are free. `tokens` are the N pixels,
    `channels` c those of query and key, `out_channels` c_out those of the value. With N = 100·100 and c = c_out = 64
    this gives 0.66 GFLOP for ENLCA with 128 random features, as printed in the paper.

    (B, channels, H, W) → (B, channels, H, W): `x + residual_scale * combine(attend(query, key, value))`.

    Options:
        reduction: query and key have channels // reduction channels (paper and released code: 256 → 64).
        residual_scale: factor of the attention's output before it is added to the input (released code: 0.1).
        embedding_kernel: 1 (released code) or 3 ("all kernels 3x3", paper): size of the embeddings' convolutions.
        k: amplification factor. Query and key are normalised to the length √k, so that query·key = k·cos.
            None: no normalisation.
        normalise_eps: smallest norm that a query or key is divided by (released code: 5e-5).
        shared: query and key share one convolution (NLSA).
    """

    options: dict[str, Any]
    recipes: dict[str, dict[str, Any]]  # what a subclass may declare, as a literal: its options under a recipe

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 4,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
        k: float | None = None,
        normalise_eps: float = 5e-5,
        shared: bool = False,
        value_kernel: int | None = None,
    ) -> None:
        super().__init__()
        if reduction < 1 or channels // reduction < 1:
            raise ValueError(f"reduction must lie between 1 and the {channels} channels, not {reduction}")
        if embedding_kernel not in (1, 3):
            raise ValueError(f"embedding_kernel must be 1 or 3, not {embedding_kernel}")
        if k is not None and not k > 0:
            raise ValueError(f"k (the amplification factor) must be above 0, not {k}")
        if not normalise_eps > 0:
            raise ValueError(f"normalise_eps must be above 0, not {normalise_eps}")
        self.channels = channels
        self.residual_scale = residual_scale
        self.k = k
        self.normalise_eps = normalise_eps
        width = channels // reduction
        self.query = _convolution(channels, width, embedding_kernel)
        self.key = None if shared else _convolution(channels, width, embedding_kernel)
        self.value = _convolution(channels, channels, value_kernel or embedding_kernel)
        self.auxiliary_loss_enabled = False
        self.last_auxiliary_loss: Tensor | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The mechanism itself: query, key (B, N, C), value (B, N, Cv), size (H, W) with N = H·W → (B, N, Cv)."""
        raise NotImplementedError(f"{type(self).__name__} must define attend(query, key, value, size)")

    def combine(self, out: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """What follows the attention, as an output projection: out, value (B, N, Cv), size (H, W) → (B, N, Cv)."""
        return out

    def auxiliary_loss(self, query: Tensor, key: Tensor) -> Tensor | None:
        """A scalar to be minimised beside the reconstruction loss, or None. Called in training, if enabled."""
        return None

    def check_tokens(self, tokens: int) -> None:
        """Raise ValueError where the auxiliary loss needs more than `tokens` pixels, before anything is computed."""

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, channels, H, W) → query and key (B, N, C), normalised if `k` is set, and value (B, N, channels)."""
        query = _tokens(self.query(x))
        key = query if self.key is None else _tokens(self.key(x))
        if self.k is not None:
            query, key = self._normalise(query, self.k), self._normalise(key, self.k)
        return query, key, _tokens(self.value(x))

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        # channels last: 1x1 convolutions are several times faster on a CPU, and tokens need no copy
        x = x.contiguous(memory_format=torch.channels_last)
        query, key, value = self.embed(x)
        out = self.combine(self.attend(query, key, value, (H, W)), value, (H, W))  # (B, N, C)
        wanted = self.training and self.auxiliary_loss_enabled
        self.last_auxiliary_loss = self.auxiliary_loss(query, key) if wanted else None
        return torch.add(x, out.transpose(1, 2).reshape(B, C, H, W).to(x.dtype), alpha=self.residual_scale)

    def start_as_identity(self) -> None:
        """Zero the values, so that the module returns its input: for a module inserted into a trained network."""
        nn.init.zeros_(self.value.weight)
        assert self.value.bias is not None
        nn.init.zeros_(self.value.bias)

    def _normalise(self, x: Tensor, k: float) -> Tensor:
        """(B, N, C) → the same, each pixel's vector of length √k; the norm is taken in float32 or better."""
        precise = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        norm = torch.linalg.vector_norm(precise, dim=-1, keepdim=True).clamp_min(self.normalise_eps)
        scaled = precise * (k**0.5 / norm) if torch.is_grad_enabled() else precise.mul_(k**0.5 / norm)
        return scaled.to(x.dtype)

    def __getstate__(self) -> dict[str, Any]:
        # the last loss is part of a graph: it cannot be copied or pickled, and a copy has not computed it
        return self.__dict__ | {"last_auxiliary_loss": None}


def _convolution(channels: int, out: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, padding=kernel // 2)


def _tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) → (B, N, C) without a copy."""
    return x.flatten(2).transpose(1, 2)
