"""Intervals and verdicts: values derived by hand, simulated coverage and error rates, and real training runs.

`tests/fixtures/quick_runs.csv` holds what `python -m sisr evaluate` measured of real runs at the preset quick, x4: up
to five seeds of `enlca`, of `none` and of `convolution`; of `zero`, whose mechanism passes nothing on (trained so); of
`zeroed`, trained with enlca and then evaluated with its mechanisms passing nothing on; and of `damaged`, all weights of
enlca disturbed by 5 % of their standard deviation.
"""

from collections.abc import Sequence
from math import inf, isnan, nan, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from sisr.results.significance import (
    BETTER,
    BOTH,
    IMAGES,
    INCONCLUSIVE,
    ONE_SEED,
    WORSE,
    Component,
    Estimate,
    Sample,
    corrected,
    difference,
    half_width,
    interaction,
    mean,
    verdict,
)

REAL = pd.read_csv(Path(__file__).parent.parent / "fixtures" / "quick_runs.csv")
decibels = st.floats(15, 50)
matrices = st.tuples(st.integers(1, 4), st.integers(2, 12)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=decibels)
)


def sample(values: Sequence[Sequence[float]] | NDArray[np.float64], seeds: Sequence[int] | None = None) -> Sample:
    matrix = np.asarray(values, dtype=float)
    return Sample(matrix, tuple(range(len(matrix)) if seeds is None else seeds))


def control(values: Sequence[float]) -> Sample:
    return Sample(np.array([values], dtype=float))


# values derived by hand


def test_two_seeds_and_two_images_by_hand() -> None:
    # difference, seeds in rows: mean 0.5; means of images 0.2 and 0.8, of seeds 0.4 and 0.6; residuals ±0.1
    one, other = sample([[30.2, 40.6], [30.2, 41.0]]), sample([[30.0, 40.0], [30.0, 40.0]])
    found = difference(one, other)
    assert found.value == pytest.approx(0.5)
    # variance of the image means 0.18 over 2 images; of the seed means 0.02 over 2 seeds; residual 4·0.01 over 1 and 4
    assert found.se_images == pytest.approx(sqrt(0.09))
    assert found.se_trainings == pytest.approx(sqrt(0.01))
    # Satterthwaite: (0.09 + 0.01)² / (0.09²/1 + 0.01²/1)
    assert found.freedom == pytest.approx(0.01 / 0.0082)
    # the sum less the residual is 0.09 + 0.01 − 0.01; images alone, with one degree of freedom, are wider
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 1) * 0.3)
    assert found.p == pytest.approx(2 * stats.t.sf(0.5 / 0.3, 1))
    assert (found.seeds, found.images, found.covers) == (2, 2, BOTH)


def test_the_sum_of_both_errors_less_the_residual() -> None:
    random = np.random.default_rng(1)
    apart = random.normal(0, 0.05, (5, 1)) + random.normal(0, 0.1, 8) + random.normal(0, 0.02, (5, 8))
    found = difference(sample(apart), sample(np.zeros((5, 8))))
    over_images = apart.mean(axis=0).var(ddof=1) / 8
    over_seeds = apart.mean(axis=1).var(ddof=1) / 5
    rest = apart - apart.mean(axis=0) - apart.mean(axis=1, keepdims=True) + apart.mean()
    error = over_images + over_seeds - (rest**2).sum() / (4 * 7) / 40
    freedom = (over_images + over_seeds) ** 2 / (over_images**2 / 7 + over_seeds**2 / 4)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * sqrt(error))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(apart.mean()) / sqrt(error), freedom))


def test_the_variance_of_training_runs_is_pooled_over_the_table() -> None:
    # means of three settings and two seeds; without the means of settings and seeds ±0.1, ∓0.1 and 0 are left
    means = np.array([[1.2, 6.0], [2.0, 7.2], [3.0, 8.0]])
    table = [sample(np.repeat(row[:, None], 4, axis=1)) for row in means]
    found = interaction(table)
    assert found.squared == pytest.approx(4 * 0.1**2 / 2)
    assert found.freedom == 2
    # all images are alike, so the error is that of training runs: 2·0.02/2, with two degrees of freedom and not one
    estimate = difference(table[0], table[1], table)
    assert estimate.se_trainings == pytest.approx(sqrt(0.02))
    assert estimate.high - estimate.value == pytest.approx(stats.t.ppf(0.975, 2) * sqrt(0.02))
    # settings with other seeds are left out
    assert difference(table[0], table[1], [*table, sample(np.eye(4) * 9, [7, 8, 9, 10])]) == estimate


def test_where_images_agree_it_is_the_t_test_over_training_runs() -> None:
    random = np.random.default_rng(2)
    images, one, other = random.normal(30, 3, 6), random.normal(0.3, 0.2, 4), random.normal(0, 0.2, 4)
    values = one[:, None] + images, other[:, None] + images
    paired = difference(sample(values[0]), sample(values[1]))
    assert paired.p == pytest.approx(stats.ttest_rel(one, other).pvalue)
    seeds = difference(sample(values[0]), sample(values[1], [4, 5, 6, 7]))
    assert seeds.p == pytest.approx(stats.ttest_ind(one, other).pvalue)
    # unequal numbers of seeds are two groups as well
    fewer = difference(sample(values[0]), sample(values[1][:2], [0, 1]))
    assert fewer.p == pytest.approx(stats.ttest_ind(one, other[:2]).pvalue)
    assert fewer.seeds == 2


def test_a_control_has_no_training_runs() -> None:
    random = np.random.default_rng(3)
    values, floor = random.normal(30, 1, (3, 7)), random.normal(28, 1, 7)
    found = difference(sample(values), control(list(floor)))
    assert found.se_trainings == pytest.approx(values.mean(axis=1).std(ddof=1) / sqrt(3))
    assert found.p < 0.05
    both = difference(control(list(floor + 1)), control(list(floor)))
    assert (both.seeds, both.covers, both.note) == (0, IMAGES, "")


def test_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(4).normal(30, 3, 20)
    found = mean(values)
    low, high = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    # seeds that shift all images alike: their error alone, three degrees of freedom
    seeds = mean(np.full((4, 5), 30.0) + np.array([[0.1], [0.2], [0.4], [0.5]]))
    assert seeds.high - seeds.value == pytest.approx(stats.t.ppf(0.975, 3) * np.std([0.1, 0.2, 0.4, 0.5], ddof=1) / 2)


def test_with_one_seed_the_interval_covers_images_only_and_says_so() -> None:
    values = np.random.default_rng(5).normal(30, 3, 7)
    found = difference(sample([values + 0.5]), sample([values]))
    assert (found.low, found.high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (found.covers, found.note, found.seeds) == (IMAGES, ONE_SEED, 1)
    assert isnan(found.p)
    assert verdict(found.low, found.high, corrected([found.p])[0]) == INCONCLUSIVE
    several = difference(sample(np.stack([values] * 3)), sample([values - 5]))
    assert (several.covers, several.note) == (IMAGES, ONE_SEED)


def test_infinite_psnr_and_single_images_have_no_interval() -> None:
    exact = mean([inf, inf, inf])
    assert (exact.value, exact.covers) == (inf, "")
    one_exact = mean([30.0, inf, 31.0])
    assert one_exact.value == inf
    assert "1 of 3 images" in one_exact.note
    gap = difference(sample([[30.0, inf]]), sample([[29.0, inf]]))
    assert isnan(gap.value)
    assert "1 of 2 images" in gap.note
    single = difference(sample([[30.0], [30.1]]), sample([[29.0], [29.5]]))
    assert isnan(single.low)
    assert "one image" in single.note
    for found in (exact, gap, single):
        assert verdict(found.low, found.high, found.p) == INCONCLUSIVE


def test_equal_runs_are_equivalent() -> None:
    values = sample(np.random.default_rng(6).normal(30, 3, (2, 5)))
    found = difference(values, values)
    assert (found.value, found.p) == (0.0, 1.0)
    assert (found.low, found.high) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    assert verdict(found.low, found.high, found.p) == "equivalent within ±0.02 dB"


@pytest.mark.parametrize(
    ("low", "high", "p", "quantity", "expected"),
    [
        (0.01, 0.30, 0.04, "psnr", "better"),
        (-0.30, -0.01, 0.04, "psnr", "worse"),
        (0.001, 0.019, 0.03, "psnr", "better by less than 0.02 dB"),
        (-0.019, -0.001, 0.03, "psnr", "worse by less than 0.02 dB"),
        (-0.01, 0.015, 0.6, "psnr", "equivalent within ±0.02 dB"),
        (0.001, 0.019, 0.08, "psnr", "equivalent within ±0.02 dB"),  # significant before the correction only
        (-0.01, 0.10, 0.08, "psnr", "inconclusive"),
        (-0.01, 0.02, 0.6, "psnr", "inconclusive"),  # on the edge
        (0.1, 0.3, nan, "psnr", "inconclusive"),
        (nan, nan, nan, "psnr", "inconclusive"),
        (-0.0004, 0.0004, 0.9, "ssim", "equivalent within ±0.0005"),
        (0.001, 0.003, 0.01, "ssim", "better"),
    ],
)
def test_verdicts(low: float, high: float, p: float, quantity: str, expected: str) -> None:
    assert verdict(low, high, p, quantity) == expected


def test_correction_is_that_of_benjamini_and_hochberg() -> None:
    # sorted 0.01, 0.03, 0.04: times 3/1, 3/2, 3/3; no larger than what follows
    assert corrected([0.04, nan, 0.01, 0.03])[0::2] == pytest.approx([0.04, 0.03])
    assert corrected([0.04, nan, 0.01, 0.03])[3] == pytest.approx(0.04)
    assert isnan(corrected([0.04, nan])[1])
    assert corrected([]) == []


@pytest.mark.parametrize("values", [[], [[]], [30.0, float("nan")], np.zeros((2, 2, 2))])
def test_what_is_not_a_matrix_of_numbers_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected|not a number"):
        mean(values)


def test_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        difference(sample([[1.0, 2.0]]), sample([[1.0, 2.0, 3.0]]))


# properties


@settings(max_examples=60)
@given(matrices, st.floats(-2, 2))
def test_interval_p_and_shift(matrix: NDArray[np.float64], shift: float) -> None:
    other = sample(matrix[::-1])
    found, turned = difference(sample(matrix + shift), other), difference(other, sample(matrix + shift))
    assert found.value == pytest.approx(matrix.mean() + shift - matrix.mean(), abs=1e-9)
    assert (turned.low, turned.high) == (pytest.approx(-found.high, abs=1e-9), pytest.approx(-found.low, abs=1e-9))
    assert found.low <= found.value <= found.high
    if len(matrix) > 1 and abs(found.p - 0.05) > 1e-6:
        # the verdict and the printed interval come from the same calculation
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


@settings(max_examples=60)
@given(matrices)
def test_a_pair_is_the_mean_of_its_differences(matrix: NDArray[np.float64]) -> None:
    """Pairing: what an image or a seed does to both sides cancels."""
    paired = difference(sample(matrix + 25), sample(np.full_like(matrix, 25)))
    alone = mean(matrix)
    assert (paired.low, paired.high) == (pytest.approx(alone.low, abs=1e-9), pytest.approx(alone.high, abs=1e-9))
    images, seeds = np.linspace(-9, 9, matrix.shape[1]), np.linspace(-3, 3, len(matrix))[:, None]
    shifted = difference(sample(matrix + images + seeds), sample(images + seeds))
    assert (shifted.low, shifted.high) == (pytest.approx(alone.low, abs=1e-8), pytest.approx(alone.high, abs=1e-8))


@given(st.floats(1e-4, 1), st.floats(1e-4, 1), st.integers(1, 99), st.integers(1, 9), st.floats(0, 1))
def test_the_interval_is_never_narrower_than_that_of_one_source(
    images: float, runs: float, many: int, few: int, joint: float
) -> None:
    parts = Component(images, many), Component(runs, few)
    both = half_width(*parts, joint * min(images, runs), 0.05)
    assert both >= max(half_width(part, None, 0.0, 0.05) for part in parts)
    assert half_width(*parts, 0.0, 0.01) > half_width(*parts, 0.0, 0.05)


# simulations


def simulated(
    seeds: int, images: int, count: int = 3000, *, table: int = 4, gap: float = 0.0, residual: float = 0.02,
    trainings: float = 0.03, same_seeds: bool = True,
) -> list[Estimate]:  # fmt: skip
    """Differences of two settings of a table, with a spread of 0.03 dB between training runs and 0.05 between images.

    What a seed does to all settings (0.1 dB), and how difficult an image is (4 dB), cancels.
    """
    random = np.random.default_rng([seeds, images, table])
    found = []
    for _ in range(count):
        values = (
            random.normal(30, 4, images)
            + random.normal(0, 0.1, (seeds, 1)) * same_seeds
            + random.normal(0, trainings, (table, seeds, 1))
            + random.normal(0, 0.05, (table, 1, images))
            + random.normal(0, residual, (table, seeds, images))
        )
        values[1] += gap
        numbers = [range(seeds) if same_seeds else range(10 * i, 10 * i + seeds) for i in range(table)]
        samples = [sample(each, number) for each, number in zip(values, numbers, strict=True)]
        found.append(difference(samples[1], samples[0], samples))
    return found


@pytest.mark.parametrize("images", [5, 14, 100])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("table", "same_seeds"), [(4, True), (2, True), (2, False)])
def test_intervals_hold_the_truth_and_false_positives_are_five_percent(
    seeds: int, images: int, table: int, same_seeds: bool
) -> None:
    found = simulated(seeds, images, table=table, same_seeds=same_seeds)
    covered = np.mean([each.low <= 0 <= each.high for each in found])
    assert 0.93 <= covered <= 0.97
    assert 0.03 <= np.mean([each.p < 0.05 for each in found]) <= 0.07


@pytest.mark.parametrize("residual", [0.0, 0.1])
@pytest.mark.parametrize(("seeds", "images"), [(2, 3), (3, 100), (5, 5)])
def test_extremes_never_claim_more_than_the_level(seeds: int, images: int, residual: float) -> None:
    found = simulated(seeds, images, 1500, table=2, residual=residual)
    assert np.mean([each.p < 0.05 for each in found]) < 0.05 + 3 * sqrt(0.05 * 0.95 / 1500)


def test_a_variance_pooled_over_the_table_finds_more() -> None:
    alone, pooled = ([each.p < 0.05 for each in simulated(3, 100, 1000, table=k, gap=0.08)] for k in (2, 6))
    assert np.mean(pooled) > np.mean(alone) + 0.2
    assert np.mean(pooled) > 0.8


def test_images_alone_would_claim_what_other_seeds_do_not_hold() -> None:
    """A shift of all images that only the training run makes: no verdict from one seed, however certain the images."""
    random = np.random.default_rng(7)
    one, other = (30.0 + shift + random.normal(0, 0.001, (1, 20)) for shift in (0.0, 0.005))
    found = difference(sample(other), sample(one))
    assert found.low > 0
    assert verdict(found.low, found.high, corrected([found.p])[0]) == INCONCLUSIVE


# real training runs


def real(method: str, seeds: Sequence[int]) -> Sample:
    rows = REAL[REAL["method"] == method].pivot(index="seed", columns="image", values="psnr")
    return sample(rows.loc[list(seeds)].to_numpy(), seeds)


def real_verdict(one: str, other: str, seeds: Sequence[int], others: Sequence[int] | None = None) -> str:
    table = [method for method, rows in REAL.groupby("method") if set(seeds) <= set(rows["seed"])]
    pool = [real(method, seeds) for method in table if method != "bicubic"]
    found = difference(real(one, seeds), real(other, seeds if others is None else others), pool)
    return verdict(found.low, found.high, found.p)


@pytest.mark.parametrize("method", ["zero", "zeroed", "damaged"])
def test_real_networks_that_are_worse_come_out_as_worse(method: str) -> None:
    assert real_verdict(method, "enlca", range(3)) == WORSE
    assert real_verdict("enlca", method, range(3)) == BETTER
    assert real_verdict(method, "enlca", [0]) == INCONCLUSIVE


@pytest.mark.parametrize("seeds", [range(2), range(3), range(5)])
def test_real_mechanisms_that_are_equal_at_this_scale_are_inconclusive(seeds: range) -> None:
    assert real_verdict("none", "enlca", seeds) == INCONCLUSIVE
    assert real_verdict("enlca", "enlca", seeds[:2], [3, 4]) == INCONCLUSIVE
