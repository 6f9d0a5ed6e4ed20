"""Whether one mechanism differs from another: the test, and the verdict that a table prints.

A difference is told for other images *and* other trainings of the same kind, so both are random. Two t-tests see one
source each: over trainings (the mean of each run) and over images (the mean of each image). Their squares F₁ and F₂
combine to min F′ = F₁F₂/(F₁ + F₂) (Clark, "The language-as-fixed-effect fallacy", Journal of Verbal Learning and Verbal
Behavior 1973), which is d²/(SE² of trainings + SE² of images) with Satterthwaite's degrees of freedom. What images and
trainings do together is in both errors, so the test errs on the careful side.

Runs with the same seed see the same patches and start from the same weights wherever the mechanism lets them, so where
both mechanisms were trained with the same seeds the runs are pairs, too. docs/compare.md has the measurements.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan

import numpy as np
from numpy.typing import NDArray

from sisr.results import statistics
from sisr.results.statistics import Interval

Matrix = NDArray[np.float64]
LEVEL = 0.05
"""A corrected p-value below this is a difference."""
BY_SIZE = {"psnr": 1.0, "ssim": 0.03}
"""How large a difference must be to be told where the test cannot: several times what another seed changes (0.2 dB at
the preset quick, which is barely trained)."""
SHARE = 0.2
"""The same for networks that both start close to bicubic and were trained with the same seeds, as a share of what the
better one gains over bicubic: four times the standard deviation of such pairs at the preset quick (docs/compare.md)."""
LEAST = {"psnr": 0.05, "ssim": 0.001}
"""The least of that share that is told."""

BETTER, WORSE, SAME, UNTOLD = "better", "worse", "no difference", "cannot be told"


@dataclass(frozen=True)
class Difference:
    """Mean of a mechanism minus that of the reference on one set, with what the test says of it."""

    interval: Interval
    """Over images, and over seeds where there are several."""
    p: float
    """Two-sided; NaN where there is no test."""
    test: str
    """What was tested and how; the reason where there is no test."""
    trainings: bool
    """Whether `p` accounts for the spread between trainings."""
    least: float
    """The smallest difference between any training of the one and any of the other that are compared, in the direction
    of the mean; negative where some go the other way."""
    same_seeds: bool
    """Whether the trainings of both sides have the same seeds, one by one."""


def compare(
    values: Matrix, reference: Matrix, seeds: Sequence[int] = (), reference_seeds: Sequence[int] = ()
) -> Difference:
    """Test the difference of two matrices (runs, images) of the same images.

    seeds: of the runs, row by row; where both sides have the same ones, the runs of a seed are a pair.
    """
    same = len(seeds) == len(values) and list(seeds) == list(reference_seeds)
    paired = same and len(values) > 1
    finite = bool(np.isfinite(values).all() and np.isfinite(reference).all())
    found = statistics.difference(values, reference, same_seeds=same)
    if not finite:
        return Difference(found, nan, "no test: some images were reproduced exactly", False, nan, same)
    one, other = values.mean(axis=1), reference.mean(axis=1)
    apart = one - other if same else np.subtract.outer(one, other)
    least = float((apart * np.sign(found.value)).min())
    if values.shape[1] == 1:
        return Difference(found, nan, "no test: one image only", False, least, same)
    p, how = test(values, reference, paired)
    return Difference(found, p, how, len(values) + len(reference) > 2, least, same)


def test(values: Matrix, reference: Matrix, paired: bool) -> tuple[float, str]:
    """(p-value, what was tested) of finite matrices (runs, images) with at least two images.

    paired: whether run i of the one and run i of the other belong together.
    """
    one, other = values.mean(axis=1), reference.mean(axis=1)
    value, count = float(values.mean() - reference.mean()), values.shape[1]
    images = _one_sample(values.mean(axis=0) - reference.mean(axis=0))
    if len(values) + len(reference) == 2:
        return _p(value, images), f"t-test over {count} images, one training each"
    if paired:
        trainings, how = _one_sample(one - other), f"{len(values)} pairs of trainings"
    else:
        trainings, how = _two_samples(one, other), f"{len(values)} and {len(reference)} trainings"
    # few degrees of freedom can look like many where one source happens to scatter little; alone, each test is exact
    p = max(_p(value, images, trainings), _p(value, images), _p(value, trainings))
    return p, f"min F′ of t-tests over {count} images and {how}, and no less than the p of either"


@dataclass(frozen=True)
class _Error:
    """Standard error of a mean difference from one source, with its degrees of freedom."""

    squared: float
    freedom: float


def _one_sample(values: Matrix) -> _Error:
    return _Error(float(values.var(ddof=1)) / len(values), len(values) - 1)


def _two_samples(one: Matrix, other: Matrix) -> _Error:
    """Student's: the spread between trainings is taken to be the same for both, so one side may have one run only."""
    freedom = len(one) + len(other) - 2
    pooled = (len(one) * float(one.var()) + len(other) * float(other.var())) / freedom
    return _Error(pooled * (1 / len(one) + 1 / len(other)), freedom)


def _p(value: float, *errors: _Error) -> float:
    """Two-sided p-value of a difference whose variance is the sum of the errors (Welch and Satterthwaite)."""
    from scipy.stats import t

    variance = sum(error.squared for error in errors)
    if not variance:
        return 1.0 if value == 0 else 0.0
    freedom = variance**2 / sum(error.squared**2 / error.freedom for error in errors)
    return float(2 * t.sf(abs(value) / variance**0.5, freedom))


def corrected(p: Sequence[float]) -> list[float]:
    """p-values of one table, corrected for their number (Benjamini and Hochberg; NaN stays NaN and is not counted).

    The share of wrong ones among the differences that a table tells is held below `LEVEL` on average.
    """
    from scipy.stats import false_discovery_control

    found = np.asarray(p, dtype=np.float64)
    known = ~np.isnan(found)
    if known.any():
        found[known] = false_discovery_control(found[known], method="bh")
    return [float(value) for value in found]


def verdict(found: Difference, p_corrected: float, bound: float) -> str:
    """`better`, `worse`, `no difference`, or `cannot be told: …` with the reason.

    bound: difference that is told by its size alone (`by_size`).
    """
    value, interval = found.interval.value, found.interval
    if not isfinite(p_corrected):
        return f"{UNTOLD}: {found.test.removeprefix('no test: ')}"
    direction = BETTER if value > 0 else WORSE
    if found.trainings and p_corrected < LEVEL:
        return direction
    one_side = interval.excludes_zero and (interval.low > 0) == (value > 0)
    if one_side and found.least > 0 and abs(value) > bound:
        return direction
    if p_corrected >= LEVEL:
        return SAME
    return f"{UNTOLD}: it differs on these images, but one training each does not tell it from another seed"


def by_size(quantity: str, above_bicubic: float | None, alike: bool) -> float:
    """The difference that is told by its size alone, whatever another seed would have changed.

    quantity: `psnr` or `ssim`. above_bicubic: mean of the better one minus that of bicubic on the same images; where it
    was not measured (None), nothing is told by its size. alike: both networks start close to bicubic (initialisation
    by interpolation) and were trained with the same seeds.

    `BY_SIZE`; more below bicubic, where a network has hardly been trained and seeds may differ by whole decibels: twice
    what it lacks is added; less (`SHARE`, at least `LEAST`) for networks that are alike.
    """
    if above_bicubic is None or not isfinite(above_bicubic):
        return inf
    if alike and above_bicubic > 0:
        return min(BY_SIZE[quantity], max(LEAST[quantity], SHARE * above_bicubic))
    return BY_SIZE[quantity] + 2 * max(0.0, -above_bicubic)
