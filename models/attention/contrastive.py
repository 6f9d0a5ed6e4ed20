"""The contrastive loss of ENLCA: draws a query's most similar keys nearer and pushes the less similar ones away.

"Efficient Non-Local Contrastive Attention for Image Super-Resolution" (AAAI 2022, arXiv 2201.03794):
T = Q Kᵀ, T' = each row of T in descending order,

    L = mean over rows of max(0, −log(mean of exp T' over the relevant ranks / mean over the irrelevant ranks) + b)

The written-out form (`reference_loss`) sorts the exponentials of all N x N entries. Only the few best of each row
matter, and exp keeps their order, so this one looks at a block of rows at a time, picks the best entries of their
logits, and builds the gradient on the way: memory grows with N, not with N².
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Range = Sequence[int | float]
CPU_BLOCK = 1 << 19  # logits worked on at once: 2 MB in float32, which stay in the cache
GPU_BLOCK = 1 << 24  # 64 MB, so that launching kernels does not dominate


def check_range(name: str, ranks: Range) -> tuple[int | float, int | float]:
    """A range of ranks (start, stop), each a whole number or a fraction of N below 1; ValueError if it is neither."""
    try:
        start, stop = ranks
        fine = all(float(r).is_integer() or 0 < r < 1 for r in (start, stop)) and start >= 0 and stop > 0
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise ValueError(f"{name} must be (start, stop): whole ranks or fractions of N below 1, not {ranks!r}")
    if isinstance(start, float) == isinstance(stop, float) and start >= stop:
        raise ValueError(f"{name} must start before it stops, not {ranks!r}")
    return start, stop


def resolve_range(name: str, ranks: Range, N: int) -> tuple[int, int]:
    """Whole ranks (start, stop) among N keys; a fraction is rounded to the nearest rank. ValueError if none is left."""
    start, stop = (round(r * N) if isinstance(r, float) and r <= 1 else int(r) for r in check_range(name, ranks))
    if not 0 <= start < stop <= N:
        raise ValueError(
            f"{name} {tuple(ranks)} selects ranks {start} to {stop} of {N} keys: use a larger patch or other ranks"
        )
    return start, stop


def contrastive_loss(query: Tensor, key: Tensor, relevant: Range, irrelevant: Range, margin: float = 1.0) -> Tensor:
    """Contrastive loss of query and key (B, N, C), whose products are k·cos → a scalar in float32 (or float64).

    Args:
        relevant, irrelevant: ranks (start, stop) in each row of query keyᵀ, largest first; whole numbers or, as floats
            below 1, fractions of N. Paper: (0, 0.02) and (0.08, 0.10). Released code: (0, 15) and (50, 65).
        margin: b in the formula, at least this far apart the logarithms of the two means should be.

    Raises ValueError when N is too small for the ranges.
    """
    N = key.shape[1]
    near, far = resolve_range("relevant", relevant, N), resolve_range("irrelevant", irrelevant, N)
    dtype = torch.promote_types(query.dtype, torch.float32)
    loss, _, _ = _loss_and_gradients(query.to(dtype), key.to(dtype), [*near], [*far], float(margin))
    return loss


@torch.library.custom_op("sisr_models::contrastive_loss", mutates_args=())
def _loss_and_gradients(
    query: Tensor, key: Tensor, near: list[int], far: list[int], margin: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss and its gradients for query and key. One opaque operator, so that torch.compile need not unroll it."""
    B, N, _ = query.shape
    M = key.shape[1]
    grad_query, grad_key = torch.empty_like(query), torch.zeros_like(key)
    total = query.new_zeros(())
    block = GPU_BLOCK if query.is_cuda else CPU_BLOCK
    images, rows = max(1, block // (N * M)), max(1, min(N, block // M))
    best = max(near[1], far[1])
    with torch.autocast(query.device.type, enabled=False):
        for b in range(0, B, images):
            keys = key[b : b + images]
            for n in range(0, N, rows):
                queries = query[b : b + images, n : n + rows]
                top, places = torch.topk(queries @ keys.transpose(1, 2), best)  # (images, rows, best)
                loss, slopes = _rows(top, near, far, margin)
                total += loss
                weights = top.new_zeros(*queries.shape[:2], M).scatter_(2, places, slopes / (B * N))
                grad_query[b : b + images, n : n + rows] = weights @ keys
                grad_key[b : b + images].baddbmm_(weights.transpose(1, 2), queries)
    return total / (B * N), grad_query, grad_key


def _rows(top: Tensor, near: list[int], far: list[int], margin: float) -> tuple[Tensor, Tensor]:
    """Logits (…, best), largest first → the sum of the rows' losses, and its slope at each logit."""
    relevant, irrelevant = top[..., near[0] : near[1]], top[..., far[0] : far[1]]
    margin += math.log((near[1] - near[0]) / (far[1] - far[0]))  # from sums to means
    loss = F.relu(torch.logsumexp(irrelevant, -1) - torch.logsumexp(relevant, -1) + margin)
    active = (loss > 0).to(top.dtype).unsqueeze(-1)
    slopes = torch.zeros_like(top)
    slopes[..., near[0] : near[1]] -= torch.softmax(relevant, -1) * active
    slopes[..., far[0] : far[1]] += torch.softmax(irrelevant, -1) * active
    return loss.sum(), slopes


@_loss_and_gradients.register_fake
def _(query: Tensor, key: Tensor, near: list[int], far: list[int], margin: float) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(()), torch.empty_like(query), torch.empty_like(key)


def _keep_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output[1:])


def _backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    query, key = ctx.saved_tensors
    return grad * query, grad * key, None, None, None


torch.library.register_autograd(_loss_and_gradients, _backward, setup_context=_keep_gradients)


def reference_loss(query: Tensor, key: Tensor, relevant: Range, irrelevant: Range, margin: float = 1.0) -> Tensor:
    """The written-out twin: exp of everything, a full sort, two means."""
    N = key.shape[1]
    near, far = resolve_range("relevant", relevant, N), resolve_range("irrelevant", irrelevant, N)
    similarity = torch.exp(query @ key.transpose(1, 2))
    ordered = torch.sort(similarity, dim=-1, descending=True)[0]
    relevant_mean = ordered[..., near[0] : near[1]].mean(dim=-1)
    irrelevant_mean = ordered[..., far[0] : far[1]].mean(dim=-1)
    return F.relu(-torch.log(relevant_mean / irrelevant_mean) + margin).mean()
