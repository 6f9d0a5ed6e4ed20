"""The networks that come with the repository: what they are, and that they still give the committed PSNR."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data
from PIL import Image
from safetensors import safe_open

import models
from models import pretrained
from sisr.cli.main import main
from sisr.data.imresize import imresize
from sisr.evaluation.metrics import psnr

ROWS = Path(__file__).parents[2] / "results" / "reference" / "pretrained" / "evaluation"
SCALES = (2, 4)


@pytest.mark.parametrize("scale", SCALES)
def test_it_is_small_and_of_its_scale(scale: int) -> None:
    file = pretrained.weights(scale)
    assert file.stat().st_size <= 1_000_000
    with safe_open(file, "pt") as opened:
        assert {opened.get_slice(name).get_dtype() for name in opened.keys()} == {"F16"}  # noqa: SIM118
    assert models.load(file).scale == scale


def photographs(tmp_path: Path) -> Path:
    assert main(["fetch", "photographs-test", "--data", str(tmp_path)]) == 0
    return tmp_path / "photographs-test" / "HR"


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("dataset", "count"), [("photographs-test", 3), ("Set5", 5)])
def test_it_gives_the_committed_figures_again(
    dataset: str, count: int, scale: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """An upgrade that moves a figure is noticed here."""
    if dataset == "Set5":
        images = request.getfixturevalue("reference_data") / "benchmarks" / "Set5"
    else:
        images = photographs(tmp_path)
    committed = pd.read_csv(ROWS / f"pretrained-x{scale}" / f"{dataset}_x{scale}.csv").set_index("image")
    words = ["evaluate", "pretrained", "--data", str(images), "--scale", str(scale), "--greyscale", "rgb"]
    assert main([*words, "--device", "cpu", "--output-dir", str(tmp_path)]) == 0
    again = pd.read_csv(tmp_path / f"{dataset}_x{scale}.csv").set_index("image")
    for name, row in again.iterrows():
        assert row.psnr == pytest.approx(committed.psnr[name], abs=1e-3)
        assert row.ssim == pytest.approx(committed.ssim[name], abs=1e-5)
    assert len(again) == len(committed) == count


@pytest.mark.parametrize("scale", SCALES)
def test_its_committed_figures_are_those_of_these_weights_and_above_bicubic(scale: int) -> None:
    for dataset, images in {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100}.items():
        ours, bicubic = (
            pd.read_csv(ROWS / f"{name}-x{scale}" / f"{dataset}_x{scale}.csv") for name in ("pretrained", "bicubic")
        )
        assert len(ours) == len(bicubic) == images
        assert ours.psnr.mean() > bicubic.psnr.mean() + 0.5


def test_a_photo_needs_no_weights(tmp_path: Path) -> None:
    hr = skimage.data.astronaut()[:160, 160:320]
    photo = tmp_path / "photo.png"
    Image.fromarray(imresize(hr, 1 / 4)).save(photo)
    assert main(["upscale", str(photo), "--device", "cpu"]) == 0
    sr = np.asarray(Image.open(tmp_path / "photo_x4.png"))
    assert psnr(sr, hr, scale=4) > psnr(imresize(imresize(hr, 1 / 4), 4), hr, scale=4) + 0.5


def test_another_scale_says_which_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
    assert main(["upscale", str(tmp_path / "photo.png"), "--scale", "3"]) == 2
    assert "no pretrained network for x3, only for x2, x4" in capsys.readouterr().err
