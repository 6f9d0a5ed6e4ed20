"""Efficient non-local attention: exp(query·key) estimated by random features, so that time grows with N, not N².

"Efficient Non-Local Contrastive Attention for Image Super-Resolution" (AAAI 2022, arXiv 2201.03794):

    φ(x) = m^(-1/2) · (exp(F x − |x|²/2) + ε),   Y = φ(Q) (φ(K)ᵀ V) / φ(Q) (φ(K)ᵀ 1)

What is computed is the same with fewer passes over memory: m^(-1/2) cancels in the ratio; |x|²/2 = k/2 is a constant,
because query and key have length √k, and cancels once ε is multiplied by exp(k/2); ε becomes a term of rank one:
Σ (e + ε) v = Σ e v + ε Σ v; a column of ones in V gives the normaliser. What is left is two GEMMs and one exp a side.
"""

import torch
from torch import Tensor

from models.attention.base import Attention
from models.attention.projection import draw_projection
from models.attention.registry import register

CHUNK = 4096  # tokens whose features are held at once outside training: they stay in the cache
SAFE_EXPONENT = 30.0  # exp(±30) of query and key, times each other and 10⁶ tokens, fits float32


@register("enla")
class ENLA(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        k: amplification factor (paper: 6; 1 is where the estimate is still close to exact attention).
        m: number of random features (paper: 128).
        orthogonal: orthogonal random directions (paper), or independent ones.
        epsilon: added to each feature before m^(-1/2) (released code: 1e-4).
    """

    projection: Tensor

    def __init__(
        self,
        channels: int = 64,
        *,
        k: float = 1.0,
        m: int = 128,
        orthogonal: bool = True,
        epsilon: float = 1e-4,
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
        if epsilon < 0:
            raise ValueError(f"epsilon must not be negative, it is {epsilon}")
        self.amplification = float(k)
        self.m = m
        self.orthogonal = orthogonal
        self.epsilon = epsilon
        self.register_buffer("projection", draw_projection(m, channels // reduction, orthogonal))

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """New random directions in place, the same on every device for a CPU generator in the same state."""
        new = draw_projection(self.m, self.projection.shape[1], self.orthogonal, generator)
        with torch.no_grad():
            self.projection.copy_(new)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        return random_feature_attention(query, key, value, self.projection, self.amplification, self.epsilon)

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The formulas as they stand in the paper and in the released code, feature maps and all."""
        return reference_attention(query, key, value, self.projection, self.epsilon)


def random_feature_attention(
    query: Tensor, key: Tensor, value: Tensor, projection: Tensor, k: float, epsilon: float = 1e-4
) -> Tensor:
    """ENLA of query, key (B, N, C) of length √k and value (B, N, Cv), with projection (m, C) → (B, N, Cv).

    Logits and exp are float32 (float64 for float64 input). With a bfloat16 value the features are bfloat16; with
    float16, whose range they leave, everything is float32 up to the output. Where √k times the longest direction
    to be expected leaves float32, exponents are shifted, which cancels in the ratio and needs a pass more.
    """
    with torch.autocast(query.device.type, enabled=False):
        dtype = torch.promote_types(query.dtype, torch.float32)
        directions = projection.to(dtype).t()  # (C, m)
        features = value.dtype if value.dtype in (torch.bfloat16, torch.float64) else torch.float32
        stable = k**0.5 * (projection.shape[1] ** 0.5 + 4) > SAFE_EXPONENT
        epsilon *= torch.e ** (k / 2)
        top: Tensor | None = None
        if stable:
            # largest exponent a key can have; 40 below the top is where float32 has room on both sides
            top = (k**0.5 * projection.to(dtype).norm(dim=1).max() - 40).clamp_min(0)
        N = query.shape[1]
        chunk = N if torch.is_grad_enabled() or torch.compiler.is_compiling() else CHUNK
        context = _context(key.split(chunk, 1), value.split(chunk, 1), directions, features, epsilon, top)
        outs = [_output(q, context, directions, epsilon, stable, value.dtype) for q in query.split(chunk, 1)]
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)


def _context(
    keys: tuple[Tensor, ...],
    values: tuple[Tensor, ...],
    directions: Tensor,
    dtype: torch.dtype,
    epsilon: float,
    top: Tensor | None,
) -> Tensor:
    """φ(K)ᵀ [V, 1]: (B, m, Cv + 1), the last column the normaliser."""
    context: Tensor | None = None
    for key, value in zip(keys, values, strict=True):
        logits = key.to(directions.dtype) @ directions
        feature = torch.exp(logits if top is None else logits - top).to(dtype)  # (B, n, m)
        value = torch.nn.functional.pad(value.to(dtype), (0, 1), value=1.0)
        small = value.sum(dim=1, keepdim=True, dtype=directions.dtype)
        small = small * (epsilon if top is None else epsilon * torch.exp(-top))
        part = (feature.transpose(1, 2) @ value).to(directions.dtype) + small
        context = part if context is None else context + part
    assert context is not None
    return context


def _output(
    query: Tensor, context: Tensor, directions: Tensor, epsilon: float, stable: bool, dtype: torch.dtype
) -> Tensor:
    logits = query.to(directions.dtype) @ directions  # (B, n, m)
    small = context.sum(dim=1, keepdim=True) * epsilon  # (B, 1, Cv + 1)
    if stable:
        largest = logits.detach().amax(dim=-1, keepdim=True).clamp_min(-10)
        logits = logits - largest
        small = small * torch.exp(-largest)
    compute = torch.bfloat16 if dtype == torch.bfloat16 else directions.dtype
    out = (torch.exp(logits).to(compute) @ context.to(compute)).to(directions.dtype) + small
    return (out[..., :-1] / out[..., -1:]).to(dtype)


def reference_attention(query: Tensor, key: Tensor, value: Tensor, projection: Tensor, epsilon: float = 1e-4) -> Tensor:
    """The written-out twin of `random_feature_attention`, in the dtype of its input."""
    m = projection.shape[0]

    def feature_map(x: Tensor) -> Tensor:
        directions = projection.to(x.dtype).expand(x.shape[0], m, -1)
        half_norm = (x**2).sum(dim=-1, keepdim=True) / 2
        return m**-0.5 * (torch.exp(torch.einsum("bnc,bmc->bnm", x, directions) - half_norm) + epsilon)

    queries, keys = feature_map(query), feature_map(key)  # (B, N, m)
    normaliser = 1 / torch.einsum("bnm,bm->bn", queries, keys.sum(dim=1))
    context = torch.einsum("bnm,bnd->bmd", keys, value)
    return torch.einsum("bmd,bnm,bn->bnd", context, queries, normaliser)
