"""The constant A of optimal positive random features (Likhosherstov et al., "Chefs' Random Tables", NeurIPS 2022,
arXiv 2205.15317), chosen for the normalised output of attention.

    φ(x) = D exp(A |w|² + B w·x − |x|²/2),   B = √(1 − 4A),   D = (1 − 4A)^(d/4),   w ~ N(0, I),   A ≤ 0

E[φ(x) φ(y)] = exp(x·y) for every A < 1/8, and with ρ = 1 − 8A

    Var[φ(x) φ(y)] / exp(2 x·y) = ((1 + ρ)² / 4ρ)^(d/2) · exp(|x + y|² / ρ) − 1.

The paper minimises the mean of the logarithm, which for a known s = E|x + y|² gives
ρ = (d + 2s + √((d + 2s)² + 8ds)) / 2d. Attention divides by the sum of its weights: to first order, and for values that
are independent of each other, the squared error of its output is the variance of each weight times the weight squared.
With |q|² = |k|² = k and uniformly distributed directions, positions therefore count by exp(2 q·k) and by their
variance, exp(2k(1 + cos)/ρ): the minimum is at the ρ of s = 2k(1 + c), where c is the mean cosine under the density
exp(2k(1 + 1/ρ) cos) on the sphere.
`optimal_a` solves this by iteration. docs/random-features.md compares it with other A.
"""

import math


def optimal_a(k: float, width: int) -> float:
    """A for queries and keys of length √k in `width` dimensions; at most 0, and 0 for k → 0."""
    rho = 1.0
    for _ in range(100):
        cosine = mean_cosine(width, 2 * k * (1 + 1 / rho))
        rho, before = closest_rho(width, 2 * k * (1 + cosine)), rho
        if abs(rho - before) < 1e-12 * rho:
            break
    return (1 - rho) / 8


def closest_rho(width: int, squared: float) -> float:
    """ρ = 1 − 8A of the smallest variance for |x + y|² = `squared`."""
    linear = width + 2 * squared
    return (linear + math.sqrt(linear**2 + 8 * width * squared)) / (2 * width)


def relative_variance(a: float, squared: float, width: int) -> float:
    """Variance of one feature's φ(x) φ(y), divided by exp(2 x·y), for |x + y|² = `squared`; infinite if A ≥ 1/8."""
    rho = 1 - 8 * a
    if rho <= 0:
        return math.inf
    return math.expm1(width / 2 * math.log((1 + rho) ** 2 / (4 * rho)) + squared / rho)


def mean_cosine(width: int, concentration: float) -> float:
    """Mean of cos under the density exp(concentration · cos) on the sphere: I_{d/2} / I_{d/2 − 1}.

    The ratio of Bessel functions as a continued fraction (NIST DLMF 10.33.1).
    """
    ratio = 0.0
    for order in range(width // 2 + math.ceil(concentration) + 50, 0, -1):
        ratio = 1 / (2 * (width / 2 - 1 + order) / concentration + ratio)
    return ratio
