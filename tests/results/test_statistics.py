"""Means and paired differences with bootstrap intervals."""

from math import inf, isinf, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import t

from sisr.results import statistics

decibels = st.floats(15, 50)
matrices = st.tuples(st.integers(1, 3), st.integers(2, 12)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=decibels)
)


@settings(max_examples=30, deadline=None)
@given(matrices)
def test_interval_holds_the_mean_and_lies_within_the_values(matrix: np.ndarray) -> None:
    found = statistics.mean(matrix, resamples=199)
    assert found.value == pytest.approx(matrix.mean())
    assert (found.seeds, found.images) == matrix.shape
    assert matrix.min() - 1e-9 <= found.low <= found.high <= matrix.max() + 1e-9


@settings(max_examples=30, deadline=None)
@given(matrices, st.floats(-2, 2))
def test_a_constant_gain_is_found_exactly_whatever_the_images(matrix: np.ndarray, gain: float) -> None:
    # pairing removes the spread between images; only that between seeds could remain, and one row has none
    row = matrix[:1]
    found = statistics.difference(row + gain, row, resamples=199)
    assert found.value == pytest.approx(gain, abs=1e-9)
    assert found.low == pytest.approx(gain, abs=1e-9)
    assert found.high == pytest.approx(gain, abs=1e-9)


def test_close_to_the_t_interval_on_normal_values() -> None:
    values = np.random.default_rng(0).normal(30, 3, 200)
    found = statistics.mean(values)
    half = t.ppf(0.975, 199) * values.std(ddof=1) / np.sqrt(200)
    assert found.method == "BCa"
    assert found.low == pytest.approx(values.mean() - half, abs=0.05)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05)


def test_seeds_widen_the_interval_by_their_own_variance() -> None:
    # images do not differ, seeds do by -1, 0, 1; of the means of three drawn seeds 1 in 27 (3.7 %) is -1, and 1 in 27
    # is +1, so both 2.5 % quantiles are the extremes
    matrix = np.array([[-1.0], [0.0], [1.0]]) + np.full((1, 50), 30.0)
    found = statistics.mean(matrix)
    assert found.low == pytest.approx(29.0)
    assert found.high == pytest.approx(31.0)
    single = statistics.mean(matrix.mean(axis=0))
    assert single.low == pytest.approx(30.0)
    assert single.high == pytest.approx(30.0)


def test_pairing_sees_what_separate_intervals_do_not() -> None:
    generator = np.random.default_rng(1)
    baseline = generator.normal(28, 4, 40)
    better = baseline + 0.1 + generator.normal(0, 0.05, 40)
    apart = statistics.mean(better), statistics.mean(baseline)
    assert apart[0].low < apart[1].high  # the separate intervals overlap
    paired = statistics.difference(better, baseline)
    assert paired.excludes_zero
    assert 0.07 < paired.low < paired.value < paired.high < 0.13


def test_difference_takes_unequal_numbers_of_seeds() -> None:
    generator = np.random.default_rng(2)
    images = generator.normal(28, 4, 20)
    first = images + 0.5 + generator.normal(0, 0.01, (3, 20))
    found = statistics.difference(first, images)
    assert found.value == pytest.approx(first.mean() - images.mean())
    assert 0.45 < found.low < found.high < 0.55
    assert found.seeds == 1
    assert statistics.difference(images, first).value == pytest.approx(-found.value)


def test_trainings_with_the_same_seeds_are_pairs() -> None:
    """What a seed does to both networks cancels; without pairs it hides their difference."""
    generator = np.random.default_rng(3)
    luck = generator.normal(0, 0.2, (4, 1))
    baseline = generator.normal(28, 4, 20) + luck
    better = baseline + 0.1 + generator.normal(0, 0.01, (4, 20))
    apart = statistics.difference(better, baseline)
    paired = statistics.difference(better, baseline, same_seeds=True)
    assert apart.value == pytest.approx(paired.value)
    assert not apart.excludes_zero
    assert 0.09 < paired.low < paired.high < 0.11
    assert paired == statistics.mean(better - baseline)
    with pytest.raises(ValueError, match="4 and 3 seeds are not the same"):
        statistics.difference(better, baseline[:3], same_seeds=True)


def test_infinite_psnr_is_said_and_not_averaged_away() -> None:
    all_exact = statistics.mean([inf, inf, inf])
    assert isinf(all_exact.value)
    assert isnan(all_exact.low)
    assert all_exact.method == "none"
    one_exact = statistics.mean([30.0, inf, 31.0])
    assert isinf(one_exact.value)
    assert "1 of 3 images" in one_exact.note
    gap = statistics.difference([30.0, inf], [29.0, inf])
    assert isnan(gap.value)
    assert not gap.excludes_zero
    assert "1 of 2 images" in gap.note


def test_degenerate_and_small_samples() -> None:
    equal = statistics.mean([30.0] * 12)
    assert (equal.low, equal.high) == (30.0, 30.0)
    assert equal.method == "percentile"  # BCa does not exist here
    single = statistics.mean([30.0])
    assert single.value == 30.0
    assert isnan(single.low)
    assert "one image" in single.note
    few = statistics.mean([30.0, 31.0, 35.0])
    assert "3 images only" in few.note
    assert "one seed" in few.note


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(3).normal(30, 3, 15)
    assert statistics.mean(values) == statistics.mean(values)


@pytest.mark.parametrize("values", [[], [[]], [30.0, float("nan")], np.zeros((2, 2, 2))])
def test_nonsense_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected|not a number"):
        statistics.mean(values)


def test_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        statistics.difference([1.0, 2.0], [1.0, 2.0, 3.0])
