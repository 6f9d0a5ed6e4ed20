"""How many trainings it takes to tell a difference of so many decibels, from the spread between seeds and images.

The test is that of `sisr.results.significance`: the squared error of a difference is that over images, which more
seeds do not change, plus that over trainings, which falls with their number.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt

import numpy as np
from numpy.typing import NDArray

LEVEL, POWER = 0.05, 0.8
MOST = 1000
"""More seeds than this are not looked for."""


@dataclass(frozen=True)
class Spread:
    """How much figures vary that should be the same."""

    seeds: float
    """Standard deviation, in dB, of the mean PSNR of a set between trainings that differ in their seed only; NaN where
    nothing was trained twice."""
    freedom: int
    """Degrees of freedom of it: trainings less settings."""
    images: float
    """Standard deviation, in dB, between images of the difference of two settings; NaN with fewer than two images."""
    count: int
    """Images of the set."""


def spread(settings: Iterable[NDArray[np.float64]], differences: Iterable[NDArray[np.float64]], count: int) -> Spread:
    """Spread on one set.

    Args:
        settings: (seeds, images) of each setting; those with one seed say nothing of seeds.
        differences: (images,) of each pair of settings that is compared: mean over seeds of one minus the other's.
        count: images of the set.
    """
    squares, freedom = 0.0, 0
    for values in settings:
        if len(values) > 1 and np.isfinite(values).all():
            means = values.mean(axis=1)
            squares += float(((means - means.mean()) ** 2).sum())
            freedom += len(means) - 1
    deviations = [float(each.std(ddof=1)) for each in differences if len(each) > 1 and np.isfinite(each).all()]
    return Spread(
        seeds=sqrt(squares / freedom) if freedom else nan,
        freedom=freedom,
        images=float(np.median(deviations)) if deviations else nan,
        count=count,
    )


def seeds_needed(effect: float, found: Spread, level: float = LEVEL, power: float = POWER) -> float:
    """Trainings of each of two settings after which a true difference of `effect` dB is told in 80 of 100 cases.

    Returns:
        A whole number from 2 on; infinite where the images alone hide the effect, or where more than 1,000 would be
        needed; NaN where the spread is not known or the effect is zero.
    """
    if not (isfinite(found.seeds) and isfinite(found.images)) or effect == 0:
        return nan
    return next((float(n) for n in range(2, MOST + 1) if _told(abs(effect), n, found, level, power)), inf)


def enough_images(effect: float, found: Spread, level: float = LEVEL, power: float = POWER) -> bool:
    """Whether some number of seeds would tell a difference of `effect` dB on these images."""
    error = found.images / sqrt(found.count)
    return error == 0 or abs(effect) / error >= _multiple(found.count - 1, level, power)


def smallest_effect(seeds: int, found: Spread, level: float = LEVEL, power: float = POWER) -> float:
    """Difference in dB that is told in 80 of 100 cases with so many trainings of each setting; NaN if not known."""
    if seeds < 2 or not (isfinite(found.seeds) and isfinite(found.images)):
        return nan
    error, freedom = _error(seeds, found)
    return error * _multiple(freedom, level, power)


def _told(effect: float, seeds: int, found: Spread, level: float, power: float) -> bool:
    error, freedom = _error(seeds, found)
    return error == 0 or effect / error >= _multiple(freedom, level, power)


def _error(seeds: int, found: Spread) -> tuple[float, float]:
    """Standard error of a difference, and its degrees of freedom by Satterthwaite."""
    images, trainings = found.images**2 / found.count, 2 * found.seeds**2 / seeds
    variance = images + trainings
    if not variance:
        return 0.0, 1.0
    return sqrt(variance), variance**2 / (images**2 / (found.count - 1) + trainings**2 / (2 * (seeds - 1)))


def _multiple(freedom: float, level: float, power: float) -> float:
    """Standard errors that an effect must have: the threshold of the test, and as much again for the power."""
    from scipy.stats import t

    return float(t.ppf(1 - level / 2, freedom) + t.ppf(power, freedom))
