"""Means over images and seeds with 95 % bootstrap intervals, and paired differences of two settings.

Values come as matrices (seeds, images): one row a trained network, one column an image. Images and seeds are both
samples of something larger, so both are drawn anew, independently (Owen, "The pigeonhole bootstrap", Annals of Applied
Statistics 2007). With one seed the interval says nothing about training, and `Interval.note` says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 9999
SEED = 20220628
"""Fixed, so that a table computed twice is the same to the digit."""
FEW_IMAGES = 10
"""Below this many images a bootstrap interval is too narrow to be taken at its word, and the note says so."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval."""

    value: float
    """The mean; infinite where an image was reproduced exactly (PSNR), NaN where no mean exists."""
    low: float
    high: float
    """Ends of the interval; NaN where there is none."""
    images: int
    seeds: int
    method: str
    """`BCa`, `percentile` or `none`."""
    note: str = ""
    """Why there is no interval, or why it is rougher than 95 % sounds."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval exists and zero lies outside it."""
        return bool(self.low > 0 or self.high < 0)


def mean(values: ArrayLike, resamples: int = RESAMPLES, seed: int = SEED) -> Interval:
    """Mean of per-image values with a 95 % bootstrap interval.

    values: (images,) or (seeds, images), finite or +inf (the PSNR of identical images).
    The interval is bias-corrected and accelerated (Efron 1987; `scipy.stats.bootstrap`), and falls back to the
    percentile interval where that does not exist (all resamples on one side, as with values that are all equal).
    Raises ValueError for an empty matrix or one with NaN.
    """
    matrix = _matrix(values)
    seeds, images = matrix.shape
    if not np.isfinite(matrix).all():
        exact = int((~np.isfinite(matrix)).any(axis=0).sum())
        note = f"{exact} of {images} images reproduced exactly, so the mean is infinite and has no interval"
        return Interval(inf if (matrix > 0).all() else nan, nan, nan, images, seeds, "none", note)

    def statistic(image: Any, *seed_: Any, axis: int = -1) -> Any:
        return _means(matrix, image, seed_[0] if seed_ else None)

    samples = [np.arange(images)] + ([np.arange(seeds)] if seeds > 1 else [])
    return _interval(float(matrix.mean()), samples, statistic, images, seeds, resamples, seed)


def difference(
    values: ArrayLike,
    baseline: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    *,
    same_seeds: bool = False,
) -> Interval:
    """Mean of values − baseline, paired by image, with a 95 % bootstrap interval.

    values: (images,) or (seeds, images); baseline: the same images in the same order, any number of seeds. An image
    drawn is drawn for both. Seeds are drawn for each separately, unless both have the `same_seeds`, row by row: such
    trainings saw the same patches and are pairs, too (docs/compare.md has measurements).
    Raises ValueError for matrices that are empty, have NaN, or differ in images, or in seeds that are the same.
    """
    first, second = _matrix(values), _matrix(baseline)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"a paired difference needs the same images, not {first.shape[1]} and {second.shape[1]}")
    images, seeds = first.shape[1], min(len(first), len(second))
    infinite = ~(np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0))
    if infinite.any():
        note = f"{int(infinite.sum())} of {images} images reproduced exactly: their difference is not a number"
        return Interval(nan, nan, nan, images, seeds, "none", note)
    if same_seeds:
        if len(first) != len(second):
            raise ValueError(f"{len(first)} and {len(second)} seeds are not the same")
        return mean(first - second, resamples, seed)
    several = [len(matrix) > 1 for matrix in (first, second)]

    def statistic(image: Any, *drawn: Any, axis: int = -1) -> Any:
        rest = list(drawn)
        rows = [rest.pop(0) if more else None for more in several]
        return _means(first, image, rows[0]) - _means(second, image, rows[1])

    samples = [np.arange(images)] + [np.arange(len(m)) for m in (first, second) if len(m) > 1]
    value = float(first.mean() - second.mean())
    return _interval(value, samples, statistic, images, seeds, resamples, seed)


def _matrix(values: ArrayLike) -> Matrix:
    matrix = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"expected (images,) or (seeds, images) with at least one value, got {matrix.shape}")
    if np.isnan(matrix).any():
        raise ValueError("a value is not a number; the evaluation that made it went wrong")
    return matrix


def _means(matrix: Matrix, images: Any, seeds: Any | None) -> Matrix:
    """Means over drawn images (…, n) and drawn seeds (…, r) of a matrix (seeds, images): (…)."""
    if seeds is None:
        return np.asarray(matrix.mean(axis=0)[images].mean(axis=-1))
    return np.asarray(matrix[seeds[..., :, None], images[..., None, :]].mean(axis=(-2, -1)))


def _interval(
    value: float,
    samples: list[NDArray[np.int64]],
    statistic: Callable[..., Any],
    images: int,
    seeds: int,
    resamples: int,
    seed: int,
) -> Interval:
    from scipy.stats import bootstrap

    if images == 1:
        return Interval(value, nan, nan, images, seeds, "none", "one image only, so no interval over images")
    notes = []
    if images < FEW_IMAGES:
        notes.append(f"{images} images only: the interval is rough")
    if seeds == 1:
        notes.append("one seed: the spread of training is not in the interval")
    for method in ("BCa", "percentile"):
        with catch_warnings(), np.errstate(all="ignore"):
            simplefilter("ignore")  # scipy warns of the degenerate case that the next method is there for
            found = bootstrap(
                samples,
                statistic,
                n_resamples=resamples,
                batch=max(1, 2_000_000 // (images * seeds)),
                vectorized=True,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        low, high = sorted((float(found.low), float(found.high)))  # equal up to rounding where nothing varies
        if isfinite(low) and isfinite(high):
            return Interval(value, low, high, images, seeds, method, "; ".join(notes))
    return Interval(value, nan, nan, images, seeds, "none", "; ".join([*notes, "no interval could be computed"]))
