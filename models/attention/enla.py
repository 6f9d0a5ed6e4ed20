"""Efficient non-local attention: exp(query·key) estimated by random features, so that time grows with N, not N².

"Efficient Non-Local Contrastive Attention for Image Super-Resolution" (AAAI 2022, arXiv 2201.03794):

    φ(x) = m^(-1/2) · (exp(F x − |x|²/2) + ε),   Y = φ(Q) (φ(K)ᵀ V) / φ(Q) (φ(K)ᵀ 1)

This implementation computes the same with fewer passes over memory: m^(-1/2) cancels in the ratio. |x|²/2 = k/2 is a
constant, because query and key have length √k, and cancels if ε is multiplied by exp(k/2). ε becomes a term of rank
one: Σ (e + ε) v = Σ e v + ε Σ v. Two GEMMs and one exp remain for each of query and key.

With `features="optimal"`, exp(F x − |x|²/2) is D exp(A |F|² + B F x − |x|²/2), an estimate with less variance, see
_optimal_features.py: B F replaces F, A |F|² is one constant a feature, and D cancels as m^(-1/2) does.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from models.attention._base import Attention
from models.attention._maps import softmax_rows
from models.attention._optimal_features import optimal_a
from models.attention._projection import draw_projection, redraw_projection
from models.attention._registry import register
from models.attention.nla import exact_attention
from models.precision import native_bfloat16

CPU_CHUNK = 2560  # tokens in one chunk outside training; their features fit the cache
GPU_CHUNK = 1 << 17
LARGEST_K = 1400  # exp(k/2) fits float64
LARGEST_K_WITH_EPSILON = 100  # ε·exp(k/2), times 10⁶ tokens, fits float32
LARGEST_K_OPTIMAL = 30  # one shift for all features, whose constants A |F|² differ by tens, leaves each key a weight
SAFE_EXPONENT = 30.0  # the product of exp(±30) for query and key and 10⁶ tokens fits float32


@register("enla")
class ENLA(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        k: amplification factor (paper: 6; at 1 the estimate is still close to exact attention).
        m: number of random features (paper: 128).
        orthogonal: orthogonal random directions (paper), or independent ones.
        epsilon: added to each feature before m^(-1/2) (released code: 1e-4).
        fused: use the Triton kernels of enla_triton.py on a GPU outside training. The result is the same. They have no
            optimal features.
        features: "positive" (paper), or "optimal": less variance at the same cost, see _optimal_features.py.
    """

    projection: Tensor

    own_loss = False
    in_paper = True
    paper = "Xia et al., AAAI 2022, arXiv 2201.03794"
    # the paper adds nothing to a feature and says "all kernels 3x3"; the released code adds 1e-4 and embeds by 1x1
    recipes = {
        "paper": {"k": 1.0, "m": 128, "orthogonal": True, "epsilon": 0.0, "embedding_kernel": 3},
        "released": {"k": 1.0, "m": 128, "orthogonal": True, "epsilon": 1e-4, "embedding_kernel": 1},
    }

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
        fused: bool = False,
        features: str = "positive",
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
        if k > (largest := LARGEST_K if epsilon == 0 else LARGEST_K_WITH_EPSILON):
            raise ValueError(f"k must be at most {largest} where epsilon is {epsilon}, not {k}: exp(k/2) overflows")
        if features not in ("positive", "optimal"):
            raise ValueError(f'features must be "positive" or "optimal", not {features!r}')
        if features == "optimal" and k > LARGEST_K_OPTIMAL:
            raise ValueError(
                f"k must be at most {LARGEST_K_OPTIMAL} with optimal features, not {k}; or use adaptive_enla"
            )
        self.amplification = float(k)
        self.a = optimal_a(float(k), channels // reduction) if features == "optimal" else 0.0
        self.m = m
        self.orthogonal = orthogonal
        self.epsilon = epsilon
        self.fused = fused
        self.register_buffer("projection", draw_projection(m, channels // reduction, orthogonal))

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """New random directions in place, the same on every device for a CPU generator in the same state."""
        redraw_projection(self.projection, self.orthogonal, generator)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        given = (query, key, value, self.projection, self.amplification, self.epsilon)
        if self.fused and not self.a and can_fuse(query, value, self.amplification):
            from models.attention.enla_triton import fused_attention

            return fused_attention(*given)
        return random_feature_attention(*given, self.a)

    def exact(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """What `attend` estimates: attention with the weights softmax(Q Kᵀ)."""
        return exact_attention(query, key, value)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """As the paper counts (see `Attention`): F·Q and F·K, φ(K)ᵀV and φ(Q) times it, the normaliser."""
        flops = 2 * (2 * self.m * tokens * channels + 2 * self.m * tokens * out_channels + self.m * tokens)
        return flops, f"2(2mNc + 2mNc_out + mN), m = {self.m}"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The formulas of the paper and the released code, with explicit feature maps."""
        return reference_attention(query, key, value, self.projection, self.epsilon, self.a)

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        """Rows of the exact softmax(Q Kᵀ) that the random features estimate, as in the paper's figures."""
        return softmax_rows(query, key, positions)


def can_fuse(query: Tensor, value: Tensor, k: float) -> bool:
    """Whether the Triton kernels apply: on a GPU, without gradients, in a supported precision and range."""
    safe = value.dtype in (torch.float32, torch.bfloat16) and not needs_shift(k, query.shape[-1])
    return query.is_cuda and not torch.is_grad_enabled() and safe


def needs_shift(k: float, width: int, a: float = 0.0) -> bool:
    """Whether exp(F·x) can overflow float32 for x of length √k; directions of N(0, I) are shorter than √width + 4.

    a: of optimal features, whose exponent A |F|² + B F·x is at most B² k / (−4A) for any F.
    """
    longest = width**0.5 + 4
    if a:
        return min((1 - 4 * a) * k / (-4 * a), (1 - 4 * a) ** 0.5 * k**0.5 * longest) > SAFE_EXPONENT
    return k**0.5 * longest > SAFE_EXPONENT


def random_feature_attention(
    query: Tensor, key: Tensor, value: Tensor, projection: Tensor, k: float, epsilon: float = 1e-4, a: float = 0.0
) -> Tensor:
    """ENLA of query, key (B, N, C) of length √k and value (B, N, Cv), with projection (m, C) → (B, N, Cv).

    a: A of optimal features, below 0; 0 for positive features.
    Logits and exp are float32 (float64 for float64 input). With a bfloat16 value the features are bfloat16, or float32
    on a CPU that only emulates bfloat16. With float16, whose range is too small, everything is float32 up to the
    output. If √k times the longest expected direction overflows float32, the exponents are shifted; the shift cancels
    in the ratio and costs another pass.
    """
    if value.dtype == torch.bfloat16 and not native_bfloat16(value.device):
        query, key, wide = query.float(), key.float(), value.float()
        return random_feature_attention(query, key, wide, projection, k, epsilon, a).to(value.dtype)
    B, N, C = query.shape
    with torch.autocast(query.device.type, enabled=False):
        directions = projection.to(torch.promote_types(query.dtype, torch.float32))
        epsilon *= math.exp(k / 2)
        bias: Tensor | None = None
        if a:
            epsilon /= (1 - 4 * a) ** (C / 4)
            bias = a * (directions**2).sum(dim=1)  # (m,)
            directions = math.sqrt(1 - 4 * a) * directions
        top: Tensor | None = None
        if needs_shift(k, C, a):
            # the largest possible exponent of a key, less 40 for headroom on both sides of float32
            exponents = k**0.5 * directions.norm(dim=1)
            top = ((exponents if bias is None else exponents + bias).max() - 40).clamp_min(0)
        chunk = N
        if not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
            chunk = max(1, (GPU_CHUNK if query.is_cuda else CPU_CHUNK) // B)
        keys, values = key.split(chunk, 1), value.split(chunk, 1)
        context, normaliser = _context(keys[0], values[0], directions, bias, epsilon, top)
        for part in zip(keys[1:], values[1:], strict=True):
            more_context, more_normaliser = _context(*part, directions, bias, epsilon, top)
            context, normaliser = context + more_context, normaliser + more_normaliser
        if chunk >= N:
            return _output(query, context, normaliser, directions, bias, epsilon, top is not None, value.dtype)
        out = torch.empty_like(value)
        for queries, out_chunk in zip(query.split(chunk, 1), out.split(chunk, 1), strict=True):
            out_chunk.copy_(
                _output(queries, context, normaliser, directions, bias, epsilon, top is not None, value.dtype)
            )
        return out


def _context(
    key: Tensor, value: Tensor, directions: Tensor, bias: Tensor | None, epsilon: float, top: Tensor | None
) -> tuple[Tensor, Tensor]:
    """φ(K)ᵀ V: (B, m, Cv), and φ(K)ᵀ 1: (B, m, 1), both in the dtype of the directions."""
    logits = _times(key.to(directions.dtype), directions, bias)  # (B, n, m)
    weight: Tensor | float = epsilon
    if top is not None:
        logits, weight = logits - top, epsilon * torch.exp(-top)
    features = logits.exp_()
    compute = compute_dtype(value.dtype, directions.dtype)
    value_sum = value.sum(dim=1, keepdim=True, dtype=directions.dtype)
    context = torch.matmul(features.to(compute).transpose(1, 2), value.to(compute)).to(directions.dtype)
    # a separate sum: a column of ones in V would give the GEMMs an odd width and copy V
    return context + weight * value_sum, features.sum(dim=1).unsqueeze(-1) + weight * key.shape[1]


def _output(
    query: Tensor,
    context: Tensor,
    normaliser: Tensor,
    directions: Tensor,
    bias: Tensor | None,
    epsilon: float,
    stable: bool,
    dtype: torch.dtype,
) -> Tensor:
    """φ(Q) context / φ(Q) normaliser: (B, n, Cv)."""
    logits = _times(query.to(directions.dtype), directions, bias)  # (B, n, m)
    weight: Tensor | float = epsilon
    if stable:
        largest = logits.detach().amax(dim=-1, keepdim=True).clamp_min(-10)
        logits, weight = logits - largest, epsilon * torch.exp(-largest)
    features = logits.exp_().to(compute_dtype(dtype, directions.dtype))
    above, below = (torch.matmul(features, sums.to(features.dtype)) for sums in (context, normaliser))
    more_above, more_below = ((weight * sums.sum(1, keepdim=True)).to(above.dtype) for sums in (context, normaliser))
    if torch.is_grad_enabled():
        return ((above + more_above) / (below + more_below)).to(dtype)
    # in place: without gradients no graph needs these, and allocation on a CPU costs more than the sums
    return above.add_(more_above).div_(below.add_(more_below)).to(dtype)


def _times(tokens: Tensor, directions: Tensor, bias: Tensor | None) -> Tensor:
    """tokens (B, n, C) · directionsᵀ (C, m) + bias (m,) → (B, n, m).

    On a CPU as a 1x1 convolution: oneDNN needs half the time of the BLAS in torch's x86 builds. Not in training, where
    the convolution's backward pass takes longer than that of a product.
    """
    if tokens.device.type != "cpu" or tokens.dtype != torch.float32 or torch.is_grad_enabled():
        return torch.matmul(tokens, directions.t()) if bias is None else F.linear(tokens, directions, bias)
    image = tokens.unsqueeze(2).permute(0, 3, 1, 2)  # (B, C, n, 1), channels last
    return F.conv2d(image, directions[:, :, None, None], bias).permute(0, 2, 3, 1).squeeze(2)


def compute_dtype(value: torch.dtype, logits: torch.dtype) -> torch.dtype:
    """Dtype of features and of their products: the range of float16 is too small."""
    return torch.bfloat16 if value == torch.bfloat16 else logits


def reference_attention(
    query: Tensor, key: Tensor, value: Tensor, projection: Tensor, epsilon: float = 1e-4, a: float = 0.0
) -> Tensor:
    """Reference implementation of `random_feature_attention`, in the dtype of its input."""
    queries, keys = (feature_map(x, projection, epsilon, a) for x in (query, key))  # (B, N, m)
    normaliser = 1 / torch.einsum("bnm,bm->bn", queries, keys.sum(dim=1))
    context = torch.einsum("bnm,bnd->bmd", keys, value)
    return torch.einsum("bmd,bnm,bn->bnd", context, queries, normaliser)


def feature_map(x: Tensor, projection: Tensor, epsilon: float = 0.0, a: float = 0.0) -> Tensor:
    """φ of x (B, N, C), with projection (m, C) → (B, N, m); a: A of optimal features, 0 for positive ones."""
    m, width = projection.shape
    directions = projection.to(x.dtype).expand(x.shape[0], m, -1)
    half_norm = (x**2).sum(dim=-1, keepdim=True) / 2
    lengths = (directions**2).sum(dim=-1).unsqueeze(1)  # |F|²: (B, 1, m)
    exponent = a * lengths + (1 - 4 * a) ** 0.5 * torch.einsum("bnc,bmc->bnm", x, directions) - half_norm
    return m**-0.5 * ((1 - 4 * a) ** (width / 4) * torch.exp(exponent) + epsilon)
