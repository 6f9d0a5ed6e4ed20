"""Noise of φ(Q)·φ(K), the estimate of exp(Q·K): measured over many projections, compared with the paper's formula.

With F of rows N(0, I) and E = (1/m) Σ exp(F_j·(Q + K) − (|Q|² + |K|²)/2), each term is log-normal with mean
exp(Q·K), so

    Var[E] = (1/m) · exp(2 Q·K) · (exp(|Q + K|²) − 1)

for independent rows. Only F's component along Q + K matters, so every column of F is an estimate for a Q + K along
that axis: one projection with C channels gives C of them.
"""

from math import exp, expm1, inf, sqrt

import numpy as np
import torch
from numpy.typing import NDArray

from models.attention._projection import draw_projection
from sisr.analysis.rows import KernelRow

KS = (0.25, 0.5, 1.0, 2.0, 4.0, 6.0)
COSINES = (-0.5, 0.0, 0.5, 1.0)
DRAWS = 1000
RESAMPLES = 1000


def predicted(squared: float, m: int) -> float:
    """Relative variance by the formula: (exp(|Q + K|²) − 1) / m."""
    return expm1(squared) / m


def expected_spread(squared: float, m: int, estimates: int) -> float:
    """Relative standard deviation of the sample variance of `estimates` independent estimates of m features each.

    From Var[s²]/σ⁴ = (2 + excess kurtosis) / n, and the log-normal's excess kurtosis e^4s + 2e^3s + 3e^2s − 6 with
    s = |Q + K|², which a mean of m independent features divides by m.
    """
    try:
        kurtosis = exp(4 * squared) + 2 * exp(3 * squared) + 3 * exp(2 * squared) - 6
    except OverflowError:
        return inf
    return sqrt((2 + kurtosis / m) / estimates)


def estimates(projections: torch.Tensor, squared: float) -> torch.Tensor:
    """φ(Q)·φ(K) / exp(Q·K) for Q + K along each axis: projections (draws, m, C) → (draws, C), float64.

    F·(Q + K) = |Q + K| times F's entry, and (|Q|² + |K|²)/2 + Q·K = |Q + K|²/2.
    """
    return torch.exp(projections * squared**0.5 - squared / 2).mean(dim=1, dtype=torch.float64)


def kernel_rows(*, channels: int = 64, m: int = 128, draws: int, seed: int = 0, batch: int = 100) -> list[KernelRow]:
    """Mean, variance and quantiles of the estimate for all of `KS` and `COSINES`, both kinds of projection."""
    lengths = sorted({2 * k * (1 + cosine) for k in KS for cosine in COSINES})
    rows = []
    for projection in ("independent", "orthogonal"):
        generator = torch.Generator().manual_seed(seed)
        values: dict[float, list[NDArray[np.float64]]] = {squared: [] for squared in lengths}
        for start in range(0, draws, batch):
            size = min(batch, draws - start)
            drawn = [draw_projection(m, channels, projection == "orthogonal", generator) for _ in range(size)]
            stacked = torch.stack(drawn)
            for squared in lengths:
                values[squared].append(estimates(stacked, squared).numpy())
        statistics = {squared: _statistics(np.concatenate(parts), seed) for squared, parts in values.items()}
        for k in KS:
            for cosine in COSINES:
                squared = 2 * k * (1 + cosine)
                rows.append(
                    KernelRow(
                        projection=projection, channels=channels, m=m, k=k, cosine=cosine, squared=squared,
                        draws=draws, estimates=draws * channels, predicted=predicted(squared, m),
                        expected_spread=expected_spread(squared, m, draws * channels), **statistics[squared],
                    )
                )  # fmt: skip
    return rows


def _statistics(values: NDArray[np.float64], seed: int) -> dict[str, float]:
    """Statistics of estimates (draws, C), with intervals over the draws (estimates of a draw are dependent)."""
    draws, channels = values.shape
    sums = np.stack([values.sum(axis=1), (values**2).sum(axis=1)], axis=1)  # (draws, 2)
    weights = np.random.default_rng(seed).multinomial(draws, np.full(draws, 1 / draws), size=RESAMPLES)
    moments = weights @ sums / (draws * channels)
    variances = moments[:, 1] - moments[:, 0] ** 2
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95])
    mean_low, mean_high = np.quantile(moments[:, 0], [0.025, 0.975])
    variance_low, variance_high = np.quantile(variances, [0.025, 0.975])
    return {
        "mean": float(values.mean()), "mean_low": float(mean_low), "mean_high": float(mean_high),
        "variance": float(values.var()), "variance_low": float(variance_low), "variance_high": float(variance_high),
        "median": float(median), "low": float(low), "high": float(high),
    }  # fmt: skip
