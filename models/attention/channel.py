"""Transposed attention, between channels instead of pixels: MDTA of Restormer (Zamir et al., "Restormer: Efficient
Transformer for High-Resolution Image Restoration", CVPR 2022, arXiv 2111.09881).

Query, key and value come from a 1x1 and a depth-wise 3x3 convolution. Each channel of query and key, over all pixels,
is normalised to the length 1; softmax(τ K̂ Q̂ᵀ) is a matrix of channels by channels for each head, τ a learned
temperature a head; a 1x1 convolution (here a product of tokens) gives the output. Time grows with N, not with N².
Differences from the paper: no layer norm before and no feed-forward network after the attention; convolutions
have biases; the output is multiplied by `residual_scale` before it is added, as in all mechanisms here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention._base import Attention
from models.attention._registry import register


@register("channel")
class Channel(Attention):
    """(B, channels, H, W) → the same shape. Query and key have as many channels as the value.

    Options:
        heads: number of groups of channels; a channel attends to those of its own group (Restormer: 1, 2, 4, 8).
        residual_scale: factor of the output before it is added to the input (Restormer: 1).
    """

    no_map = "its weights are between channels, not between positions"

    random_projection = False
    own_loss = False
    paper = "Zamir et al., CVPR 2022, arXiv 2111.09881"

    def __init__(self, channels: int = 64, *, heads: int = 4, residual_scale: float = 0.1) -> None:
        super().__init__(channels, reduction=1, residual_scale=residual_scale)
        if heads < 1 or channels % heads:
            raise ValueError(f"heads must divide the {channels} channels, {heads} does not")
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.query_depthwise, self.key_depthwise, self.value_depthwise = (
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels) for _ in range(3)
        )
        self.output = nn.Linear(channels, channels)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, channels, H, W) → query, key and value (B, N, channels), not normalised."""
        query = self.query_depthwise(self.query(x))
        key = self.key_depthwise(self.key(x))  # type: ignore[misc]  # the key is not shared, so it exists
        value = self.value_depthwise(self.value(x))
        query, key, value = (x.flatten(2).transpose(1, 2) for x in (query, key, value))
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        query, key = (self._unit_channels(x) for x in (query, key))
        queries, keys, values = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        logits = queries.transpose(-1, -2) @ keys  # (B, heads, C / heads, C / heads)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) * self.temperature
        weights = torch.softmax(logits, dim=-1).to(values.dtype)
        out = values @ weights.transpose(-1, -2)  # (B, heads, N, C / heads)
        return self.output(out.transpose(1, 2).flatten(2))

    def start_as_identity(self) -> None:
        """Zero the output's projection, so that the module returns its input."""
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        products = tokens * channels * out_channels / self.heads
        formula = f"our own count, not the paper's: 2(2N·c·c_out/heads + N·c_out²), heads = {self.heads}"
        return 2 * (2 * products + tokens * out_channels * out_channels), formula

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same, one head after the other, channels first as in the paper."""
        outs = []
        groups = (x.transpose(1, 2).chunk(self.heads, dim=1) for x in (query, key, value))
        for head, (q, k, v) in enumerate(zip(*groups, strict=True)):  # (B, C / heads, N)
            cosines = F.normalize(q, dim=-1, eps=self.normalise_eps) @ F.normalize(k, dim=-1, eps=self.normalise_eps).mT
            outs.append(torch.softmax(self.temperature[head] * cosines, dim=-1) @ v)
        return F.linear(torch.cat(outs, dim=1).transpose(1, 2), self.output.weight, self.output.bias)

    def _unit_channels(self, x: Tensor) -> Tensor:
        """(B, N, C) → the same, each channel's vector of N values of length 1; the norm is taken in float32."""
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        norm = torch.linalg.vector_norm(precise, dim=1, keepdim=True).clamp_min(self.normalise_eps)
        return (precise / norm).to(x.dtype)
