"""Tables recomputed from per-image rows, their origin, and how they are shown."""

import json
import shutil
from dataclasses import replace
from math import inf, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sisr.cli import main
from sisr.config.presets import plan
from sisr.report import tables
from sisr.report.tables import findings, k_sweep, render
from sisr.report.tables.view import Column, Section, Text, View, banner, marks
from sisr.results import runs
from sisr.results.cells import number
from sisr.results.labels import cost_label
from sisr.utils.errors import SisrError, UsageError
from tests.helpers import results_folder

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results") / "quick"


@pytest.fixture(scope="module")
def ids(results: Path) -> dict[str, list[str]]:
    return results_folder.make(results)


def rows(results: Path, run: str, dataset: str, scale: int) -> pd.DataFrame:
    return pd.read_csv(results / "evaluation" / run / f"{dataset}_x{scale}.csv")


def cell(table: pd.DataFrame, **wanted: object) -> pd.Series:
    for key, value in wanted.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def written(folder: Path, run: str, dataset: str, scale: int, psnr: dict[str, float]) -> None:
    file = folder / "evaluation" / run / f"{dataset}_x{scale}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"image": list(psnr), "psnr": list(psnr.values()), "ssim": 0.9}).to_csv(file, index=False)


@pytest.mark.parametrize("name", tables.NAMES)
def test_every_cell_says_where_it_comes_from_or_why_it_is_blank(
    name: str, results: Path, ids: dict[str, list[str]]
) -> None:
    table = tables.build(name, results, ids[name])
    for _, each in table.iterrows():
        where = f"{each['row']} {each['quantity']} {each['dataset']} x{each['scale']}"
        if pd.isna(each["published"]):
            assert each["published_note"] or each["quantity"] not in ("psnr", "gflops"), where
        if pd.isna(each["measured"]):
            assert each["note"] or each["quantity"] == "psnr_difference", where
        elif each["kind"] == "network":
            assert each["runs"], where
            assert each["git_commit"] == "0123abcd" * 5
            assert each["hardware"] == "a processor (2 threads)"
            assert each["torch"] == "2.14.1"
            assert each["preset"] == "quick"
            assert len(each["weights_sha256"]) == 64
            assert "300 steps" in each["training"]
            assert each["comparable"] == "no"


def test_table1_is_the_mean_of_the_rows(results: Path, ids: dict[str, list[str]]) -> None:
    table = tables.build("table1", results, ids["table1"])
    run = next(name for name in ids["table1"] if name.startswith("enlcn-x4"))
    found = cell(table, row="ENLCN", scale=4, dataset="photographs-test", quantity="psnr")
    values = rows(results, run, "photographs-test", 4)["psnr"]
    assert found["measured"] == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))
    assert (found["state"], found["interval"]) == ("trained", "95 %, images only")
    assert (found["images"], found["seeds"], found["runs"]) == (3, 1, run)
    assert "not in the paper" in found["published_note"]
    over = cell(table, row="ENLCN", scale=4, dataset="photographs-test", quantity="psnr_over_bicubic")
    floor = rows(results, "bicubic-x4", "photographs-test", 4)["psnr"]
    assert over["measured"] == pytest.approx((values - floor).mean())
    assert cell(table, row="HR image", scale=2, dataset="Set5", quantity="psnr")["measured"] == inf


def test_table1_has_the_papers_figures_beside(results: Path, ids: dict[str, list[str]]) -> None:
    table = tables.build("table1", results, ids["table1"])
    assert cell(table, row="RCAN", scale=4, dataset="Urban100", quantity="psnr")["published"] == 26.82
    found = cell(table, row="ENLCN", scale=4, dataset="Set5", quantity="psnr")
    assert found["published"] == 32.67
    gap = cell(table, row="ENLCN", scale=4, dataset="Set5", quantity="psnr_over_edsr")
    assert gap["published"] == pytest.approx(32.67 - 32.46)
    assert gap["published_status"] == "derived"
    blank = cell(table, row="NLRN", scale=2, dataset="Manga109", quantity="psnr")
    assert pd.isna(blank["published"])
    assert blank["published_note"]


def test_marks_go_to_published_and_measured_separately(results: Path, ids: dict[str, list[str]]) -> None:
    shown = tables.view("table1", tables.build("table1", results, ids["table1"]))
    assert [section.title for section in shown.sections] == ["x2", "x4"]
    assert len({label for label, _ in shown.sections[0].rows}) == 14 + 2
    for section in shown.sections:
        for index, column in enumerate(shown.columns):
            marked = {cells[index].mark: label for label, cells in section.rows if cells[index].mark}
            assert marked["best"] == "ENLCN", (section.title, column)
            assert marked["second"] in ("NLSN", "RCAN", "SAN")


def test_seeds_of_a_setting_are_one_row(tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    runs = [results_folder.run("enlcn", 4, "enlca", seed, k=6.0, m=128) for seed in (0, 1)]
    for seed, each in enumerate(runs):
        results_folder.add(folder, each, sets={"Set5": 2})
        written(folder, each.id, "Set5", 4, {"b": 31.0 + seed, "a": 29.0 + seed})
    found = cell(tables.build("table1", folder), row="ENLCN", scale=4, dataset="Set5", quantity="psnr")
    assert found["measured"] == pytest.approx(30.5)
    assert (found["images"], found["seeds"]) == (2, 2)
    assert found["runs"] == " ".join(each.id for each in runs)


def test_table2_pairs_images_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    plain, whole = results_folder.run("edsr"), results_folder.run("enlcn", 4, "enlca", k=6.0)
    for each in (plain, whole):
        results_folder.add(folder, each, sets={"Set5": 1})
    written(folder, plain.id, "Set5", 4, {"a": 20.0, "b": 40.0, "c": 30.0})
    written(folder, whole.id, "Set5", 4, {"c": 30.2, "b": 40.2, "a": 20.2})  # another order of lines
    table = tables.build("table2", folder)
    found = cell(table, row="ENLCA", dataset="Set5", quantity="psnr_difference")
    # every image gains 0.2: the interval of the paired difference has no width, that of the means would have 20 dB
    assert found["measured"] == pytest.approx(0.2)
    assert found["low"] == pytest.approx(0.2)
    assert found["high"] == pytest.approx(0.2)
    assert found["published"] == 0.27
    absent = cell(table, row="ENLA", dataset="Set5", quantity="psnr_difference")
    assert pd.isna(absent["measured"])
    assert "no run" in absent["note"]
    assert absent["published"] == 0.16
    assert pd.isna(cell(table, row="ENLA + amplification", dataset="Set5", quantity="psnr_difference")["published"])


def test_table4_tells_the_papers_figure_from_a_derived_one(results: Path, ids: dict[str, list[str]]) -> None:
    table = tables.build("table4", results, ids["table4"])
    status = {c["row"]: c["published_status"] for _, c in table[table["quantity"] == "gflops"].iterrows()}
    assert [row for row, said in status.items() if said == "paper"] == ["ENLCA-m128"]
    assert status["NLSA-r4"] == "unknown"
    shown = dict(tables.view("table4", table).sections[0].rows)
    assert shown["ENLCA-m128"][0].main == "0.66"
    assert shown["NLA"][0].main == "25.60†"
    assert shown["NLSA-r4"][0].main == ""
    assert cell(table, row="ENLCA-m64", quantity="uncounted")["measured"] == "add 2, mul 5"
    time = cell(table, row="NLA", quantity="seconds")
    assert time["measured"] == pytest.approx(0.002 + 0.256)
    assert time["interval"] == "quartiles"


def test_a_set_that_was_left_out_is_blank_with_its_reason(
    results: Path, ids: dict[str, list[str]], tmp_path: Path
) -> None:
    folder = shutil.copytree(results, tmp_path / "quick")
    for run in (name for name in ids["table4"] if "-nla-" in name):
        rows_file = folder / "evaluation" / run / "Set5_x4.csv"
        rows_file.write_text("image,psnr,ssim,height,width,seconds\n")
        rows_file.with_suffix(".json").write_text('{"set": "Set5", "scale": 4, "not_evaluated": "N² is too much"}')
    table = tables.build("table4", folder, ids["table4"])
    blank = cell(table, row="NLA", dataset="Set5", quantity="psnr")
    assert pd.isna(blank["measured"])
    assert blank["note"] == "not evaluated: N² is too much"
    assert "NLA, Set5 x4: not evaluated: N² is too much." in tables.view("table4", table).notes
    assert not pd.isna(cell(table, row="NLA", dataset="photographs-test", quantity="psnr")["measured"])


@pytest.mark.parametrize(
    ("attention", "options", "label"),
    [
        ("nlsa", {"rounds": 8}, "NLSA-r8"),
        ("nlsa", {}, "NLSA-r4"),
        ("enlca", {"k": 6.0}, "ENLCA-m128"),
        ("convolution", {"kernel": 3}, "convolution"),
        ("mine.py:Mine", {"m": 4}, "mine.py:Mine (m=4)"),
    ],
)
def test_rows_of_table4(attention: str, options: dict[str, float], label: str) -> None:
    assert cost_label(attention, options) == label


def test_relative_deviation_is_what_the_facts_say() -> None:
    # exp(2·6·(1 + 0)) − 1 = 162753.8, over 128, square root: 35.66; at cos = 1 sqrt(2.6489e10 / 128) = 14386
    assert k_sweep.relative_deviation(6, 128, 0) == pytest.approx(35.66, abs=0.01)
    assert k_sweep.relative_deviation(6, 128, 1) == pytest.approx(14386, rel=1e-3)
    assert k_sweep.relative_deviation(400, 128, 1) == inf


def test_relative_deviation_against_drawn_projections() -> None:
    k, cosine, draws = 0.3, 0.5, 400_000
    query = sqrt(k) * np.array([1.0, 0.0])
    key = sqrt(k) * np.array([cosine, sqrt(1 - cosine**2)])
    projections = np.random.default_rng(0).normal(size=(draws, 2))
    features = [np.exp(projections @ vector - vector @ vector / 2) for vector in (query, key)]
    estimate = features[0] * features[1]  # one random feature: m = 1
    assert estimate.mean() == pytest.approx(np.exp(query @ key), rel=0.01)
    expected = k_sweep.relative_deviation(k, 1, cosine)
    assert estimate.std() / np.exp(query @ key) == pytest.approx(expected, rel=0.03)


@given(st.floats(0.1, 20), st.integers(1, 512), st.floats(-0.99, 0.99))
def test_relative_deviation_grows_with_k_and_falls_with_m(k: float, m: int, cosine: float) -> None:
    at = k_sweep.relative_deviation
    assert at(k * 1.1, m, cosine) > at(k, m, cosine) > 0
    assert at(k, 4 * m, cosine) == pytest.approx(at(k, m, cosine) / 2)


def test_k_sweep_is_in_order_and_differs_from_the_papers_best(results: Path, ids: dict[str, list[str]]) -> None:
    table = tables.build("k_sweep", results, ids["k_sweep"])
    assert list(dict.fromkeys(table["row"])) == [f"k = {k:g}" for k in results_folder.K]
    differences = table[table["quantity"] == "psnr_difference"]
    assert "k = 6" not in set(differences["row"])
    run = {each.split("-k")[1].split("-")[0]: each for each in ids["k_sweep"]}
    gap = rows(results, run["2"], "Set5", 4)["psnr"] - rows(results, run["6"], "Set5", 4)["psnr"]
    assert cell(differences, row="k = 2", dataset="Set5")["measured"] == pytest.approx(gap.mean())


def test_what_is_written_is_what_is_read(results: Path, ids: dict[str, list[str]]) -> None:
    for name in tables.NAMES:
        table = tables.build(name, results, ids[name])
        paths = tables.write(name, table, results)
        before = [path.read_bytes() for path in paths]
        again = tables.read(name, results)
        assert len(again) == len(table)
        assert render.terminal(tables.view(name, again)) == render.terminal(tables.view(name, table))
        tables.write(name, tables.build(name, results, ids[name]), results)
        assert [path.read_bytes() for path in paths] == before, "the same rows give the same bytes"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_terminal_is_never_too_narrow(width: int, results: Path, ids: dict[str, list[str]]) -> None:
    for name in ("table1", "table4"):
        table = tables.build(name, results, ids[name])
        shown = render.terminal(tables.view(name, table), width)
        assert max(map(len, shown.splitlines())) <= width
        assert shown.count("photographs-test") >= 1
        assert shown.count("27.46") == 1, "a figure stands once, in whichever block"


@pytest.mark.parametrize("name", tables.NAMES)
def test_every_form_says_loudly_that_it_is_a_toy(name: str, results: Path, ids: dict[str, list[str]]) -> None:
    shown = tables.view(name, tables.build(name, results, ids[name]))
    page = render.page(shown)
    for form in (page, render.markdown(shown), render.terminal(shown)):
        assert "quick" in form
        assert "300 steps" in form
        assert "Not comparable" in form
    assert "viewport" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "&lt;span" not in page


def test_at_the_papers_scale_the_warning_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "paper"
    each = results_folder.run("edsr")
    results_folder.add(folder, each)
    file = folder / "runs" / each.id / "config.json"
    config = json.loads(file.read_text())
    config["network"] |= {"blocks": 32, "channels": 256}
    config["training"] |= {"steps": 1_000_000, "batch": 16, "patch": 28}
    config["data"] = {"train": ["DIV2K"]}
    file.write_text(json.dumps(config))
    said, same = banner(tables.build("table1", folder))
    assert same
    assert "Not comparable" not in said
    assert " 100 % of the paper's training pixels" in said


def test_ranks_share_what_prints_alike() -> None:
    assert marks([30.001, 30.004, 29.0, None, 28.0], 2) == ["best", "best", "second", "", ""]
    assert marks([30.0, None], 2) == ["", ""]
    assert marks([inf, 30.0], 2) == ["best", "second"]


def test_text_in_cells_cannot_break_the_forms() -> None:
    shown = View("t", "a | b", "x", False, [Column("<i>|", "g")], [Section("", [("<b>|", [Text("1|2", "<u>")])])])
    assert "<b>|" not in render.page(shown)
    assert "<i>" not in render.page(shown)
    line = render.markdown(shown).splitlines()[-2]
    assert line.replace("\\|", "").count("|") == 3


def test_findings_follow_the_rows(tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    plain, whole = results_folder.run("edsr"), results_folder.run("enlcn", 4, "enlca", k=6.0)
    for each, gain in ((plain, 0.5), (whole, 0.8)):
        results_folder.add(folder, each, gain, {"Set14": 14})
    (sentence,) = findings.describe_table("table2", tables.build("table2", folder))
    assert "Set14 +0.3" in sentence
    assert "Inconclusive on Set14" in sentence
    assert "+0.27" in sentence
    reasons = " ".join(findings.reasons(tables.build("table2", folder)))
    assert "300 steps" in reasons
    assert "One seed" in reasons
    for each, gain in ((plain, 0.5), (whole, 0.8)):
        for seed in (1, 2):
            results_folder.add(folder, replace(each, seed=seed), gain, {"Set14": 14})
    table = tables.build("table2", folder)
    (sentence,) = findings.describe_table("table2", table)
    assert "Better on Set14" in sentence
    assert "better" in render.markdown(tables.view("table2", table))
    assert "One seed" not in " ".join(findings.reasons(table))


def test_a_missing_thing_is_one_clear_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    with pytest.raises(SisrError, match="no results folder"):
        tables.build("table1", folder)
    whole = results_folder.run("enlcn", 4, "enlca", k=6.0, m=128)
    results_folder.add(folder, whole)
    with pytest.raises(SisrError, match="no evaluation of other-x4"):
        tables.build("table1", folder, ["other-x4"])
    with pytest.raises(SisrError, match="baseline"):
        tables.build("table2", folder)
    with pytest.raises(SisrError, match="at least two values of k"):
        tables.build("k_sweep", folder)
    with pytest.raises(SisrError, match="no measurements of complexity"):
        tables.build("table4", folder)
    with pytest.raises(SisrError, match="no table at"):
        tables.read("table1", folder)
    with pytest.raises(UsageError, match="no table 'table9'"):
        tables.build("table9", folder)
    other = results_folder.run("enlcn", 4, "enlca", k=4.0, m=128)
    results_folder.add(folder, other)
    with pytest.raises(SisrError, match=r"different settings of the same row ENLCN at x4.*--runs"):
        tables.build("table1", folder)
    assert len(tables.build("table1", folder, [other.id])) > 0


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("image,psnr,ssim\na,30,0.9\nb,,0.9\n", "not a number"),
        ("image,psnr,ssim\na,30,0.9\na,31,0.9\n", "twice"),
        ("image,psnr\na,30\n", "column ssim"),
        ("image,psnr,ssim\n", "any row"),
        ("", "cannot be read"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(content: str, match: str, tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    each = results_folder.run("edsr")
    results_folder.add(folder, each, sets={"Set5": 2})
    (folder / "evaluation" / each.id / "Set5_x4.csv").write_text(content)
    with pytest.raises(SisrError, match=match):
        tables.build("table1", folder)


def test_rows_measured_in_two_ways_are_not_mixed(tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    plain, whole = results_folder.run("edsr"), results_folder.run("enlcn", 4, "enlca", k=6.0)
    for each in (plain, whole):
        results_folder.add(folder, each, sets={"Set5": 3})
    found = cell(tables.build("table1", folder), row="EDSR", scale=4, dataset="Set5", quantity="psnr")
    assert found["protocol"] == "P1, LR from imresize, symmetric"
    how = folder / "evaluation" / whole.id / "Set5_x4.json"
    how.write_text(how.read_text().replace("P1", "P2"))
    with pytest.raises(SisrError, match=r"by P1.*by P2"):
        tables.build("table1", folder)
    how.write_text(json.dumps({"protocol": "P1", "weights_sha256": "0" * 64}))
    with pytest.raises(SisrError, match="trained again after it was evaluated"):
        tables.build("table1", folder)


def test_seeds_on_different_images_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    for seed in (0, 1):
        each = results_folder.run("edsr", seed=seed)
        results_folder.add(folder, each, sets={"Set5": 2})
        written(folder, each.id, "Set5", 4, {"a": 30.0, f"b{seed}": 31.0})
    with pytest.raises(SisrError, match="same images"):
        tables.build("table1", folder)


def test_command_makes_and_shows(results: Path, ids: dict[str, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    for name in tables.NAMES:
        assert main(["tables", name, "--results", str(results), "--runs", *ids[name]]) == 0
        for path in capsys.readouterr().out.split():
            assert Path(path).stat().st_size > 0
    assert main(["tables", "--show", "--results", str(results)]) == 0
    shown = capsys.readouterr().out
    for title in ("Table 1", "Table 2", "Table 4", "k-sweep"):
        assert title in shown
    assert str(results / "figures" / "table4.png") in shown
    assert main(["tables", "--show", "--results", str(results), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shown"] == list(tables.NAMES)


@pytest.mark.parametrize("here", [".", "../laptop", "../laptop/tables/.."])
def test_from_inside_the_folder_the_presets_runs_are_found(
    here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`.` is the folder `laptop`, whose preset says which of two settings of ENLCA is in Table 2."""
    folder = tmp_path / "laptop"
    for part in ("runs", "evaluation"):
        shutil.copytree(
            ROOT / "results/reference/laptop" / part, folder / part, ignore=shutil.ignore_patterns("*.safetensors")
        )
    (folder / "tables").mkdir()
    monkeypatch.chdir(folder)
    assert main(["tables", "table2", "--results", here]) == 0
    assert set(filter(None, tables.read("table2", folder)["preset"])) == {"laptop"}
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 2),
        (["table1", "--show"], 2),
        (["table9"], 2),
        (["table1", "--complexity", "x.csv"], 2),
        (["--show"], 1),
        (["table1"], 1),
    ],
)
def test_wrong_calls(words: list[str], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", *words, "--results", str(tmp_path)]) == status
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        *(("quick", name) for name in tables.NAMES),
        *(("laptop", name) for name in ("table2", "table4", "k_sweep")),
        ("laptop-scratch", "table2"),
    ],
)
def test_committed_tables_follow_from_the_committed_rows(preset: str, name: str) -> None:
    """Means, intervals and verdicts in `results/reference` are those of this version."""
    reference = ROOT / "results" / "reference" / preset
    committed = tables.read(name, reference)
    runs = [run for run in dict.fromkeys(" ".join(committed["runs"]).split()) if (reference / "runs" / run).is_dir()]
    again = tables.build(name, reference, runs)
    for column in ("row", "quantity", "verdict", "interval", "state", "against", "runs"):
        assert list(again[column]) == list(committed[column])
    for column in ("measured", "low", "high", "se_images", "p"):
        values = [[number(value) or 0.0 for value in table[column]] for table in (again, committed)]
        assert values[0] == pytest.approx(values[1])


def test_of_several_settings_of_a_row_the_presets_are_taken() -> None:
    """ENLCA with k = 1 and k = 6 is one row of Table 2; the sweep of k needs both, but not another m."""
    reference = ROOT / "results" / "reference" / "laptop"
    with pytest.raises(runs.SameRowError):
        tables.MODULES["table2"].build(runs.load(reference), "laptop")
    ablation = tables.build("table2", reference)
    swept = " ".join(tables.build("k_sweep", reference)["runs"])
    planned = plan(yaml.safe_load((ROOT / "config" / "laptop.yaml").read_text()), ROOT).experiments["table2"]
    assert {id_ for id_ in " ".join(ablation["runs"]).split() if "enlcn" in id_} == {
        run.id for run in planned if run.network.attention == "enlca"
    }
    assert "enlcn-x2-k1-m128" in swept
    assert "m16" not in swept


def test_rows_of_table4_that_were_not_measured_are_blank() -> None:
    table = tables.build("table4", ROOT / "results" / "reference" / "laptop")
    shown = tables.view("table4", table)
    blank = dict(shown.sections[0].rows)["NLSA-r8"]
    assert [text.main + text.detail for text in blank[1:]] == [""] * (len(shown.columns) - 1)
    (timed,) = (note for note in shown.notes if note.startswith("Time is"))
    assert timed.endswith("one 100x100 feature map of 64 channels.")
