"""Published weights that were evaluated: measured rows of Table 1 beside the printed ones."""

import json
from pathlib import Path

import pandas as pd
import pytest

from sisr.cli import main
from sisr.report import tables
from sisr.report.tables import render
from sisr.utils.errors import SisrError
from tests.helpers import results_folder

FACTS = {
    "network": "lapsrn", "weights_sha256": "ab" * 32, "device": "cpu", "torch": "2.14.1", "unrounded_lr": False,
}  # fmt: skip


def evaluated(results: Path, name: str, psnr: dict[str, list[float]], scale: int, **facts: object) -> None:
    """An evaluation of published weights: per-image rows and the facts beside them."""
    folder = results / "evaluation" / name
    folder.mkdir(parents=True)
    for dataset, values in psnr.items():
        rows = {"image": [f"image{index}" for index in range(len(values))], "psnr": values, "ssim": 0.9}
        pd.DataFrame(rows).to_csv(folder / f"{dataset}_x{scale}.csv", index=False)
        how = {"protocol": "P1", "greyscale": "as-is", "lr": {"from": "imresize", "boundary": "symmetric"}}
        (folder / f"{dataset}_x{scale}.json").write_text(json.dumps({**how, **FACTS, **facts}))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    results_folder.make(tmp_path / "quick")
    return tmp_path / "quick"


def built(results: Path) -> pd.DataFrame:
    """Table 1 of the runs that are planned for it."""
    return tables.build("table1", results, [run.id for run in results_folder.experiments()["table1"]])


def cell(table: pd.DataFrame, **wanted: object) -> pd.Series:
    for key, value in wanted.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_measured_beside_printed(results: Path) -> None:
    evaluated(results, "lapsrn-x4", {"Set5": [31.0, 31.5, 31.5, 31.6, 31.8]}, 4)
    evaluated(results, "srmdnf-x4", {"Set5": [31.95] * 5}, 4, network="srmdnf", unrounded_lr=True)
    evaluated(results, "vdsr-x2", {"Set5": [37.5] * 5}, 2, network="vdsr")
    table = built(results)
    found = cell(table, row="LapSRN", scale=4, dataset="Set5", quantity="psnr")
    assert (found["published"], found["runs"], found["weights_sha256"]) == (31.54, "lapsrn-x4", "ab" * 32)
    assert found["measured"] == pytest.approx(31.48)
    assert (found["state"], found["unrounded_lr"]) == ("published weights", "")
    assert (found["training"], found["comparable"]) == ("", "")
    assert found["protocol"] == "P1, LR from imresize, symmetric"
    other = cell(table, row="SRMDNF", scale=4, dataset="Set5", quantity="psnr")
    assert (other["state"], other["unrounded_lr"]) == ("published weights", "yes")
    assert set(table.loc[table["row"] == "EDSR", "state"]) == {"", "trained"}
    new = cell(table, row="VDSR", scale=2, dataset="Set5", quantity="psnr")
    assert new["measured"] == pytest.approx(37.5)
    assert "not in the paper's table" in new["published_note"]
    assert pd.isna(cell(table, row="LapSRN", scale=2, dataset="Set5", quantity="psnr")["measured"])
    # they were trained to the end elsewhere: no differences to networks trained here
    assert set(table.loc[table["row"].isin(["LapSRN", "SRMDNF", "VDSR"]), "quantity"]) == {"psnr", "ssim"}


def test_a_checkpoint_of_any_name_is_a_row(results: Path) -> None:
    origin = {"network": "SwinIR", "read_by": "spandrel 0.4.2"}
    evaluated(results, "my_swinir-x4", {"Set5": [32.4] * 5}, 4, **origin)
    evaluated(results, "rcan-x4", {"Set5": [32.6] * 5}, 4, network="RCAN", read_by="spandrel 0.4.2")
    table = built(results)
    row = cell(table, row="my_swinir", scale=4, dataset="Set5", quantity="psnr")
    assert row["measured"] == pytest.approx(32.4)
    assert row["state"] == "published weights"
    assert pd.isna(row["published"])
    beside = cell(table, row="RCAN", scale=4, dataset="Set5", quantity="psnr")
    assert (beside["measured"], beside["published"]) == (pytest.approx(32.6), 32.63)


def test_readers_see_both_and_why_they_differ(results: Path) -> None:
    evaluated(results, "lapsrn-x4", {"Set5": [41.48] * 5}, 4)
    evaluated(results, "srmdnf-x4", {"Set5": [31.95] * 5}, 4, network="srmdnf", unrounded_lr=True)
    shown = tables.view("table1", built(results))
    place = {(column.group, column.label): index for index, column in enumerate(shown.columns)}
    section = next(section for section in shown.sections if section.title == "x4")
    line = dict(section.rows)["LapSRN"]
    assert line[place["Set5", "paper"]].main == "31.54 / 0.8850"
    assert line[place["Set5", "measured"]].main == "41.48 / 0.9000"
    assert line[place["Set5", "measured"]].mark == ""  # far above all others, and not ranked among them
    assert dict(section.rows)["ENLCN"][place["Set5", "measured"]].mark == "best"
    notes = " ".join(shown.notes)
    assert "LapSRN, SRMDNF: measured with published weights" in notes
    assert "SRMDNF from LR that was not rounded" in notes
    assert "More than 0.02 dB from the published value: LapSRN on Set5 x4 +9.94 dB." in notes
    assert "docs/checks.md" in notes
    for form in (render.markdown(shown), render.page(shown)):
        assert "41.48 / 0.9000" in form


def test_without_them_nothing_is_said_of_them(results: Path) -> None:
    shown = tables.view("table1", built(results))
    assert "published weights," not in " ".join(shown.notes)


def test_they_come_along_with_named_runs_and_stay_out_of_other_tables(results: Path) -> None:
    evaluated(results, "lapsrn-x4", {"Set5": [31.5] * 5}, 4)
    evaluated(results, "lapsrn-x2", {"Set5": [37.5] * 5}, 2)
    planned = results_folder.experiments()
    names = [run.id for run in planned["table1"] if run.network.scale == 4]
    table = tables.build("table1", results, names)
    assert cell(table, row="LapSRN", scale=4, dataset="Set5", quantity="psnr")["measured"] == pytest.approx(31.5)
    assert pd.isna(cell(table, row="LapSRN", scale=2, dataset="Set5", quantity="psnr")["measured"])
    for name in ("table2", "k_sweep", "table4"):
        other = tables.build(name, results, [run.id for run in planned[name]])
        assert "lapsrn-x4" not in " ".join(other["runs"])


def test_the_command_draws_trained_networks_only(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(results, "lapsrn-x4", {"Set5": [31.5] * 5}, 4)
    names = [run.id for run in results_folder.experiments()["table1"]]
    assert main(["tables", "table1", "--results", str(results), "--runs", *names]) == 0
    assert "LapSRN" not in (results / "figures" / "table1.svg").read_text()
    assert "31.50 / 0.9000" in (results / "tables" / "table1.md").read_text()


def test_mixed_evaluations_are_refused(results: Path) -> None:
    evaluated(results, "lapsrn-x4", {"Set5": [31.5] * 5}, 4, network="srmdnf")
    with pytest.raises(SisrError, match="holds an evaluation of srmdnf"):
        built(results)
    for key, value, sentence in [
        ("weights_sha256", "cd" * 32, "with other weights than before"),
        ("unrounded_lr", True, "from other LR than before"),
        ("protocol", "P2", "evaluate both in the same way"),
    ]:
        folder = results / "evaluation" / "lapsrn-x4"
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        evaluated(results, "lapsrn-x4", {"Set14": [28.0] * 14, "Set5": [31.5] * 5}, 4)
        facts = json.loads((folder / "Set5_x4.json").read_text())
        (folder / "Set5_x4.json").write_text(json.dumps({**facts, key: value}))
        with pytest.raises(SisrError, match=sentence):
            built(results)
