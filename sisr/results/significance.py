"""Intervals of means and differences, and the one rule that decides whether a difference is significant.

Every table, the comparison and the claims use these functions, so that the printed interval and the verdict come from
the same calculation.

**Model.** A value is measured for one training run (seed s) on one image i. Both are random: a statement is meant for
other images and other training runs of the same kind. The difference of two settings is

    d[s, i] = mean + seed[s] + image[i] + residual[s, i].

With S seeds and I images, and the mean squares of the two-way analysis of variance without replication, the squared
standard error of the mean difference is

    SE² = MS_images / (S·I) + MS_seeds / (S·I) − MS_residual / (S·I).

The first two terms are the squared standard errors over images and over training runs. Each of them contains the
residual, hence the subtraction; the sum is never taken to be less than the larger of the two.

**Interval.** difference ± t·SE with Satterthwaite's degrees of freedom. With few seeds these degrees of freedom are
overestimated when the seeds happen to agree, so the interval is never narrower than that over images alone (I − 1
degrees of freedom) or over training runs alone. The p-value is that of the same interval. Simulated coverage is 94 to
97 %; it rises to 99 % where the residual is all there is (docs/compare.md has the figures).

**Training runs.** Where both sides have the same seeds, the runs are pairs, and the variance of training runs is that
of setting × seed after the means of settings and of seeds are taken out, pooled over all settings of the table that
have these seeds. This assumes that all settings vary alike; docs/compare.md has the error where one does not. Where the
seeds differ, it is Student's pooled variance of the two sides. With one seed on either side it is unknown: the interval
covers images only, and there is no p-value.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05
MARGINS = {"psnr": (0.02, "dB"), "ssim": (0.0005, "")}
"""Differences below these are called equivalent."""
BETTER, WORSE, EQUIVALENT, INCONCLUSIVE = "better", "worse", "equivalent", "inconclusive"
VERDICTS = (BETTER, WORSE, EQUIVALENT, INCONCLUSIVE)
IMAGES, BOTH = "95 %, images only", "95 %, images and seeds"
ONE_SEED = "one seed: the interval covers images only"

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    """What one setting reached on one set of images."""

    values: Matrix
    """(seeds, images)."""
    seeds: tuple[int, ...] = ()
    """Seed of each row; empty for a control, which is not trained and has one row."""


@dataclass(frozen=True)
class Component:
    """A squared standard error (or a variance) with its degrees of freedom."""

    squared: float
    freedom: float


@dataclass(frozen=True)
class Estimate:
    """A mean, or a mean difference, with its 95 % interval."""

    value: float
    """Infinite for the PSNR of images that were reproduced exactly; NaN where no mean exists."""
    low: float
    high: float
    """Ends of the interval; NaN where there is none."""
    se_images: float
    se_trainings: float
    """Standard errors over images and over training runs; NaN where unknown."""
    freedom: float
    """Satterthwaite's degrees of freedom."""
    p: float
    """Two-sided p-value of the hypothesis that the true value is zero; NaN where training runs are not covered."""
    seeds: int
    """The smaller number of the two sides; 0 for controls."""
    images: int
    covers: str
    """`IMAGES`, `BOTH`, or blank where there is no interval."""
    note: str = ""
    """Why there is no interval, or what it does not cover."""


def mean(sample: Sample | ArrayLike) -> Estimate:
    """Mean over seeds and images of a sample, or of values (images,) or (seeds, images); infinite PSNR is allowed.

    Raises ValueError for an empty matrix or one with NaN.
    """
    if not isinstance(sample, Sample):
        values = _matrix(sample)
        sample = Sample(values, tuple(range(len(values))))
    values = _matrix(sample.values)
    if not np.isfinite(values).all():
        exact = int((~np.isfinite(values)).any(axis=0).sum())
        note = f"{exact} of {values.shape[1]} images reproduced exactly: the mean is infinite and has no interval"
        return _blank(inf if (values > 0).all() else nan, len(sample.seeds), values.shape[1], note)
    return _estimate(float(values.mean()), values.shape[1], len(sample.seeds), *_two_way(values))


def difference(one: Sample, other: Sample, pool: Sequence[Sample] = ()) -> Estimate:
    """Mean of one setting minus that of another, on the same images in the same order.

    pool: all settings of the table on this set, these two among them, for the variance of training runs.
    Raises ValueError for matrices that are empty, have NaN, or differ in images.
    """
    first, second = _matrix(one.values), _matrix(other.values)
    images = first.shape[1]
    if images != second.shape[1]:
        raise ValueError(f"a paired difference needs the same images, not {images} and {second.shape[1]}")
    seeds = min((len(each.seeds) for each in (one, other) if each.seeds), default=0)
    infinite = ~(np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0))
    if infinite.any():
        return _blank(nan, seeds, images, f"{int(infinite.sum())} of {images} images reproduced exactly")
    if not (one.seeds and other.seeds) or one.seeds == other.seeds:
        value, parts = float((first - second).mean()), _two_way(first - second)
        if seeds > 1 and one.seeds == other.seeds:
            alike = [each for each in pool if each.seeds == one.seeds]
            variance = interaction(alike if len(alike) > 1 else [one, other])
            parts = parts[0], Component(2 * variance.squared / seeds, variance.freedom), parts[2]
    else:
        value, parts = float(first.mean() - second.mean()), _two_groups(first, second)
    return _estimate(value, images, seeds, *parts)


def interaction(pool: Iterable[Sample]) -> Component:
    """Variance of setting × seed of the mean over images, pooled over samples that have the same seeds."""
    means = np.stack([each.values.mean(axis=1) for each in pool if np.isfinite(each.values).all()])  # (settings, seeds)
    freedom = (means.shape[0] - 1) * (means.shape[1] - 1)
    return Component(float((_centred(means) ** 2).sum()) / freedom if freedom else nan, freedom)


def corrected(p: Sequence[float]) -> list[float]:
    """p-values of one table after the correction of Benjamini and Hochberg; NaN stays NaN and is not counted.

    Of the differences that a table calls significant, at most 5 % are wrong on average.
    """
    from scipy.stats import false_discovery_control

    found = np.asarray(p, dtype=np.float64)
    known = ~np.isnan(found)
    if known.any():
        found[known] = false_discovery_control(found[known], method="bh")
    return [float(value) for value in found]


def verdict(low: float, high: float, p_corrected: float, quantity: str = "psnr") -> str:
    """The verdict on a difference, from its interval and its p-value after correction.

    `better` or `worse` where the p-value is below 0.05, with `by less than 0.02 dB` where the whole interval lies
    within it; else `equivalent within ±0.02 dB` where the whole interval lies within; else `inconclusive`.
    Without a p-value (one seed, one image) it is `inconclusive`.
    """
    if not (isfinite(low) and isfinite(high) and isfinite(p_corrected)):
        return INCONCLUSIVE
    margin, unit = MARGINS[quantity]
    size = f"{margin:g} {unit}".strip()
    within = -margin < low and high < margin
    if p_corrected < LEVEL:
        return (BETTER if low + high > 0 else WORSE) + (f" by less than {size}" if within else "")
    return f"{EQUIVALENT} within ±{size}" if within else INCONCLUSIVE


def half_width(images: Component, trainings: Component | None, joint: float, level: float, power: float = 0.5) -> float:
    """Half the width of the interval at `1 − level`; with `power`, the true difference that is found so often."""
    from scipy.special import stdtrit  # quantiles of Student's t

    return max(
        float(stdtrit(part.freedom, power) - stdtrit(part.freedom, level / 2)) * sqrt(part.squared)
        for part in _parts(images, trainings, joint)
    )


def _parts(images: Component, trainings: Component | None, joint: float) -> list[Component]:
    """Both components together, with Satterthwaite's degrees of freedom, and each alone."""
    if trainings is None:
        return [images]
    alone = [images, trainings]
    both = images.squared + trainings.squared
    spread = sum(part.squared**2 / part.freedom for part in alone)
    freedom = both**2 / spread if spread else trainings.freedom
    return [Component(max(both - joint, images.squared, trainings.squared), freedom), *alone]


def _estimate(
    value: float, images: int, seeds: int, over_images: Component | None, trainings: Component | None, joint: float
) -> Estimate:
    if over_images is None:
        return _blank(value, seeds, images, "one image only: no interval")
    half = half_width(over_images, trainings, joint, LEVEL)
    se_trainings = sqrt(trainings.squared) if trainings else nan
    parts = _parts(over_images, trainings, joint)
    p = nan if seeds == 1 else max(_p(value, part) for part in parts)
    return Estimate(
        value, value - half, value + half, sqrt(over_images.squared), se_trainings, parts[0].freedom, p, seeds, images,
        BOTH if trainings else IMAGES, ONE_SEED if seeds == 1 else "",
    )  # fmt: skip


def _blank(value: float, seeds: int, images: int, note: str) -> Estimate:
    return Estimate(value, nan, nan, nan, nan, nan, nan, seeds, images, "", note)


def _p(value: float, part: Component) -> float:
    from scipy.special import stdtr

    if not part.squared:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(part.freedom, -abs(value) / sqrt(part.squared)))


def _matrix(values: ArrayLike) -> Matrix:
    matrix = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"expected (images,) or (seeds, images) with at least one value, got {matrix.shape}")
    if np.isnan(matrix).any():
        raise ValueError("a value is not a number; its evaluation failed")
    return matrix


def _centred(matrix: Matrix) -> Matrix:
    """The residuals after the means of rows and of columns are taken out."""
    rows, columns = matrix.mean(axis=1, keepdims=True), matrix.mean(axis=0, keepdims=True)
    return np.asarray(matrix - rows - columns + matrix.mean())


def _over_images(values: Matrix) -> Component | None:
    count = len(values)
    return Component(float(values.var(ddof=1)) / count, count - 1) if count > 1 else None


def _two_way(values: Matrix) -> tuple[Component | None, Component | None, float]:
    """Squared standard errors over images and over seeds, and that of the residual, of one matrix (seeds, images)."""
    seeds, images = values.shape
    over_images = _over_images(values.mean(axis=0))
    if seeds == 1 or images == 1:
        return over_images, None, 0.0
    trainings = Component(float(values.mean(axis=1).var(ddof=1)) / seeds, seeds - 1)
    residual = float((_centred(values) ** 2).sum()) / ((seeds - 1) * (images - 1))
    return over_images, trainings, residual / (seeds * images)


def _two_groups(one: Matrix, other: Matrix) -> tuple[Component | None, Component | None, float]:
    """The same for the difference of two matrices with other seeds; the spread of both is taken to be the same."""
    images, freedom = one.shape[1], len(one) + len(other) - 2
    over_images = _over_images(one.mean(axis=0) - other.mean(axis=0))
    if min(len(one), len(other)) == 1 or images == 1:
        return over_images, None, 0.0
    runs = 1 / len(one) + 1 / len(other)
    squares = sum(float(((values.mean(axis=1) - values.mean()) ** 2).sum()) for values in (one, other))
    residual = sum(float((_centred(values) ** 2).sum()) for values in (one, other)) / (freedom * (images - 1))
    return over_images, Component(squares / freedom * runs, freedom), residual / images * runs
