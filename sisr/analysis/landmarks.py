"""Exact and random-feature attention as rows of weights, and statistics of such rows.

ENLA's sums can be reordered without changing the result. With random features φ_j:

    Y(q) = Σ_j w_j(q) · c_j,    c_j = Σ_n p_jn v_n,    p_j = softmax over positions n of log φ_j(k_n),
    w(q) = softmax over features j of log φ_j(q) + log Σ_n φ_j(k_n).

Each row F_j of the projection is the query of one softmax over all positions, which gives a landmark c_j; a query then
is a soft selection among the m landmarks. This holds at every k, and this form cannot overflow.
"""

from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

RELEVANT, IRRELEVANT = (0.0, 0.02), (0.08, 0.10)
"""Ranks, as fractions of N, that the paper's contrastive loss attracts and repels."""
FEW = 8
"""Number of features kept, to test whether few features contribute most of ENLA's sums."""
MANY = 1 << 17
"""Maximum number of cosines for quantiles; larger sets are subsampled."""


@dataclass(frozen=True)
class Landmarks:
    """ENLA of some queries in two steps."""

    choice: Tensor
    """w: (queries, m), each row sums to 1."""
    pooling: Tensor
    """p: (m, N), each row sums to 1."""

    def weights(self) -> Tensor:
        """Effective weights of the queries on the positions: (queries, N), rows sum to 1, rank at most m."""
        return self.choice @ self.pooling

    def output(self, value: Tensor) -> Tensor:
        """ENLA's output: value (N, Cv) → (queries, Cv)."""
        return self.choice @ (self.pooling @ value)


def landmarks(query: Tensor, key: Tensor, projection: Tensor, epsilon: float = 0.0, a: float = 0.0) -> Landmarks:
    """query (queries, C), key (N, C), projection (m, C) → the two steps of ENLA.

    epsilon: added to each feature. a: A of optimal features; 0 for positive ones.
    """
    keys = _log_features(key, projection, epsilon, a).T  # (m, N)
    total = torch.logsumexp(keys, dim=1, keepdim=True)  # (m, 1)
    choice = torch.softmax(_log_features(query, projection, epsilon, a) + total.T, dim=1)
    return Landmarks(choice, torch.exp(keys - total))


def _log_features(x: Tensor, projection: Tensor, epsilon: float, a: float) -> Tensor:
    """log of √m·φ: x (n, C) → (n, m)."""
    logs = x @ projection.T * (1 - 4 * a) ** 0.5 - (x**2).sum(dim=1, keepdim=True) / 2
    if a:
        logs = logs + a * (projection**2).sum(dim=1) + x.shape[1] / 4 * log(1 - 4 * a)
    return torch.logaddexp(logs, logs.new_tensor(epsilon).log()) if epsilon > 0 else logs


def exact_weights(query: Tensor, key: Tensor) -> Tensor:
    """softmax(query keyᵀ): (queries, C), (N, C) → (queries, N)."""
    return torch.softmax(query @ key.T, dim=1)


def comparison(out: Tensor, exact: Tensor, mean: Tensor) -> dict[str, Any]:
    """The columns of `ErrorRow` from outputs (queries, Cv) and the mean value (Cv)."""
    beyond, exact_beyond = out - mean, exact - mean
    return {
        "error": _ratio(out - exact, exact),
        "error_of_mean": _ratio(exact_beyond, exact),
        "error_beyond_mean": _ratio(out - exact, exact_beyond),
        "correlation": _correlation(beyond, exact_beyond),
        "correlation_across": _correlation(out - out.mean(0), exact - exact.mean(0)),
    }


def spread(weights: Tensor, nearest: Tensor, value: Tensor) -> dict[str, Any]:
    """Columns of `AttendedRow`: weights (queries, N), nearest (queries, count) positions, value (N, Cv)."""
    gram = (weights @ weights.T).double()
    out = weights @ value
    beyond = out - value.mean(0)
    return {
        "positions": torch.special.entr(weights).sum(1).exp().mean().item(),
        "participation": (1 / (weights**2).sum(1)).mean().item(),
        "top_share": weights.gather(1, nearest).sum(1).mean().item(),
        # the squared singular values are the eigenvalues of the Gram matrix
        "rank": (gram.trace() ** 2 / (gram**2).sum()).item(),
        "detail": (out.var(0).sum() / value.var(0).sum()).item(),
        "common": ((beyond.mean(0) ** 2).sum() / (beyond**2).sum(1).mean()).item(),
    }


def carried(steps: Landmarks, value: Tensor) -> dict[str, Any]:
    """Columns of `AttendedRow` for ENLA only: effective numbers of features of a query and of buckets."""
    entropy = torch.special.entr(steps.choice).sum(1)  # (queries,)
    used = steps.choice.mean(0)  # (m,)
    information = torch.special.entr(used).sum() - entropy.mean()
    whole = steps.output(value)
    largest = torch.topk(steps.choice, min(FEW, steps.choice.shape[1]), dim=1)
    few = torch.zeros_like(steps.choice).scatter_(1, largest.indices, largest.values)
    rest = Landmarks(few / few.sum(1, keepdim=True), steps.pooling).output(value)
    return {
        "features": entropy.exp().mean().item(),
        "few_error": _ratio(rest - whole, whole),
        "buckets": information.exp().item(),
        "landmark": (used / (steps.pooling**2).sum(1)).sum().item(),
    }


def similarity(logits: Tensor, cosine: Tensor) -> tuple[dict[str, Any], Tensor]:
    """Cosine quantiles and contrastive gap of `AttendedRow`, and the 2 % most similar positions of each query.

    logits (Q·K) and cosine: (queries, N). Returns the columns, and positions (queries, count).
    """
    names = ("cosine_01", "cosine_25", "cosine_50", "cosine_75", "cosine_99")
    values = cosine.flatten()
    step = -(-len(values) // MANY)
    values = values[torch.arange(0, len(values), step)].sort().values
    indices = [round(q * (len(values) - 1)) for q in (0.01, 0.25, 0.5, 0.75, 0.99)]
    quantiles = dict(zip(names, (values[index].item() for index in indices), strict=True))
    N = logits.shape[1]
    ranks = [tuple(round(r * N) for r in fractions) for fractions in (RELEVANT, IRRELEVANT)]
    (first, last), (start, stop) = ((a, max(b, a + 1)) for a, b in ranks)
    best = torch.topk(logits, min(stop, N), dim=1)
    near, far = best.values[:, first:last], best.values[:, start:stop]
    means = [torch.logsumexp(part, 1) - log(part.shape[1]) for part in (near, far)]
    return {**quantiles, "gap": (means[0] - means[1]).mean().item()}, best.indices[:, first:last]


def _ratio(above: Tensor, below: Tensor) -> float:
    return (above.norm() / below.norm()).item()


def _correlation(one: Tensor, two: Tensor) -> float:
    """Σ x·y / (|x| |y|) of vectors whose means have been taken off."""
    return ((one * two).sum() / (one.norm() * two.norm())).item()
