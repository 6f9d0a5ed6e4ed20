"""The paper's claims judged from results whose truth is known, and how many seeds a difference takes."""

import json
from math import inf, isnan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sisr.cli import main
from sisr.comparison import select_runs, table_view
from sisr.report import claims, tables
from sisr.report.claims import FAILS, HOLDS
from sisr.report.tables import findings, render
from sisr.results.power import Spread, enough_images, seeds_needed, smallest_effect, spread
from sisr.results.significance import INCONCLUSIVE, VERDICTS, Sample, difference
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
        "contrastive loss": INCONCLUSIVE,  # +0.001
        "ENLCA": HOLDS,
        "k": HOLDS,  # 0.18 above every other
    }
    found = verdicts(folder(tmp_path / "b", gains | others | {"enlca 8": 0.7}))
    assert found["k"] == FAILS
    found = verdicts(folder(tmp_path / "c", gains | others | {"enlca 8": 0.581}))
    assert found["k"] == INCONCLUSIVE


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
    assert set(table["verdict"]) == {INCONCLUSIVE}
    assert table[table["claim"] == "ENLA"]["why"].iloc[0] == "one seed: the interval covers images only"
    assert table["seeds_needed"].isna().all()
    said = "\n".join(claims.lines(table, results))
    assert "not known, since no two networks were trained with the same two seeds" in said


def test_tables_without_a_claim_are_refused(tmp_path: Path) -> None:
    results = tmp_path / "results"
    baseline = next(run for run in experiments((0,))["table2"] if run.network.attention is None)
    add(results, baseline, 0.5, SETS)
    tables.write("table2", tables.build("table2", results, [baseline.id]), results)
    with pytest.raises(SisrError, match="no two settings that a claim of the paper compares"):
        claims.judge(results)


def test_the_verb_writes_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    for name, ids in make(results, seeds=(0, 1)).items():
        tables.write(name, tables.build(name, results, ids), results)
    assert main(["claims", "--results", str(results)]) == 0
    said = capsys.readouterr().out
    assert "ENLCN is above NLSN" in said
    assert "the paper +0.08 dB" in said  # Set5 x4: 32.67 − 32.59
    assert "against NLA: 0.0257 times the operations" in said
    first = claims.judge(results).iloc[0]
    assert f"; the 2 seeds here tell {first['smallest_difference']:.3f} dB (spread" in said
    assert (results / "tables" / "claims.md").read_text().strip() in said
    assert main(["claims", "--results", str(results), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["claim"] for row in rows} == {claim.name for claim in claims.CLAIMS}
    with pytest.raises(SisrError, match="there are no tables in"):
        claims.judge(tmp_path)


def test_tables_comparison_and_claims_agree(tmp_path: Path) -> None:
    """The same settings give the same difference, interval, p and verdict in Table 2, the comparison and the claims."""
    results = tmp_path / "results"
    gains = {None: 0.5, "enla": 0.66, "enlca": 0.505}
    runs = [run for run in experiments((0, 1, 2))["table2"] if run.network.attention_options.get("k", 6) == 1
            or run.network.attention != "enla"]  # fmt: skip
    for run in runs:
        add(results, run, gains[run.network.attention], SETS)
    ids = {name: [run.id for run in runs if run.network.attention == name] for name in gains}
    tables.write("table2", tables.build("table2", results), results)
    comparison = select_runs.compare_runs(
        results, [f"{name or 'none'}={','.join(listed)}" for name, listed in ids.items()], reference="none"
    )
    read = {
        "table2": tables.read("table2", results).set_index(["row", "quantity"]),
        "compare": comparison.set_index(["row", "quantity"]),
        "claims": claims.judge(results).set_index("claim"),
    }
    for name in ("enla", "enlca"):
        cells = [
            read["table2"].loc[(name.upper(), "psnr_difference")],
            read["compare"].loc[(name, "psnr_difference")],
            read["claims"].loc[name.upper()],
        ]
        for column in ("low", "high", "p"):
            assert [cell[column] for cell in cells] == pytest.approx([cells[0][column]] * 3)
        verdicts = [cells[0]["verdict"], cells[1]["verdict"], cells[2]["difference_verdict"]]
        assert set(verdicts) == {"better" if name == "enla" else verdicts[0]}
        assert name == "enla" or verdicts[0].startswith(("inconclusive", "equivalent", "better by less"))
    assert read["claims"].loc["ENLA", "verdict"] == HOLDS
    written = {word.split()[0] for table in read.values() for word in table.get("difference_verdict", table["verdict"])
               if word}  # fmt: skip
    assert written <= set(VERDICTS)
    words = "\n".join(
        [
            *claims.lines(claims.judge(results), results),
            *findings.describe_table("table2", tables.read("table2", results)),
            render.markdown(tables.view("table2", tables.read("table2", results))),
            render.markdown(table_view.view(comparison)),
        ]
    )
    for phrase in ("no difference", "cannot be told", "distinguishable", "bootstrap", "by its size"):
        assert phrase not in words


def test_a_table_of_an_earlier_version_names_its_runs(tmp_path: Path) -> None:
    results = folder(tmp_path / "results", {"none": 0.5, "enla 1": 0.66})
    expected = claims.judge(results)
    for file in (results / "tables").glob("*.csv"):
        old = pd.read_csv(file).drop(columns=["p", "p_corrected", "verdict", "state", "against"])
        old.to_csv(file, index=False)
    assert claims.judge(results).equals(expected)


@pytest.mark.parametrize("effect", [0.03, 0.1])
def test_with_so_many_seeds_the_difference_is_significant_in_80_of_100_cases(effect: float) -> None:
    found = Spread(seeds=0.03, settings=4, images=0.08, count=100)
    level = 0.05 / 6
    needed = int(seeds_needed(effect, found, level))
    random = np.random.default_rng(0)

    def share(seeds: int, count: int = 1500) -> float:
        hits = 0
        for _ in range(count):
            values = random.normal(0, found.seeds, (4, seeds, 1)) + np.zeros(found.count)
            values[1] += random.normal(effect, found.images, found.count)
            table = [Sample(each, tuple(range(seeds))) for each in values]
            hits += difference(table[1], table[0], table).p < level
        return hits / count

    assert 0.72 < share(needed) < 0.97
    assert share(needed - 1) < share(needed) + 0.04 if needed > 2 else needed == 2
    assert smallest_effect(needed, found, level) <= effect
    assert needed == 2 or smallest_effect(needed - 1, found, level) > effect
    assert needed >= seeds_needed(effect, found)  # before the correction


def test_a_variance_pooled_over_more_settings_needs_fewer_seeds() -> None:
    few, many = (Spread(seeds=0.03, settings=n, images=0.08, count=100) for n in (2, 8))
    assert seeds_needed(0.08, many) < seeds_needed(0.08, few)


def test_where_seeds_do_not_help_or_nothing_is_known_it_is_stated() -> None:
    few = Spread(seeds=0.001, settings=4, images=0.2, count=5)
    assert seeds_needed(0.02, few) == inf
    assert not enough_images(0.02, few)
    many = Spread(seeds=2.0, settings=4, images=0.01, count=100)
    assert seeds_needed(0.02, many) == inf
    assert enough_images(0.02, many)
    assert isnan(seeds_needed(0.1, Spread(float("nan"), 0, 0.1, 100)))
    assert isnan(seeds_needed(0.0, few))
    assert isnan(smallest_effect(1, few))


def test_the_spread_is_that_of_setting_and_seed() -> None:
    pool = [
        Sample(np.array([[1.0, 1.2], [1.4, 1.6]]), (0, 1)),
        Sample(np.array([[5.0, 5.0], [5.0, 5.4]]), (0, 1)),
        Sample(np.array([[9.0, 8.0]]), (0,)),
    ]
    found = spread(pool, [np.array([0.1, 0.3]), np.array([0.0, 0.8])], 2)
    # means 1.1, 1.5 and 5.0, 5.2; what is left without the means of settings and seeds is ±0.05, one degree of freedom
    assert found.seeds == pytest.approx(0.1)
    assert found.settings == 2
    assert found.images == pytest.approx((np.std([0.1, 0.3], ddof=1) + np.std([0.0, 0.8], ddof=1)) / 2)
    assert isnan(spread(pool[2:], [], 2).seeds)


def test_a_table_of_one_seed_hides_no_seeds_of_another(tmp_path: Path) -> None:
    """Here the sweep of k has one seed of a network that Table 2 has with three."""
    results = folder(tmp_path / "results", {"none": 0.5, "enla 1": 0.9})
    swept = [run.id for run in experiments((0,))["k_sweep"]]
    tables.write("k_sweep", tables.build("k_sweep", results, swept), results)
    judged = claims.judge(results).set_index("claim")
    assert set(judged["settings"]) == {4}  # of Table 2
    assert judged.loc["k", "seeds"] == 1
    assert set(judged["seeds"].drop("k")) == {3}
