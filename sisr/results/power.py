"""How many seeds a difference needs, by the rule of `sisr.results.significance`, paired by seed and after correction.

More seeds reduce the error over training runs; they do not change the error over images.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from sisr.results.significance import LEVEL, Component, Sample, half_width, interaction

POWER = 0.8
MOST = 1000
"""More seeds than this are not looked for."""


@dataclass(frozen=True)
class Spread:
    """How much results on one set vary by chance."""

    seeds: float
    """Standard deviation, in dB, of setting × seed (`significance.interaction`); NaN where no two settings have the
    same two seeds."""
    settings: int
    """Settings over which it is pooled."""
    images: float
    """Standard deviation, in dB, between images of the difference of two settings; NaN with fewer than two images."""
    count: int
    """Images of the set."""


def spread(pool: Sequence[Sample], differences: Iterable[NDArray[np.float64]], count: int) -> Spread:
    """Spread on one set.

    Args:
        pool: all settings of the table; those without a setting of the same seeds say nothing of seeds.
        differences: (images,) of each pair that is compared: mean over seeds of one setting minus the other's.
        count: images of the set.
    """
    seeds = {each.seeds for each in pool if len(each.seeds) > 1}
    groups = [[each for each in pool if each.seeds == key] for key in seeds]
    group = max(groups, key=len, default=[])
    deviations = [float(each.std(ddof=1)) for each in differences if len(each) > 1 and np.isfinite(each).all()]
    return Spread(
        seeds=sqrt(interaction(group).squared) if len(group) > 1 else nan,
        settings=len(group),
        images=float(np.median(deviations)) if deviations else nan,
        count=count,
    )


def seeds_needed(effect: float, found: Spread, level: float = LEVEL) -> float:
    """Seeds of each setting with which a true difference of `effect` dB is significant in 80 of 100 cases.

    level: that of the single test; after correction for m comparisons, `LEVEL / m` is the strictest.

    Returns:
        A whole number from 2 on; infinite where the images alone hide the effect, or where more than 1,000 would be
        needed; NaN where the spread is not known or the effect is zero.
    """
    if not (isfinite(found.seeds) and isfinite(found.images)) or effect == 0:
        return nan
    low, high = 2, MOST  # the smallest effect falls with the number of seeds
    if smallest_effect(high, found, level) > abs(effect):
        return inf
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if smallest_effect(middle, found, level) <= abs(effect) else (middle + 1, high)
    return float(low)


def enough_images(effect: float, found: Spread, level: float = LEVEL) -> bool:
    """Whether some number of seeds would show a difference of `effect` dB on these images."""
    return half_width(_over_images(found), None, 0.0, level, POWER) <= abs(effect)


def smallest_effect(seeds: int, found: Spread, level: float = LEVEL) -> float:
    """Difference in dB that is significant in 80 of 100 cases with so many seeds of each setting; NaN if not known."""
    if seeds < 2 or not (isfinite(found.seeds) and isfinite(found.images)):
        return nan
    trainings = Component(2 * found.seeds**2 / seeds, (found.settings - 1) * (seeds - 1))
    return half_width(_over_images(found), trainings, 0.0, level, POWER)


def _over_images(found: Spread) -> Component:
    return Component(found.images**2 / found.count, found.count - 1)
