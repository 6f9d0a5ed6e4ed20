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


@pytest.mark.parametrize(("name", "row", "printed"), [("edsr", "EDSR", 32.46), ("nlsn", "NLSN", 32.59)])
def test_weights_of_a_network_with_slots_are_beside_its_printed_figures(
    results: Path, name: str, row: str, printed: float
) -> None:
    evaluated(results, f"{name}-x4", {"Set5": [32.0] * 5}, 4, network=name)
    trained = [run.id for run in results_folder.experiments()["table1"] if run.network.name == "enlcn"]
    found = cell(tables.build("table1", results, trained), row=row, scale=4, dataset="Set5", quantity="psnr")
    assert (found["published"], found["measured"]) == (printed, pytest.approx(32.0))


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


def images(results: Path, name: str, psnr: list[float], scale: int, dataset: str = "Set5") -> None:
    """An evaluation of SR images: without facts of a network."""
    evaluated(results, name, {dataset: psnr}, scale)
    file = results / "evaluation" / name / f"{dataset}_x{scale}.json"
    facts = {key: value for key, value in json.loads(file.read_text()).items() if key not in FACTS}
    file.write_text(json.dumps({**facts, "folder": "images"}))


def test_images_of_authors_are_measured_beside_printed_figures(results: Path) -> None:
    images(results, "images-san-x4", [32.61] * 5, 4)
    images(results, "images-rdn-x4", [32.47] * 5, 4)
    images(results, "images-mine-x4", [30.0] * 5, 4)
    table = built(results)
    for row, printed, measured in (("SAN", 32.64, 32.61), ("RDN", 32.47, 32.47)):
        found = cell(table, row=row, scale=4, dataset="Set5", quantity="psnr")
        assert (found["published"], found["measured"]) == (printed, pytest.approx(measured))
        assert (found["state"], found["training"], found["weights_sha256"]) == ("published images", "", "")
    assert pd.isna(cell(table, row="SAN", scale=2, dataset="Set5", quantity="psnr")["measured"])
    assert cell(table, row="mine", scale=4, dataset="Set5", quantity="psnr")["measured"] == pytest.approx(30.0)
    assert set(table.loc[table["row"].isin(["SAN", "RDN", "mine"]), "quantity"]) == {"psnr", "ssim"}
    shown = tables.view("table1", table)
    place = {(column.group, column.label): index for index, column in enumerate(shown.columns)}
    line = dict(next(section for section in shown.sections if section.title == "x4").rows)["SAN"]
    assert line[place["Set5", "paper"]].main == "32.64 / 0.9003"
    assert (line[place["Set5", "measured"]].main, line[place["Set5", "measured"]].mark) == ("32.61 / 0.9000", "")
    notes = " ".join(shown.notes)
    assert "RDN, SAN, mine: measured from SR images that the authors published." in notes
    said = "SAN on Set5 x4: its authors' own images give 32.61 dB, the table of the paper prints 32.64."
    assert said in notes
    assert "RDN on Set5" not in notes
    assert "published weights," not in notes.replace("(controls, published weights", "")


def test_images_and_weights_of_one_method_are_two_rows(results: Path) -> None:
    images(results, "images-lapsrn-x4", [31.4] * 5, 4)
    evaluated(results, "lapsrn-x4", {"Set5": [31.5] * 5}, 4)
    table = built(results)
    for row, measured in (("LapSRN", 31.5), ("LapSRN (its authors' SR images)", 31.4)):
        found = cell(table, row=row, scale=4, dataset="Set5", quantity="psnr")
        assert (found["published"], found["measured"]) == (31.54, pytest.approx(measured))
    other = tables.build("table2", results, [run.id for run in results_folder.experiments()["table2"]])
    assert "images-lapsrn-x4" not in " ".join(other["runs"])


def test_images_under_the_name_of_an_evaluated_network_are_refused(results: Path) -> None:
    evaluated(results, "images-rcan-x4", {"Set5": [32.0] * 5}, 4, network="lapsrn")
    with pytest.raises(SisrError, match="holds an evaluation of lapsrn"):
        built(results)


@pytest.mark.parametrize(
    ("method", "scale", "psnr", "ssim"),
    [  # the logs of the authors of RCAN and RDN; SAN's table prints 32.64 / 0.9003
        ("rcan", 2, 38.274168, 0.961445),
        ("rcan", 4, 32.633562, 0.900241),
        ("rdn", 2, 38.241919, 0.961363),
        ("rdn", 4, 32.468907, 0.898957),
        ("san", 4, 32.611250, 0.900173),
    ],
)
def test_images_that_authors_published(
    reference_data: Path, tmp_path: Path, method: str, scale: int, psnr: float, ssim: float
) -> None:
    folder = reference_data / "checks" / f"{method}_set5" / f"x{scale}"
    folder = folder / "SR" if method == "rcan" else folder
    results = tmp_path / "quick"
    words = ["--data", str(reference_data / "benchmarks" / "Set5"), "--scale", str(scale)]
    output = results / "evaluation" / f"images-{method}-x{scale}"
    assert main(["evaluate", str(folder), *words, "--output-dir", str(output)]) == 0
    evaluated(results, f"bicubic-x{scale}", {"Set14": [30.0] * 14}, scale)
    table = tables.build("table1", results, [f"bicubic-x{scale}"])
    row = method.upper()
    for quantity, value in (("psnr", psnr), ("ssim", ssim)):
        found = cell(table, row=row, scale=scale, dataset="Set5", quantity=quantity)
        assert found["measured"] == pytest.approx(value, abs=1.5e-6)


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
