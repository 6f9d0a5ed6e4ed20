"""The contrastive loss of ENLCA: attracts the most similar keys of a query and repels the less similar ones.

"Efficient Non-Local Contrastive Attention for Image Super-Resolution" (AAAI 2022, arXiv 2201.03794):
T = Q Kᵀ, T' = each row of T in descending order,

    L = mean over rows of max(0, −log(mean of exp T' over the relevant ranks / mean over the irrelevant ranks) + b)

The reference implementation (`reference_loss`) sorts the exponentials of all N x N entries. Only the largest few of
each row matter, and exp preserves their order. `contrastive_loss` therefore processes a block of rows at a time,
selects the largest logits, and computes the gradient in the same pass: memory grows with N, not with N².
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Range = Sequence[int | float]
CPU_BLOCK = 1 << 18  # logits in one block: 1 MB in float32, which fits the cache
GPU_BLOCK = 1 << 24  # 64 MB, so that launching kernels does not dominate


def check_range(name: str, ranks: Range) -> tuple[int | float, int | float]:
    """A range of ranks (start, stop), each a whole number or a fraction of N below 1; else ValueError."""
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
    """Whole ranks (start, stop) among N keys; fractions are rounded. ValueError if the range is empty."""
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
        margin: b in the formula, the target difference of the logarithms of the two means.

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
    """The loss and its gradients for query and key. A custom operator, so that torch.compile does not unroll it."""
    B, N, _ = query.shape
    M = key.shape[1]
    grad_query, grad_key = torch.empty_like(query), torch.zeros_like(key)
    total = query.new_zeros(())
    block = GPU_BLOCK if query.is_cuda else CPU_BLOCK
    images, rows = max(1, block // (N * M)), max(1, min(N, block // M))
    with torch.autocast(query.device.type, enabled=False):
        for b in range(0, B, images):
            keys = key[b : b + images]
            for n in range(0, N, rows):
                queries = query[b : b + images, n : n + rows]
                logits = queries @ keys.transpose(1, 2)  # (images, rows, M)
                loss, weights = _sorted_rows(logits, near, far, margin) or _selected_rows(logits, near, far, margin)
                total += loss
                weights /= B * N
                grad_query[b : b + images, n : n + rows] = weights @ keys
                grad_key[b : b + images].baddbmm_(weights.transpose(1, 2), queries)
    return total / (B * N), grad_query, grad_key


def _selected_rows(logits: Tensor, near: list[int], far: list[int], margin: float) -> tuple[Tensor, Tensor]:
    """Logits (…, rows, M) → the sum of the rows' losses and its gradient, from the positions of the largest logits."""
    top, positions = torch.topk(logits, max(near[1], far[1]))
    relevant, irrelevant = top[..., near[0] : near[1]], top[..., far[0] : far[1]]
    loss, active = _hinge(torch.logsumexp(relevant, -1), torch.logsumexp(irrelevant, -1), near, far, margin)
    slopes = torch.zeros_like(top)
    slopes[..., near[0] : near[1]] -= torch.softmax(relevant, -1) * active
    slopes[..., far[0] : far[1]] += torch.softmax(irrelevant, -1) * active
    return loss, torch.zeros_like(logits).scatter_(-1, positions, slopes)


def _sorted_rows(logits: Tensor, near: list[int], far: list[int], margin: float) -> tuple[Tensor, Tensor] | None:
    """The same from the values alone, on the CPU; None where equal values make the ranks ambiguous.

    numpy's vectorised partition and sort of values are ten times faster than torch.topk. A range of ranks becomes an
    interval of values: all logits between the smallest and the largest value of the range belong to it.
    """
    if logits.device.type != "cpu":
        return None
    M = logits.shape[-1]
    ordered = _largest(logits, min(max(near[1], far[1]) + 1, M))
    K = ordered.shape[-1]
    # a boundary at rank r lies between the r-th and the next largest value, and these must differ
    for rank in {*near, *far} - {0, M}:
        if bool((ordered[..., K - rank] == ordered[..., K - rank - 1]).any()):
            return None
    largest = ordered[..., -1:]
    relevant, irrelevant = ordered[..., K - near[1] : K - near[0]], ordered[..., K - far[1] : K - far[0]]
    evidence = torch.logsumexp(relevant, -1), torch.logsumexp(irrelevant, -1)
    if bool((largest[..., 0] - evidence[1] > 80).any()):  # the exponential below would overflow float32
        return None
    loss, active = _hinge(*evidence, near, far, margin)
    weights, mask = torch.zeros_like(logits), torch.empty_like(logits)
    ranges = [(near, relevant, evidence[0], -1.0), (far, irrelevant, evidence[1], 1.0)]
    # higher ranks first: their excess above the range is subtracted before smaller terms are added
    for ranks, selected, log_sum, sign in sorted(ranges, key=lambda entry: entry[0], reverse=True):
        factor = torch.exp(largest - log_sum.unsqueeze(-1)) * (sign * active)  # (…, rows, 1)
        weights.addcmul_(torch.ge(logits, selected[..., :1], out=mask), factor)
        if ranks[0] > 0:
            weights.addcmul_(torch.gt(logits, selected[..., -1:], out=mask), factor, value=-1)
    return loss, weights.mul_(torch.exp_(logits.sub_(largest)))


def _largest(logits: Tensor, count: int) -> Tensor:
    """The largest values of each row (…, count), smallest first."""
    values = logits.numpy().copy()
    if count < values.shape[-1]:
        values.partition(-count, axis=-1)
        values = values[..., -count:].copy()
    values.sort(axis=-1)
    return torch.from_numpy(values)


def _hinge(
    relevant: Tensor, irrelevant: Tensor, near: list[int], far: list[int], margin: float
) -> tuple[Tensor, Tensor]:
    """Log-sums of the two ranges (…, rows) → the sum of the losses, and (…, rows, 1): 1 where the loss is positive."""
    margin += math.log((near[1] - near[0]) / (far[1] - far[0]))  # from sums to means
    loss = F.relu(irrelevant - relevant + margin)
    return loss.sum(), (loss > 0).to(loss.dtype).unsqueeze(-1)


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
    """Reference implementation: exp of all entries, a full sort, two means."""
    N = key.shape[1]
    near, far = resolve_range("relevant", relevant, N), resolve_range("irrelevant", irrelevant, N)
    similarity = torch.exp(query @ key.transpose(1, 2))
    ordered = torch.sort(similarity, dim=-1, descending=True)[0]
    relevant_mean = ordered[..., near[0] : near[1]].mean(dim=-1)
    irrelevant_mean = ordered[..., far[0] : far[1]].mean(dim=-1)
    return F.relu(-torch.log(relevant_mean / irrelevant_mean) + margin).mean()
