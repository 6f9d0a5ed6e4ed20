"""ENLA whose random features are drawn where the image's queries and keys are: the same estimate with less noise.

A mechanism of this suite; docs/random-features.md derives it. With q̄ the mean query and p = softmax(K q̄) over the
positions, b = Σ pₙ kₙ and S = Σ pₙ (kₙ − b)(kₙ − b)ᵀ + (k − |q̄|²)/C · I describe queries and keys (length √k, C
channels). From rows F_j of N(0, I) and L = I + γ S with γ = 2 / (1 + √(1 + 2 tr S² / tr S)):

    d_j = L F_j,   φ_j(q) = exp(d_j·(q − q̄)),   φ_j(k) = exp((d_j + q̄ + b)·(k − b) + (|F_j|² − |d_j|²)/2),
    Y = φ(Q) (φ(K)ᵀ V) / φ(Q) (φ(K)ᵀ 1).

φ(q)·φ(k)/m is an unbiased estimate of exp(q·k) up to factors that cancel in Y. With q̄ = b = 0 and S = 0 it is ENLA.
Computed as softmax over features of the softmax-pooled values, which cannot overflow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.attention._base import Attention
from models.attention._maps import softmax_rows
from models.attention._projection import draw_projection, redraw_projection
from models.attention._registry import register
from models.attention.enla import CPU_CHUNK, GPU_CHUNK, LARGEST_K, compute_dtype
from models.attention.nla import exact_attention
from models.precision import native_bfloat16

SMALLEST = 1e-6  # of tr S, which is 0 for an image of one colour


@register("adaptive_enla")
class AdaptiveENLA(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        k: amplification factor.
        m: number of random features. 80 of them, with the moments of query and key, cost less than ENLA's 128.
        orthogonal: orthogonal random directions, or independent ones.
    """

    projection: Tensor

    own_loss = False
    paper = "this suite, docs/random-features.md"
    recipes = {
        "paper": {"k": 6.0, "m": 80, "orthogonal": True, "embedding_kernel": 3},
        "released": {"k": 6.0, "m": 80, "orthogonal": True, "embedding_kernel": 1},
    }

    def __init__(
        self,
        channels: int = 64,
        *,
        k: float = 6.0,
        m: int = 80,
        orthogonal: bool = True,
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
        if m < 1:
            raise ValueError(f"m (the number of random features) must be at least 1, not {m}")
        if k > LARGEST_K:
            raise ValueError(f"k must be at most {LARGEST_K}, not {k}")
        self.amplification = float(k)
        self.m = m
        self.orthogonal = orthogonal
        self.register_buffer("projection", draw_projection(m, channels // reduction, orthogonal))

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """New random directions in place, the same on every device for a CPU generator in the same state."""
        redraw_projection(self.projection, self.orthogonal, generator)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        return adaptive_attention(query, key, value, self.projection, self.amplification)

    def exact(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """What `attend` estimates: attention with the weights softmax(Q Kᵀ)."""
        return exact_attention(query, key, value)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        features = 2 * self.m * tokens * channels + 2 * self.m * tokens * out_channels + self.m * tokens
        moments = tokens * channels**2 + 2 * tokens * channels + self.m * channels**2
        formula = f"our own count, not the paper's: 2(2mNc + 2mNc_out + mN + Nc² + 2Nc + mc²), m = {self.m}"
        return 2 * (features + moments), formula

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The formulas at the top of this file, with explicit feature maps."""
        return reference_attention(query, key, value, self.projection, self.amplification)

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        """Rows of the exact softmax(Q Kᵀ) that the random features estimate."""
        return softmax_rows(query, key, positions)


class Features(NamedTuple):
    """The feature maps of one batch: exponents are x · directionsᵀ + bias."""

    query: Tensor
    query_bias: Tensor
    key: Tensor
    key_bias: Tensor
    """Directions (B, m, C), biases (B, 1, m)."""


def adaptive_attention(query: Tensor, key: Tensor, value: Tensor, projection: Tensor, k: float) -> Tensor:
    """query, key (B, N, C) of length √k and value (B, N, Cv), with projection (m, C) of rows N(0, I) → (B, N, Cv).

    Exponents and sums are float32 (float64 for float64 input). With a bfloat16 value the products with values are
    bfloat16, or float32 on a CPU that only emulates bfloat16.
    """
    if value.dtype == torch.bfloat16 and not native_bfloat16(value.device):
        return adaptive_attention(query.float(), key.float(), value.float(), projection, k).to(value.dtype)
    B, N, _ = query.shape
    with torch.autocast(query.device.type, enabled=False):
        chunk = N
        if not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
            chunk = max(1, (GPU_CHUNK if query.is_cuda else CPU_CHUNK) // B)
        features = fit(query, key, projection, k, chunk)
        landmarks, share = _pool(key, value, features, chunk)
        bias = features.query_bias + share
        if chunk >= N:
            return _select(query, features.query, bias, landmarks, value.dtype)
        out = torch.empty_like(value)
        for queries, part in zip(query.split(chunk, 1), out.split(chunk, 1), strict=True):
            part.copy_(_select(queries, features.query, bias, landmarks, value.dtype))
        return out


def fit(query: Tensor, key: Tensor, projection: Tensor, k: float, chunk: int) -> Features:
    """The feature maps for these queries and keys, (B, N, C) each; `chunk` positions are processed at a time.

    Any q̄, b and S that do not depend on the projection leave the estimate unbiased; these ones lower its variance.
    """
    directions = projection.to(torch.promote_types(query.dtype, torch.float32))
    C = query.shape[2]
    centre = query.mean(dim=1, keepdim=True, dtype=directions.dtype)  # q̄: (B, 1, C)
    weights = torch.softmax(torch.matmul(key.to(directions.dtype), centre.transpose(1, 2)), dim=1)  # p: (B, N, 1)
    second: Tensor | float = 0.0
    key_centre: Tensor | float = 0.0
    for keys, share in zip(key.split(chunk, 1), weights.split(chunk, 1), strict=True):
        keys = keys.to(directions.dtype)
        weighted = (keys * share).transpose(1, 2)  # (B, C, n)
        second = second + torch.matmul(weighted, keys)
        key_centre = key_centre + weighted.sum(dim=2).unsqueeze(1)  # b: (B, 1, C)
    assert isinstance(second, Tensor)
    assert isinstance(key_centre, Tensor)
    keys_spread = second - key_centre.transpose(1, 2) * key_centre  # S without its multiple of I: (B, C, C)
    # of vectors of length √k the traces follow from the means
    queries_trace, keys_trace = (k - (mean**2).sum(dim=2, keepdim=True) for mean in (centre, key_centre))
    squared = (keys_spread**2).sum(dim=(1, 2), keepdim=True) + (2 * keys_trace + queries_trace) * queries_trace / C
    step = 2 / (1 + torch.sqrt(1 + 2 * squared / (queries_trace + keys_trace).clamp_min(SMALLEST)))  # γ
    drawn = (1 + step * queries_trace / C) * directions + step * torch.matmul(directions, keys_spread)  # d_j: (B, m, C)
    coefficient = ((directions**2).sum(dim=1) - (drawn**2).sum(dim=2)) / 2  # (B, m)
    for_key = drawn + centre + key_centre
    key_bias = coefficient.unsqueeze(1) - torch.matmul(key_centre, for_key.transpose(1, 2))
    return Features(drawn, -torch.matmul(centre, drawn.transpose(1, 2)), for_key, key_bias)


def _pool(key: Tensor, value: Tensor, features: Features, chunk: int) -> tuple[Tensor, Tensor]:
    """Values pooled by each feature: (B, m, Cv), and log of the sum of its weights: (B, 1, m)."""
    top: Tensor | None = None
    for keys, values in zip(key.split(chunk, 1), value.split(chunk, 1), strict=True):
        logits = _logits(keys, features.key, features.key_bias)  # (B, n, m)
        largest = logits.detach().amax(dim=1, keepdim=True)
        if top is not None:
            largest = torch.maximum(top, largest)
        weights = logits.sub_(largest).exp_()
        compute = compute_dtype(value.dtype, weights.dtype)
        more = torch.matmul(weights.to(compute).transpose(1, 2), values.to(compute)).to(weights.dtype)
        more_total = weights.sum(dim=1, keepdim=True)
        if top is None:
            context, total = more, more_total
        else:
            shrunk = (top - largest).exp_()
            context, total = context * shrunk.transpose(1, 2) + more, total * shrunk + more_total
        top = largest
    assert top is not None
    return context / total.transpose(1, 2), total.log() + top


def _select(query: Tensor, directions: Tensor, bias: Tensor, landmarks: Tensor, dtype: torch.dtype) -> Tensor:
    """Each query's mean of the landmarks, weighted by its features: (B, n, Cv)."""
    choice = torch.softmax(_logits(query, directions, bias), dim=-1)
    compute = compute_dtype(dtype, choice.dtype)
    return torch.matmul(choice.to(compute), landmarks.to(compute)).to(dtype)


def _logits(tokens: Tensor, directions: Tensor, bias: Tensor) -> Tensor:
    """tokens (B, n, C) · directionsᵀ (B, m, C) + bias (B, 1, m) → (B, n, m).

    As in `enla._times`, one image on a CPU outside training is a 1x1 convolution.
    """
    tokens = tokens.to(directions.dtype)
    if len(tokens) > 1 or tokens.is_cuda or tokens.dtype != torch.float32 or torch.is_grad_enabled():
        return torch.baddbmm(bias, tokens, directions.transpose(1, 2))
    image = tokens.unsqueeze(2).permute(0, 3, 1, 2)  # (1, C, n, 1), channels last
    out = F.conv2d(image, directions[0, :, :, None, None], bias[0, 0])
    return out.permute(0, 2, 3, 1).squeeze(2)


def relative_variance(stretch: Tensor, offset: Tensor) -> Tensor:
    """Variance of one feature's φ(q) φ(k), divided by its squared mean: offset (..., C) → (...).

    stretch: L, (C, C), symmetric and at least I. offset: q + k − q̄ − b. With Σ = L², the samples d_j + q̄ + b have the
    density N(q̄ + b, Σ), those without noise N(q + k, I), and this is the χ² divergence between the two:

        |Σ| |2Σ − I|^(-1/2) exp(offsetᵀ (2Σ − I)⁻¹ offset) − 1.
    """
    doubled = 2 * stretch @ stretch - torch.eye(len(stretch), dtype=stretch.dtype)
    squared = (offset * torch.linalg.solve(doubled, offset.unsqueeze(-1)).squeeze(-1)).sum(dim=-1)
    return torch.expm1(2 * torch.logdet(stretch) - torch.logdet(doubled) / 2 + squared)


def reference_attention(query: Tensor, key: Tensor, value: Tensor, projection: Tensor, k: float) -> Tensor:
    """Reference implementation of `adaptive_attention`, in the dtype of its input."""
    directions, C = projection.to(query.dtype), query.shape[2]
    identity = torch.eye(C, dtype=query.dtype, device=query.device)
    centre = query.mean(dim=1, keepdim=True)  # (B, 1, C)
    weights = torch.softmax(centre @ key.transpose(1, 2), dim=2)  # (B, 1, N)
    key_centre = weights @ key
    around = (k - (centre**2).sum(dim=2, keepdim=True)) / C
    spread = (key.transpose(1, 2) * weights) @ key - key_centre.transpose(1, 2) @ key_centre + around * identity
    trace = (2 * k - (centre**2).sum(dim=2) - (key_centre**2).sum(dim=2)).clamp_min(SMALLEST)
    step = 2 / (1 + torch.sqrt(1 + 2 * (spread**2).sum(dim=(1, 2), keepdim=True) / trace[:, None]))
    drawn = directions @ (identity + step * spread)  # (B, m, C)
    coefficient = ((directions**2).sum(dim=1) - (drawn**2).sum(dim=2)) / 2  # (B, m)
    queries = torch.exp((query - centre) @ drawn.transpose(1, 2))  # (B, N, m)
    keys = torch.exp((key - key_centre) @ (drawn + centre + key_centre).transpose(1, 2) + coefficient[:, None])
    return queries @ (keys.transpose(1, 2) @ value) / (queries @ keys.sum(dim=1)[:, :, None])
