"""The leaderboard: which rows are compared, what it says of each, and its page in a real browser."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from sisr.cli import main
from sisr.comparison import leaderboard, leaderboard_view
from sisr.config.layout import Results
from sisr.config.presets import plan
from sisr.results import cells
from sisr.results.pareto import front
from sisr.utils.errors import SisrError
from tests.helpers import comparison_folder, results_folder
from tests.helpers.browser import column, open_fresh, press, requested, resize

LABELS = ("enlca", "nlsa", "my_attention")
FIGURES = ["row", "dataset", "quantity", "measured", "low", "high", "p_corrected", "verdict", "runs", "weights_sha256"]


def write_costs(folder: Path) -> None:
    """Invented costs of the first two, from those of the comparison: the mechanism's specification is the label."""
    costs = pd.read_csv(folder / "comparison" / "cost.csv")
    specs = dict(zip(LABELS, ("enlca:k=6.0,m=128", "nlsa:rounds=4", "not there"), strict=True))
    path = Results(folder).leaderboard_cost
    path.parent.mkdir(exist_ok=True)
    costs.assign(label=costs["label"].map(specs)).to_csv(path, index=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "quick"
    comparison_folder.make(folder)
    write_costs(folder)
    assert main(["leaderboard", "--results", str(folder)]) == 0
    return folder


def test_rows_are_those_of_the_comparison_of_the_same_runs(results: Path) -> None:
    mine = cells.read(Results(results).table("leaderboard"))
    theirs = cells.read(Results(results).table("compare"))
    quality = ("psnr", "ssim", "psnr_difference", "ssim_difference")

    def shown(table: pd.DataFrame) -> pd.DataFrame:
        part = table[table["quantity"].isin(quality) & (table["kind"] == "mechanism")]
        return part[FIGURES].astype({"measured": float}).set_index(["row", "dataset", "quantity"]).sort_index()

    pd.testing.assert_frame_equal(shown(mine), shown(theirs))
    assert set(mine.columns) == set(cells.COLUMNS)
    assert set(mine["table"]) == {"leaderboard"}


def test_rows_on_other_terms_are_not_compared(tmp_path: Path) -> None:
    """Another scale has its own reference, a row without one has no difference, and a single run is left out."""
    folder = tmp_path / "quick"
    comparison_folder.make(folder, ["enlca", "nlsa"], (0, 1), {"Set5": 5})
    longer = results_folder.run("edsr", 4, "nla")
    longer = dataclasses.replace(longer, training=dataclasses.replace(longer.training, steps=999))
    others = [results_folder.run("enlcn", 2, "enlca", k=6.0, m=128), results_folder.run("edsr", 2)]
    for run in (*others, longer):
        results_folder.add(folder, run, 0.5, {"Set5": 5})
    without = [dataclasses.replace(run, seed=7, train=("elsewhere",)) for run in (longer, results_folder.run("edsr"))]
    without[1] = dataclasses.replace(without[1], training=without[0].training)
    for run in without:
        results_folder.add(folder, run, 0.5, {"Set5": 5})
    table = leaderboard.build(folder)
    rows = {terms: set(part.loc[part["quantity"] == "psnr", "row"]) for terms, part in table.groupby("terms")}
    assert sorted(map(sorted, rows.values())) == [
        ["HR image", "bicubic", "enlca", "nlsa"],
        ["HR image", "bicubic", "nla", "none"],
        ["enlca", "none"],
    ]
    assert longer.id not in " ".join(table["runs"])
    tested = table[table["quantity"] == "psnr_difference"].set_index("row")["runs"]
    assert set(tested.index) == {"none", "nlsa"}
    assert tested["none"] == others[1].id
    said = leaderboard_view.notes(table)
    assert any("ENLCA was not trained there, so there are no differences." in line for line in said)


def test_front_by_hand() -> None:
    points = [(1.0, 30.0), (2.0, 29.0), (2.0, 31.0), (3.0, 31.0), (4.0, 32.0), (1.0, 29.5)]
    assert front(points) == [(1.0, 30.0), (2.0, 31.0), (4.0, 32.0)]


def test_pareto_marks_need_a_cost_and_a_complete_count(results: Path, tmp_path: Path) -> None:
    """enlca is cheaper and better than nlsa; my_attention is better than both, and its cost is not known."""
    table = leaderboard.build(results)
    marks = table[table["quantity"] == "pareto"]
    assert set(zip(marks["row"], marks["measured"], strict=True)) == {("enlca", "operations and time")}
    costs = pd.read_csv(Results(results).leaderboard_cost)
    costs["gflops_at_least"] = "mylib::scan"
    costs.to_csv(tmp_path / "cost.csv", index=False)
    marks = leaderboard.build(results, tmp_path / "cost.csv").query("quantity == 'pareto'")
    assert set(marks["measured"]) == {"time"}


def test_costs_are_shown_at_every_size_and_a_missing_one_says_so(results: Path) -> None:
    view = leaderboard_view.view(leaderboard.build(results))
    headings = [column.label for column in view.columns]
    rows = dict(view.sections[0].rows)
    at = headings.index("forward 32x32, ms")
    assert headings[at : at + 3] == [f"forward {side}x{side}, ms" for side in (32, 64, 128)]
    assert rows["enlca"][at].main == "1.02"  # 1e-6 s a pixel
    assert (rows["my_attention"][at].main, rows["my_attention"][at].detail) == ("", "not measured")
    assert rows["nlsa"][headings.index("parameters")].main == "24,960"
    assert rows["nlsa"][headings.index("file")].main == "models/attention/nlsa.py"


def test_no_cost_at_all_is_blank_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    comparison_folder.make(folder, ["enlca", "nlsa"], (0,), {"Set5": 5})
    assert main(["leaderboard", "--results", str(folder)]) == 0
    text = (folder / "tables" / "leaderboard.md").read_text()
    assert text.count("not measured") == 2 * 5
    assert "The cost of these mechanisms has not been measured yet: python -m sisr leaderboard cost." in text
    assert "not measured" in (folder / "leaderboard.html").read_text()


def test_command_of_every_committed_row_plans_its_runs(root: Path) -> None:
    """What the page shows is taken apart as Snakemake does it, and planned."""
    table = leaderboard.build(root / "results" / "reference" / "laptop")
    place = ["terms", "row"]
    runs = table[(table["quantity"] == "psnr") & (table["kind"] == "mechanism")].groupby(place)["runs"].first()
    commands = table[table["quantity"] == "command"].set_index(place)["measured"]
    assert set(runs.index) == set(commands.index)
    assert {row for _, row in commands.index} >= {"enla k=1", "enla k=6", "none"}
    for row, command in commands.items():
        words = shlex.split(command)
        assert words[:4] == ["snakemake", "--cores", "2", "leaderboard"]
        config = yaml.safe_load((root / words[words.index("--configfile") + 1]).read_text())
        for word in words[words.index("--config") + 1 :]:
            key, _, value = word.partition("=")
            update_config(config, {key: yaml.safe_load(value)})
        comparison = plan(config, root).comparison
        assert comparison is not None
        planned = {run.id for several in comparison.runs.values() for run in several}
        assert set(runs[row].split()) <= planned, command
    files = table[table["quantity"] == "file"]["measured"]
    assert all((root / file).is_file() for file in files)


def test_a_row_of_another_preset_has_the_command_of_its_training(results: Path) -> None:
    """The runs of this folder are not those of config/quick.yaml, whose name it has."""
    provenance = next(results.glob("runs/nlsn*-s0-*/provenance.json"))
    plain = json.loads(provenance.read_text())
    provenance.write_text(json.dumps(plain | {"command": "python -m sisr train --network nlsn"}))
    table = leaderboard.build(results)
    commands = table[table["quantity"] == "command"].set_index("row")["measured"]
    assert commands["nlsa"] == "python -m sisr train --network nlsn"
    provenance.write_text(json.dumps(plain))


def test_search_is_a_term_of_its_own(tmp_path: Path) -> None:
    """Two mechanisms with the better of two learning rates are compared with each other, not with a third one."""
    folder = tmp_path / "quick"
    for attention, best in (("enlca", 1e-3), ("nlsa", 3e-4), ("nla", None)):
        for rate in (1e-3, 3e-4) if best else (1e-3,):
            run = results_folder.run("edsr", 4, attention)
            run = dataclasses.replace(run, training=dataclasses.replace(run.training, learning_rate=rate))
            if best:
                results_folder.add(tmp_path / "other" / "quick", run, 0.6 if rate == best else 0.5, {"T91": 4})
                target = Results(folder).validation(run.id)
                target.parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "other" / "quick" / "evaluation" / run.id).rename(target)
            if rate == best or not best:
                results_folder.add(folder, run, 0.5, {"Set5": 5})
            elif best:
                place = folder / "runs" / run.id
                place.parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "other" / "quick" / "runs" / run.id).rename(place)
    table = leaderboard.build(folder)
    assert len(set(table["terms"])) == 2  # enlca at 0.001 is compared with nla, too
    searched = table[table["learning_rates"] != ""]
    assert set(searched["row"]) == {"enlca", "nlsa"}
    words = searched.drop_duplicates("row").set_index("row")["learning_rates"]
    assert words["enlca"].startswith("0.001 (")
    assert words["nlsa"].startswith("0.0003 (")
    tested = table[(table["quantity"] == "psnr_difference") & table["terms"].str.contains("chosen for each")]
    assert list(tested["row"]) == ["nlsa"]
    assert set(tested["recipe_differences"]) == {""}


def test_labels_are_text_and_links_are_paths(results: Path, tmp_path: Path) -> None:
    table = leaderboard.build(results).replace({"nlsa": '<img src="x" onerror="alert(1)">'})
    text = leaderboard_view.html(table, lambda file: f"../{file}", {"leaderboard.csv": b"a"})
    assert "<img" not in text
    assert "&lt;img src=&#34;x&#34;" in text
    assert 'href="../models/attention/enlca.py"' in text


def test_cost_measures_all_but_those_whose_file_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "quick"
    runs = [results_folder.run("edsr", 4, attention) for attention in ("mean_pooling", "gone.py:Gone")]
    for run in (results_folder.run("enlcn", 4, "enlca", k=6.0, m=128), *runs):
        results_folder.add(folder, run, 0.5, {"Set5": 5})
    words = ["leaderboard", "cost", "--results", str(folder), "--sizes", "8", "--seconds", "0.001", "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)["mechanisms"]) == ["enlca:k=6.0,m=128", "mean_pooling"]
    table = leaderboard.build(folder)
    cost = table[table["quantity"] == "forward_seconds 8x8"].set_index("row")["measured"]
    assert set(cost.index) == {"enlca", "mean_pooling"}
    assert all(float(value) > 0 for value in cost)


def test_without_runs_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results_folder.add(tmp_path / "quick", results_folder.run("edsr"))
    assert main(["leaderboard", "--results", str(tmp_path / "quick")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "snakemake --cores 8 leaderboard --config 'attention=[enlca, none]'" in said
    with pytest.raises(SisrError, match="there is no results folder"):
        leaderboard.build(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", "null", "holds no record of a run"),
        ("config.json", "[]", "holds no record of a run"),
        ("config.json", "{}", "is not the configuration of a run: 'network'"),
        ("config.json", '{"network": null}', "is not the configuration of a run"),
        ("provenance.json", "[]", "holds no record of a run"),
    ],
)
def test_files_that_no_run_writes_are_one_sentence(
    file: str, content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for attention in (None, "mean_pooling"):
        run = results_folder.run("edsr", 4, attention)
        results_folder.add(tmp_path, run, 0.5, {"Set5": 5})
    (tmp_path / "runs" / run.id / file).write_text(content)
    for words in (["leaderboard"], ["compare", "--runs", run.id]):
        assert main([*words, "--results", str(tmp_path)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error
        assert str(tmp_path / "runs" / run.id / file) in error


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a,b\n"1'])
def test_a_file_of_costs_that_is_no_table_is_one_sentence(
    content: bytes, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cost.csv").write_bytes(content)
    assert main(["leaderboard", "--results", str(results), "--complexity", str(tmp_path / "cost.csv")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cost.csv is not a table" in error


def test_nothing_is_written_where_the_page_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for attention in (None, "mean_pooling"):
        results_folder.add(tmp_path, results_folder.run("edsr", 4, attention), 0.5, {"Set5": 5})
    (tmp_path / "leaderboard.html").mkdir()
    assert main(["leaderboard", "--results", str(tmp_path)]) == 1
    assert "leaderboard.html is a folder" in capsys.readouterr().err
    assert not (tmp_path / "tables").exists()


def test_labels_of_equal_mechanisms_differ(tmp_path: Path) -> None:
    """The same mechanism in other slots."""
    folder = tmp_path / "quick"
    run = results_folder.run("enlcn", 4, "enlca", k=6.0, m=128)
    other = dataclasses.replace(run, network=dataclasses.replace(run.network, slots=(2,)))
    results_folder.add(folder, run, 0.5, {"Set5": 5})
    results_folder.add(folder, other, 0.4, {"Set5": 5})
    table = leaderboard.build(folder)
    assert set(table.loc[table["kind"] == "mechanism", "row"]) == {"enlca", f"enlca ({other.digest})"}


@pytest.fixture
def opened(browser: Any, results: Path) -> Any:
    open_fresh(browser, (results / "leaderboard.html").as_uri())
    return browser


def rows(browser: Any, at: int = 0) -> list[str]:
    """The text of one column of the rows that are not filtered out."""
    script = """return [...document.querySelectorAll('#leaderboard tbody tr')].filter(row => row.offsetParent !== null)
        .map(row => row.cells[arguments[0]].innerText.trim())"""
    return list(browser.execute_script(script, at))


def choose(browser: Any, title: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    field = next(each for each in browser.find_elements("css selector", ".filter label") if each.text.startswith(title))
    Select(field.find_element("tag name", "select")).select_by_visible_text(value)


def test_page_shows_the_largest_set_first_and_filters(opened: Any) -> None:
    assert set(rows(opened, 1)) == {"Set14"}
    assert len(rows(opened)) == 3 + 2
    assert opened.find_element("css selector", ".filter output").text == "5 of 10 rows"
    choose(opened, "Set", "all")
    assert len(rows(opened)) == 10
    choose(opened, "Verdict", "worse")
    assert rows(opened) == ["nlsa", "nlsa"]
    choose(opened, "Verdict", "all")
    opened.find_element("css selector", ".filter input[type=search]").send_keys("ENL")
    assert rows(opened) == ["enlca", "enlca"]
    opened.find_element("css selector", ".filter input[type=search]").clear()
    opened.find_element("css selector", ".filter input[type=checkbox]").click()
    assert rows(opened) == ["enlca", "enlca"]


def test_filtered_rows_sort_by_number_with_unmeasured_ones_last(opened: Any) -> None:
    at, _ = press(opened, "leaderboard", "Forward 64x64")
    assert rows(opened)[:2] == ["enlca", "nlsa"]
    assert column(opened, "leaderboard", at)[-1] == ""
    assert rows(opened, at)[2] == "not measured"
    at, direction = press(opened, "leaderboard", "Difference")
    assert direction() == "descending"
    assert rows(opened)[:2] == ["my_attention", "nlsa"]


def test_page_asks_the_network_for_nothing_and_its_links_lead_to_files(opened: Any, root: Path) -> None:
    assert opened.get_log("browser") == []
    assert [url for url in requested(opened) if not url.startswith("data:")] == [opened.current_url]
    links = opened.execute_script("return [...document.querySelectorAll('td a')].map(link => link.href)")
    assert set(links) == {(root / "models" / "attention" / f"{name}.py").as_uri() for name in ("enlca", "nlsa")}


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_page_never_scrolls_sideways(opened: Any, width: int) -> None:
    resize(opened, width)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
