"""The paper's claims judged from results whose truth is known, and how many seeds a difference takes."""

import json
from math import inf, isnan
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sisr.cli import main
from sisr.report import claims, tables
from sisr.report.claims import FAILS, HOLDS, UNTOLD
from sisr.results import significance
from sisr.results.power import Spread, enough_images, seeds_needed, smallest_effect, spread
from sisr.utils.errors import SisrError
from tests.helpers.results_folder import add, evaluate, experiments, make

SETS = {"B100": 100}


def folder(results: Path, gains: dict[str, float], seeds: tuple[int, ...] = (0, 1, 2)) -> Path:
    """Table 2 and the k-sweep of runs with these gains in dB: by attention, or by attention and k."""
    planned = experiments(seeds)
    for name in ("table2", "k_sweep"):
        for run in planned[name]:
            attention = run.network.attention or "none"
            k = run.network.attention_options.get("k")
            seed_noise = 0.004 * (run.seed - 1)
            add(results, run, gains.get(f"{attention} {k:g}" if k else attention, 0.5) + seed_noise, SETS)
        table = tables.build(name, results, [run.id for run in planned[name]])
        tables.write(name, table, results)
    evaluate(results, "bicubic-x4", 4, 0.0, 0, SETS)
    return results


def verdicts(results: Path) -> dict[str, str]:
    table = claims.judge(results)
    return dict(zip(table["claim"], table["verdict"], strict=True))


def test_what_is_there_holds_what_is_opposite_does_not_and_nothing_cannot_be_told(tmp_path: Path) -> None:
    gains = {"none": 0.5, "enla 1": 0.66, "enla 6": 0.58, "enlca 6": 0.581}
    others = {f"enlca {k}": 0.4 for k in (1, 2, 4, 8, 10)}
    found = verdicts(folder(tmp_path / "a", gains | others))
    assert found == {
        "ENLA": HOLDS,  # +0.16
        "amplification": FAILS,  # −0.08
        "contrastive loss": UNTOLD,  # +0.001
        "ENLCA": HOLDS,
        "k": HOLDS,  # 0.18 above every other
    }
    found = verdicts(folder(tmp_path / "b", gains | others | {"enlca 8": 0.7}))
    assert found["k"] == FAILS
    found = verdicts(folder(tmp_path / "c", gains | others | {"enlca 8": 0.581}))
    assert found["k"] == UNTOLD


def test_a_claim_about_several_names_what_comes_nearest(tmp_path: Path) -> None:
    gains = {f"enlca {k}": 0.4 for k in (1, 2, 4, 10)} | {"enlca 6": 0.6, "enlca 8": 0.75}
    table = claims.judge(folder(tmp_path / "results", gains))
    row = table[table["claim"] == "k"].iloc[0]
    assert row["against"] == "k = 8"
    assert row["difference"] == pytest.approx(-0.15, abs=0.02)
    assert "below k = 8" in row["why"]
    assert "the highest mean is at k = 8" in row["why"]
    assert row["seeds"] == 3
    assert len(row["runs"].split()) == len(row["against_runs"].split()) == 3


def test_one_training_each_tells_nothing_and_says_why(tmp_path: Path) -> None:
    gains = {"none": 0.5, "enla 1": 0.9}
    results = folder(tmp_path / "results", gains, seeds=(1,))
    table = claims.judge(results)
    assert set(table["verdict"]) == {UNTOLD}
    assert "one training each" in table[table["claim"] == "ENLA"]["why"].iloc[0]
    assert table["seeds_needed"].isna().all()
    said = "\n".join(claims.lines(table, results))
    assert "not known, since no network was trained with two seeds" in said


def test_the_verb_writes_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    for name, ids in make(results, seeds=(0, 1)).items():
        tables.write(name, tables.build(name, results, ids), results)
    assert main(["claims", "--results", str(results)]) == 0
    said = capsys.readouterr().out
    assert "ENLCN is above NLSN" in said
    assert "the paper +0.08 dB" in said  # Set5 x4: 32.67 − 32.59
    assert "against NLA: 0.0257 times the operations" in said
    assert (results / "tables" / "claims.md").read_text().strip() in said
    assert main(["claims", "--results", str(results), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["claim"] for row in rows} == {claim.name for claim in claims.CLAIMS}
    with pytest.raises(SisrError, match="there are no tables in"):
        claims.judge(tmp_path)


def min_f(images: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """p of Clark's min F′ from the two F of t-tests, over images and over trainings."""
    first = float(stats.ttest_1samp(images, 0).statistic) ** 2
    pooled = (one.var(ddof=1) + other.var(ddof=1)) / len(one)
    second = float(images.mean()) ** 2 / pooled
    both = first * second / (first + second)
    freedom = (first + second) ** 2 / (first**2 / (2 * len(one) - 2) + second**2 / (len(images) - 1))
    return float(stats.f.sf(both, 1, freedom))


def test_the_test_of_a_comparison_is_min_f() -> None:
    random = np.random.default_rng(1)
    one, other = random.normal(0, 0.1, (2, 3))
    images = random.normal(0.1, 0.2, 40)
    found = significance.compare(images + one[:, None], np.zeros(40) + other[:, None])
    assert found.p == pytest.approx(min_f(images + one.mean() - other.mean(), one, other))


@pytest.mark.parametrize("effect", [0.03, 0.1])
def test_with_so_many_seeds_the_test_tells_the_difference_in_80_of_100_tries(effect: float) -> None:
    found = Spread(seeds=0.03, freedom=100, images=0.08, count=100)
    needed = int(seeds_needed(effect, found))
    random = np.random.default_rng(0)

    def told(seeds: int, tries: int = 400) -> float:
        hits = 0
        for _ in range(tries):
            images = random.normal(effect, found.images, found.count)
            one, other = random.normal(0, found.seeds, (2, seeds))
            hits += min_f(images + one.mean() - other.mean(), one, other) < 0.05
        return hits / tries

    assert 0.7 < told(needed) < 1
    if needed > 2:
        assert told(needed - 1) < told(needed) + 0.03
    assert smallest_effect(needed, found) <= effect
    assert needed == 2 or smallest_effect(needed - 1, found) > effect


def test_where_seeds_do_not_help_or_nothing_is_known_it_is_said() -> None:
    few = Spread(seeds=0.001, freedom=4, images=0.2, count=5)
    assert seeds_needed(0.02, few) == inf
    assert not enough_images(0.02, few)
    many = Spread(seeds=2.0, freedom=4, images=0.01, count=100)
    assert seeds_needed(0.02, many) == inf
    assert enough_images(0.02, many)
    assert isnan(seeds_needed(0.1, Spread(float("nan"), 0, 0.1, 100)))
    assert isnan(seeds_needed(0.0, few))
    assert isnan(smallest_effect(1, few))


def test_the_spread_is_that_of_seeds_within_settings() -> None:
    values = [np.array([[1.0, 1.2], [1.4, 1.6]]), np.array([[5.0, 5.0], [5.0, 5.4]]), np.array([[9.0, 8.0]])]
    found = spread(values, [np.array([0.1, 0.3]), np.array([0.0, 0.8])], 2)
    # means 1.1, 1.5 and 5.0, 5.2: squares 0.08 and 0.02 over two degrees of freedom
    assert found.seeds == pytest.approx(np.sqrt(0.05))
    assert found.freedom == 2
    assert found.images == pytest.approx((np.std([0.1, 0.3], ddof=1) + np.std([0.0, 0.8], ddof=1)) / 2)
