"""The test and the verdict of a comparison: derived values, simulated error rates, and real trainings.

`tests/fixtures/quick_runs.csv` holds what `python -m sisr evaluate` measured of real trainings at the preset quick, x4:
up to five seeds of `enlca`, of `none` and of `convolution`; of `zero`, whose mechanism passes nothing on (trained so);
of `zeroed`, trained with enlca and then evaluated with its mechanisms passing nothing on; and of `damaged`, all weights
of enlca disturbed by 5 % of their standard deviation.
"""

from collections.abc import Sequence
from itertools import combinations, permutations
from math import inf, isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from sisr.results import significance
from sisr.results.significance import BETTER, SAME, UNTOLD, WORSE

REAL = pd.read_csv(Path(__file__).parents[1] / "fixtures" / "quick_runs.csv")
RNG = np.random.default_rng(20220628)


def real(method: str, seeds: Sequence[int], quantity: str) -> NDArray[np.float64]:
    """Matrix (seeds, images) of real trainings."""
    rows = REAL[REAL["method"] == method].pivot(index="seed", columns="image", values=quantity)
    return rows.loc[list(seeds)].to_numpy()


def verdicts(method: str, seeds: Sequence[int], reference: str, others: Sequence[int]) -> dict[str, str]:
    """What a table of two mechanisms tells, without the reasons."""
    found, bounds = {}, {}
    for quantity in ("psnr", "ssim"):
        values, base = real(method, seeds, quantity), real(reference, others, quantity)
        found[quantity] = significance.compare(values, base, seeds, others)
        above = float(max(values.mean(), base.mean()) - real("bicubic", [0], quantity).mean())
        bounds[quantity] = significance.by_size(quantity, above, found[quantity].same_seeds)
    corrected = significance.corrected([each.p for each in found.values()])
    return {
        quantity: significance.verdict(found[quantity], p, bounds[quantity]).partition(":")[0]
        for quantity, p in zip(found, corrected, strict=True)
    }


def test_one_training_each_is_the_t_test_over_images() -> None:
    one, other = RNG.normal(size=(1, 7)), RNG.normal(size=(1, 7))
    p, _ = significance.test(one, other, False)
    assert p == pytest.approx(stats.ttest_rel(one[0], other[0]).pvalue)


def test_where_images_agree_it_is_the_t_test_over_trainings() -> None:
    """Runs that differ by the same on every image leave the spread between trainings alone."""
    images, one, other = RNG.normal(30, 3, 6), RNG.normal(0.3, 0.2, 4), RNG.normal(0, 0.2, 4)
    matrices = one[:, None] + images, other[:, None] + images
    assert significance.test(*matrices, True)[0] == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert significance.test(*matrices, False)[0] == pytest.approx(stats.ttest_ind(one, other).pvalue)
    alone = significance.test(matrices[0][:1], matrices[1], False)[0]
    assert alone == pytest.approx(stats.ttest_ind(one[:1], other).pvalue)


def test_both_sources_combine_to_min_f() -> None:
    """Clark 1973: min F' = F1·F2/(F1 + F2) with (F1 + F2)²/(F1²/n2 + F2²/n1) degrees of freedom."""
    seeds, images = np.array([0.1, 0.3, 0.2, 0.5, 0.4]), np.array([0.0, 0.2, 0.4, 0.1, 0.3, 0.2, 0.6, 0.2])
    apart = seeds[:, None] + images - 0.35
    f1 = stats.ttest_1samp(apart.mean(axis=1), 0).statistic ** 2
    f2 = stats.ttest_1samp(apart.mean(axis=0), 0).statistic ** 2
    freedom = (f1 + f2) ** 2 / (f1**2 / 7 + f2**2 / 4)
    expected = stats.f.sf(f1 * f2 / (f1 + f2), 1, freedom)
    assert expected > max(stats.f.sf(f1, 1, 4), stats.f.sf(f2, 1, 7))  # or else the larger one would be it
    assert significance.test(apart, np.zeros_like(apart), True)[0] == pytest.approx(expected)


def simulated(trainings: float, images: float, seeds: int, count: int, paired: bool, gap: float = 0.0) -> float:
    """Share of 2,000 simulated comparisons whose p is below 0.05."""
    told = 0
    for _ in range(2000):
        shape = (seeds, count)
        hard, luck = RNG.normal(30, 3, count), RNG.normal(0, 0.1, (seeds, 1)) * paired
        one, other = (
            hard
            + luck
            + RNG.normal(0, trainings, (seeds, 1))
            + RNG.normal(0, images, count)
            + RNG.normal(0, 0.01, shape)
            for _ in range(2)
        )
        told += significance.test(one + gap, other, paired)[0] < 0.05
    return told / 2000


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("seeds", "images"), [(2, 3), (3, 14), (5, 100)])
@pytest.mark.parametrize(("sd_trainings", "sd_images"), [(0.1, 0.0), (0.1, 0.1), (0.02, 0.2)])
def test_equal_mechanisms_are_told_apart_no_more_often_than_the_level_says(
    paired: bool, seeds: int, images: int, sd_trainings: float, sd_images: float
) -> None:
    # the nominal 5 % and three standard errors of 2,000 simulations
    assert simulated(sd_trainings, sd_images, seeds, images, paired) < 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5


def test_images_alone_would_claim_what_other_seeds_do_not_hold() -> None:
    """A shift that all images share and only trainings make: the t-test over images is wrong nearly always."""
    one, other = (np.full((1, 20), 30.0) + shift + RNG.normal(0, 0.001, (1, 20)) for shift in (0.0, 0.005))
    found = significance.compare(other, one, [0], [1])
    assert found.p < 1e-6
    assert not found.trainings
    assert significance.verdict(found, found.p, significance.by_size("psnr", 2.0, False)).startswith(UNTOLD)


def test_a_real_difference_is_found() -> None:
    assert simulated(0.05, 0.05, 5, 14, True, gap=0.2) > 0.9
    assert simulated(0.05, 0.05, 3, 14, False, gap=0.4) > 0.9


def test_correction_is_that_of_benjamini_and_hochberg() -> None:
    # sorted 0.01, 0.03, 0.04: times 3/1, 3/2, 3/3; no larger than what follows
    assert significance.corrected([0.04, nan, 0.01, 0.03])[0::2] == pytest.approx([0.04, 0.03])
    assert significance.corrected([0.04, nan, 0.01, 0.03])[3] == pytest.approx(0.04)
    assert isnan(significance.corrected([0.04, nan])[1])
    assert significance.corrected([]) == []


def test_equal_runs_do_not_differ() -> None:
    same = real("enlca", [0, 1], "psnr")
    found = significance.compare(same, same, [0, 1], [0, 1])
    assert (found.interval.value, found.p) == (0.0, 1.0)
    assert significance.verdict(found, 1.0, 0.1) == SAME


@pytest.mark.parametrize(
    ("values", "reason"),
    [(np.array([[30.0]]), "one image only"), (np.array([[30.0, inf]]), "reproduced exactly")],
)
def test_what_cannot_be_tested_is_said(values: NDArray[np.float64], reason: str) -> None:
    found = significance.compare(values, values)
    told = significance.verdict(found, significance.corrected([found.p])[0], 1.0)
    assert told.startswith(f"{UNTOLD}: ")
    assert reason in told


def test_what_is_told_by_its_size() -> None:
    assert significance.by_size("psnr", None, True) == inf  # bicubic was not measured: nothing
    assert significance.by_size("psnr", 4.0, False) == 1.0
    assert significance.by_size("psnr", -2.5, True) == 6.0  # hardly trained: 1 + 2·2.5
    assert significance.by_size("psnr", 0.4, True) == pytest.approx(0.08)  # a fifth of the gain
    assert significance.by_size("psnr", 0.01, True) == 0.05
    assert significance.by_size("ssim", 0.5, True) == 0.03


@pytest.mark.parametrize("method", ["enlca", "none", "convolution"])
def test_real_trainings_of_one_mechanism_with_other_seeds_are_no_difference(method: str) -> None:
    seeds = sorted(set(REAL[REAL["method"] == method]["seed"]))
    for one, other in permutations(seeds, 2):
        assert set(verdicts(method, [one], method, [other]).values()) <= {SAME, UNTOLD}
    told = [
        verdict
        for one in combinations(seeds, 2)
        for other in combinations(set(seeds) - set(one), 2)
        for verdict in verdicts(method, one, method, other).values()
    ]
    # the level is 5 % and the splits share their seeds: a few at most
    assert sum(verdict != SAME for verdict in told) <= 0.1 * len(told)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("method", ["zero", "zeroed", "damaged"])
def test_real_networks_that_are_worse_come_out_as_worse(method: str, count: int) -> None:
    for seeds in combinations(range(3), count):
        assert verdicts(method, seeds, "enlca", seeds)["psnr"] == WORSE
        assert verdicts("enlca", seeds, method, seeds)["psnr"] == BETTER


@pytest.mark.parametrize("count", [1, 2, 3])
def test_real_mechanisms_that_are_equal_at_this_scale_are_not_told_apart(count: int) -> None:
    for seeds in combinations(range(5), count):
        assert verdicts("none", seeds, "enlca", seeds)["psnr"] in (SAME, UNTOLD)
