"""ENLA's forward pass as two Triton kernels that keep the features on the chip. Imported on demand only.

The first kernel sums φ(K)ᵀ [V, 1] over a share of the tokens, the second applies φ(Q) to the total and divides. Logits
and exp are float32; with bfloat16 input the projection is split into two bfloat16 parts whose products are added, which
keeps the logits' precision on tensor cores. Forward only; `random_feature_attention` in enla.py is the reference.
Tested in Triton's interpreter (TRITON_INTERPRET=1). The interpreter multiplies bfloat16 wrongly, so products are
widened there.
"""

# mypy: disable-error-code="no-untyped-def"

import math
import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TOKENS = {torch.float32: 32, torch.bfloat16: 64}  # of a tile, limited by the shared memory of common GPUs
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
SHARES = 64  # maximum number of programs for one image


@triton.jit
def _dot(a, b, WIDEN: tl.constexpr):
    if WIDEN:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _logits(x, high, low, SPLIT: tl.constexpr, WIDEN: tl.constexpr):
    """x (tokens, width) and directions (width, m) → float32 (tokens, m)."""
    logits = _dot(x, high, WIDEN)
    if SPLIT:
        logits += _dot(x, low, WIDEN)
    return logits


@triton.jit
def _context_kernel(
    key,
    value,
    high,
    low,
    context,
    normaliser,
    N,
    m,
    width,
    columns,
    share,
    epsilon,
    TOKENS: tl.constexpr,
    M: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    SPLIT: tl.constexpr,
    WIDEN: tl.constexpr,
):
    """One image (axis 0), one share of its tokens (axis 1), one block of value columns (axis 2)."""
    image, part, block = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    parts = tl.num_programs(1)
    features, channels = tl.arange(0, M), tl.arange(0, WIDTH)
    column = block * COLUMNS + tl.arange(0, COLUMNS)
    known = (channels[:, None] < width) & (features[None, :] < m)
    direction = channels[:, None] * m + features[None, :]
    directions_high = tl.load(high + direction, mask=known, other=0.0)
    directions_low = tl.load(low + direction, mask=known, other=0.0)
    total = tl.zeros((M, COLUMNS), dtype=tl.float32)
    weight = tl.zeros((M,), dtype=tl.float32)
    for start in range(part * share, part * share + share, TOKENS):
        token = start + tl.arange(0, TOKENS)
        inside = (token < N) & (token < part * share + share)
        row = image.to(tl.int64) * N + token
        keys = tl.load(
            key + row[:, None] * width + channels[None, :],
            mask=inside[:, None] & (channels[None, :] < width),
            other=0.0,
        )
        phi = tl.exp(_logits(keys, directions_high, directions_low, SPLIT, WIDEN)) + epsilon
        phi = tl.where(inside[:, None] & (features[None, :] < m), phi, 0.0)
        values = tl.load(
            value + row[:, None] * columns + column[None, :],
            mask=inside[:, None] & (column[None, :] < columns),
            other=0.0,
        )
        total += _dot(tl.trans(phi.to(values.dtype)), values, WIDEN)
        weight += tl.sum(phi, axis=0)
    place = image.to(tl.int64) * parts + part
    tl.store(
        context + (place * m + features[:, None]) * columns + column[None, :],
        total,
        mask=(features[:, None] < m) & (column[None, :] < columns),
    )
    if block == 0:
        tl.store(normaliser + place * m + features, weight, mask=features < m)


@triton.jit
def _output_kernel(
    query,
    context,
    normaliser,
    high,
    low,
    out,
    N,
    m,
    width,
    columns,
    epsilon,
    TOKENS: tl.constexpr,
    M: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    SPLIT: tl.constexpr,
    WIDEN: tl.constexpr,
):
    """One tile of tokens (axis 0) of one image (axis 1), one block of value columns (axis 2)."""
    tile, image, block = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2)
    features, channels = tl.arange(0, M), tl.arange(0, WIDTH)
    column = block * COLUMNS + tl.arange(0, COLUMNS)
    token = tile * TOKENS + tl.arange(0, TOKENS)
    row = image * N + token
    known = (channels[:, None] < width) & (features[None, :] < m)
    direction = channels[:, None] * m + features[None, :]
    queries = tl.load(
        query + row[:, None] * width + channels[None, :],
        mask=(token[:, None] < N) & (channels[None, :] < width),
        other=0.0,
    )
    logits = _logits(
        queries,
        tl.load(high + direction, mask=known, other=0.0),
        tl.load(low + direction, mask=known, other=0.0),
        SPLIT,
        WIDEN,
    )
    phi = tl.where(features[None, :] < m, tl.exp(logits) + epsilon, 0.0)
    kept = (features[:, None] < m) & (column[None, :] < columns)
    values = tl.load(context + (image * m + features[:, None]) * columns + column[None, :], mask=kept, other=0.0)
    weights = tl.load(normaliser + image * m + features, mask=features < m, other=0.0)
    above = _dot(phi.to(values.dtype), values, WIDEN)
    below = tl.sum(phi * weights[None, :], axis=1)
    tl.store(
        out + row[:, None] * columns + column[None, :],
        (above / below[:, None]).to(out.dtype.element_ty),
        mask=(token[:, None] < N) & (column[None, :] < columns),
    )


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, projection: Tensor, k: float, epsilon: float = 1e-4
) -> Tensor:
    """`random_feature_attention` without gradients, for float32 or bfloat16 tensors of one dtype: (B, N, Cv)."""
    B, N, width = query.shape
    m, columns = projection.shape[0], value.shape[-1]
    dtype = value.dtype
    query, key, value = query.to(dtype).contiguous(), key.to(dtype).contiguous(), value.contiguous()
    directions = projection.float().t().contiguous()  # (width, m)
    high = directions.to(dtype)
    low = (directions - high.float()).to(dtype)
    tile = TOKENS[dtype]
    parts = min(SHARES, math.ceil(N / tile))
    share = math.ceil(math.ceil(N / parts) / tile) * tile
    parts = math.ceil(N / share)
    context = torch.empty(B, parts, m, columns, device=query.device)
    normaliser = torch.empty(B, parts, m, device=query.device)
    sizes: dict[str, Any] = {
        "TOKENS": tile,
        "M": _tile(m),
        "WIDTH": _tile(width),
        "COLUMNS": min(64, _tile(columns)),
        "SPLIT": dtype == torch.bfloat16,
        "WIDEN": INTERPRETED,
    }
    blocks = math.ceil(columns / sizes["COLUMNS"])
    epsilon *= math.exp(k / 2)
    _context_kernel[(B, parts, blocks)](
        key, value, high, low, context, normaliser, N, m, width, columns, share, epsilon, **sizes
    )
    total, weight = context.sum(1).to(dtype), normaliser.sum(1)
    out = torch.empty_like(value)
    _output_kernel[(math.ceil(N / tile), B, blocks)](
        query, total, weight, high, low, out, N, m, width, columns, epsilon, **sizes
    )
    return out


def _tile(size: int) -> int:
    """The next power of two, at least the 16 that a matrix product on tensor cores needs."""
    return max(16, 1 << (size - 1).bit_length())
