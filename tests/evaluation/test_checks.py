"""`python -m sisr reference-checks`: what holds, what does not, what cannot be done, and the page."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data as pictures

from sisr.cli import main
from sisr.data.prepare import reduce
from sisr.evaluation import reference_checks
from sisr.evaluation.reference_checks.check import Check, figures
from sisr.evaluation.reference_checks.document import markdown
from sisr.evaluation.reference_checks.networks import Beside

MADE = {
    "git_commit": "0123abcd", "git_clean": True, "device": "a processor", "threads": 2, "python": "3.13.0",
    "torch": "2.14.1", "finished": "2026-01-02T03:04:05+00:00",
}  # fmt: skip


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A folder with one photograph as Set5, and its LR as if it had been published."""
    hr = pictures.coffee()[:90, :121]
    folder = tmp_path / "reference" / "benchmarks" / "Set5"
    (folder / "HR").mkdir(parents=True)
    Image.fromarray(hr).save(folder / "HR" / "coffee.png")
    for scale in (2, 4):
        lr = folder / "LR_bicubic" / f"X{scale}" / f"coffeex{scale}.png"
        lr.parent.mkdir(parents=True)
        Image.fromarray(reduce(hr, scale)).save(lr)
    return tmp_path / "reference"


def call(*words: object) -> int:
    return main(["reference-checks", *map(str, words)])


def row(page: Path, *words: str) -> list[str]:
    (line,) = [line for line in page.read_text().splitlines() if all(word in line for word in words)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_published_lr_that_is_equal_holds(reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "docs" / "checks.md"
    assert call("--reference", reference, "--only", "imresize", "--output", page) == 0
    assert "imresize: 2 hold, 0 do not, 6 not run" in capsys.readouterr().out
    assert "2 of 8 checks hold, 0 do not, 6 were not run" in page.read_text()
    found = row(page, "Set5 x2", "symmetric")
    assert "1 images" in found[0]
    assert f"{45 * 60 * 3:,} values" in found[0]
    assert found[2:] == ["0", "0", "0", "0", "yes"]
    absent = row(page, "Set14 x4", "replicate")
    assert "benchmarks/Set14 does not exist" in absent[0]
    assert absent[3:] == ["", "", "0", "not run"]


def test_one_other_pixel_fails_and_is_counted(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lr = reference / "benchmarks" / "Set5" / "LR_bicubic" / "X4" / "coffeex4.png"
    pixels = np.array(Image.open(lr))
    pixels[3, 5] ^= 1
    Image.fromarray(pixels).save(lr)
    page = tmp_path / "checks.md"
    assert call("--reference", reference, "--only", "imresize", "--output", page) == 1
    said = capsys.readouterr().err
    assert "1 of 8 checks do not hold: Set5 x4, symmetric border: values that differ (3 instead of 0)." in said
    assert row(page, "Set5 x4", "symmetric")[3:] == ["3", "+3", "0", "**no**"]
    assert row(page, "Set5 x2", "symmetric")[-1] == "yes"


def test_other_images_do_not_give_the_known_means(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--reference", reference, "--only", "bicubic", "copied", "ssim") == 1
    said = capsys.readouterr()
    assert "ssim: 2 hold, 0 do not, 0 not run" in said.out
    assert "checks do not hold: bicubic, Set5 x2, PSNR (" in said.err
    assert "and 5 more" in said.err  # Set5: two by P1, six by P3


def test_a_folder_without_weights_and_logs_is_said(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--reference", reference, "--only", "weights", "rcan", "matlab", "--json") == 0
    found = json.loads(capsys.readouterr().out)["checks"]
    assert {check["group"] for check in found} == {"weights", "rcan", "matlab"}
    assert all(check["measured"] is check["holds"] is check["deviation"] is None for check in found)


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["--reference", "nowhere"], 1, "nowhere contains no reference data"),
        (["--reference", ".", "--only", "psnr"], 2, "there is no group of checks 'psnr'"),
        ([], 2, "--reference"),
    ],
)
def test_wrong_calls(words: list[str], status: int, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        found = call(*words)
    except SystemExit as error:
        found = int(str(error.code))
    assert found == status
    assert sentence in capsys.readouterr().err


def test_a_check_holds_up_to_its_bound() -> None:
    def check(measured: float | None) -> Check:
        return Check(what="", source="", expected=30.0, measured=measured, bound=0.25)

    assert [check(value).holds for value in (29.75, 30.25, 29.7, 30.3, None)] == [True, True, False, False, None]
    assert check(float("nan")).holds is False
    assert check(30.25).deviation == 0.25


def test_figures_know_their_bounds_and_sources() -> None:
    for group in ("rcan", "copied", "bicubic", "weights"):
        assert figures(group), group
        for figure in figures(group):
            # a bound is never wider than two units of the last printed digit
            unit = 10 ** -len(figure["value"].partition(".")[2])
            assert 0 < float(figure["bound"]) <= 2.001 * unit, figure
            assert figure["source"]
            assert figure["quantity"] in ("psnr", "ssim")


def beside(printed: float, grey: float | None = None, **other: float) -> Beside:
    given = {"measured": 30.0, "unrounded": 30.03, "rounded_y": 29.98, **other}
    return Beside(
        method="LapSRN", dataset="Set14", scale=2, printed=printed, printed_note="", grey_as_rgb=grey, **given
    )


def test_differences_to_print_are_explained_where_they_are_large() -> None:
    page = markdown({}, [beside(30.02)], MADE)
    assert "| LapSRN | Set14 x2 | 30.02 | 30.000 | −0.02 | 30.030 | 29.980 |  |" in page
    assert "No value differs by more than 0.02 dB." in page
    page = markdown({}, [beside(30.03)], MADE)
    assert "LapSRN, Set14 x2, −0.03 dB: rounding LR to 8 bits changes −0.030 dB; rounding Y −0.050 dB;" in page
    assert "the closest variant is “LR not rounded”, 0.000 dB from the published value." in page
    page = markdown({}, [beside(30.12, grey=30.11)], MADE)
    assert "taking the greyscale image as RGB +0.080 dB" in page
    assert "the closest variant is “LR not rounded, grey as RGB”, −0.010 dB from the published value." in page
    page = markdown({}, [beside(30.10)], MADE)
    assert "“LR not rounded”, −0.070 dB from the published value, which these causes do not explain." in page


def test_the_page_says_what_made_it() -> None:
    page = markdown({}, [], MADE)
    assert "Commit `0123abcd`; a processor, 2 threads; Python 3.13.0, torch 2.14.1" in page
    assert "with uncommitted changes" in markdown({}, [], {**MADE, "git_clean": False})


def test_everything_but_networks_holds_on_the_reference_data(reference_data: Path) -> None:
    found = reference_checks.run(reference_data, ["imresize", "matlab", "rcan", "copied", "ssim"])
    assert {name: len(part) for name, part in found.items()} == {
        "imresize": 8, "matlab": 8, "rcan": 8, "copied": 9, "ssim": 2,
    }  # fmt: skip
    assert [check.what for part in found.values() for check in part if check.holds is not True] == []


def test_the_committed_page_has_every_check(root: Path) -> None:
    page = (root / "docs" / "checks.md").read_text()
    for title, _ in reference_checks.GROUPS.values():
        assert f"## {title}" in page
    number = sum(len(figures(group)) for group in ("rcan", "copied", "bicubic", "weights")) + 8 + 8 + 2
    assert f"**{number} of {number} checks hold, 0 do not, 0 were not run.**" in page
    for group in ("rcan", "copied", "bicubic", "weights"):
        for figure in figures(group):
            assert f"| {figure['value']}" in page
