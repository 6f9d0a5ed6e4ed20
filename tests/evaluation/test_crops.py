"""`crops`: where to look, what is measured there, how it is drawn, and which runs the paper's figures show."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

import models
import sisr
from sisr.cli import main
from sisr.data.imresize import imresize
from sisr.data.pairs import open_pairs
from sisr.data.prepare import prepare_hr, prepare_lr
from sisr.evaluation import crops
from sisr.report.figures import crops as figure
from sisr.report.figures import style
from sisr.utils.errors import SisrError, UsageError

IMAGES = {"cat": photographs.chelsea()[:96, :120], "camera": photographs.camera()[200:290, 200:301]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The set `photos` as image files and prepared, an untrained network, and SR images made elsewhere."""
    monkeypatch.chdir(tmp_path)
    for folder in (Path("photos/HR"), Path("theirs")):
        folder.mkdir(parents=True)
    for name, image in IMAGES.items():
        Image.fromarray(image).save(f"photos/HR/{name}.png")
        height, width = (side // 2 * 2 for side in image.shape[:2])
        noise = np.random.default_rng(0).normal(0, 3, image.shape)
        noisy = np.clip(image + noise, 0, 255).astype(np.uint8)[:height, :width]
        Image.fromarray(noisy).save(f"theirs/{name}_x2.png")
    prepare_hr("photos", "prepared/photos/hr")
    prepare_lr("photos", 2, "prepared/photos/x2")
    torch.manual_seed(0)
    network = models.create("enlcn", 2, blocks=1, channels=8, slots=(0,), initialisation="interpolation")
    models.save(network, "enlcn.safetensors")
    return tmp_path


def test_best_window_is_the_square_with_the_largest_sum() -> None:
    values = np.random.default_rng(3).random((17, 23))
    for size, border in ((1, 0), (5, 0), (5, 2), (13, 2), (17, 0)):
        sums = {
            (x, y): values[y : y + size, x : x + size].sum()
            for y in range(border, 17 - border - size + 1)
            for x in range(border, 23 - border - size + 1)
        }
        assert crops.best_window(values, size, border) == max(sums, key=lambda place: sums[place])
    assert crops.best_window(np.zeros((6, 6)), 2) == (0, 0)
    with pytest.raises(SisrError, match="a crop of 14 pixels does not fit into 17 x 23 with a border of 2"):
        crops.best_window(values, 14, 2)


def test_places_are_where_bicubic_errs_most(here: Path) -> None:
    pairs = open_pairs("photos", 2)
    places = crops.hardest(pairs, 2, count=6, size=24)
    assert [pairs.names[place.index] for place in places] == ["camera", "cat"]
    for place in places:
        hr = pairs.hr(place.index)
        error = [sisr.evaluation.metrics.luminance(image) for image in (imresize(pairs.lr(place.index), 2), hr)]
        squared = (error[0] - error[1]) ** 2

        def at(x: int, y: int, squared: np.ndarray = squared) -> float:
            return float(squared[y : y + 24, x : x + 24].mean())

        others = [(x, y) for y in range(2, hr.shape[0] - 26, 5) for x in range(2, hr.shape[1] - 26, 5)]
        assert at(place.x, place.y) >= max(at(x, y) for x, y in others)
    (most,) = crops.hardest(pairs, 2, count=1, size=24)
    assert most in places
    assert crops.fitting(pairs, 2) == 80
    with pytest.raises(SisrError, match="no image of photos is large enough for a crop of 300 pixels"):
        crops.hardest(pairs, 2, 1, 300)


class Urban:
    """Names of Urban100 as its copies write them."""

    def __init__(self, name: str, form: str) -> None:
        self.name, self.names = name, [form.format(number) for number in range(1, 101)]


@pytest.mark.parametrize("form", ["img{:03d}", "img_{:03d}"])
def test_urban100_at_x4_has_the_papers_places(form: str) -> None:
    places = crops.of_paper(Urban("Urban100", form), 4)
    found = [(place.index + 1, place.x, place.y) for place in places]
    assert found == [(48, 231, 344), (93, 241, 59), (92, 603, 293), (74, 244, 150), (46, 250, 290), (24, 564, 359)]
    assert crops.of_paper(Urban("Urban100", form), 2) == []
    assert crops.of_paper(Urban("Set14", form), 4) == []


@pytest.mark.parametrize("data", ["photos", "prepared/photos"])
def test_figures_are_those_of_image_and_crop(here: Path, capsys: pytest.CaptureFixture[str], data: str) -> None:
    words = [data, "--scale", "2", "--at", "cat:30,20", "camera:0,50", "--size", "40", "-o", "crops.png", "crops.svg"]
    assert main(["crops", *words, "--method", "theirs", "enlcn.safetensors", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = {(each["image"], each["method"]): each for each in told["crops"]}
    assert list(found) == [(name, label) for name in ("cat", "camera") for label in ("bicubic", "theirs", "ENLCN")]
    for name, x, y in (("cat", 30, 20), ("camera", 0, 50)):
        hr = IMAGES[name][: 96 if name == "cat" else 90, : 120 if name == "cat" else 100]
        sr = np.asarray(Image.open(f"theirs/{name}_x2.png"))
        part = (slice(y, y + 40), slice(x, x + 40))
        theirs = found[name, "theirs"]
        assert theirs["psnr"] == pytest.approx(sisr.psnr(sr, hr, 2))
        assert theirs["ssim"] == pytest.approx(sisr.ssim(sr, hr, 2))
        assert theirs["crop_psnr"] == pytest.approx(sisr.psnr(sr[part], hr[part], 0))
        assert theirs["crop_ssim"] == pytest.approx(sisr.ssim(sr[part], hr[part], 0))
        bicubic = imresize(imresize(hr, 0.5), 2)
        assert found[name, "bicubic"]["psnr"] == pytest.approx(sisr.psnr(bicubic, hr, 2))
    written = Path("crops.svg").read_text()
    for said in ("HR", "bicubic", "theirs", "ENLCN", f"{found['cat', 'theirs']['psnr']:.2f} dB", "protocol P1"):
        assert said in written
    first = [Path(name).read_bytes() for name in ("crops.png", "crops.svg")]
    assert main(["crops", *words, "--method", "theirs", "enlcn.safetensors"]) == 0
    assert [Path(name).read_bytes() for name in ("crops.png", "crops.svg")] == first


def test_pixels_are_those_of_the_image(here: Path) -> None:
    pairs = open_pairs("photos", 2)
    methods, runs = crops.open_methods(["HR again=photos/HR", "theirs"], 2)
    assert list(methods) == ["bicubic", "HR again", "theirs"]
    assert runs == [None, None]
    (row,) = crops.collect(pairs, 2, {"theirs": methods["theirs"]}, [crops.Place(pairs.names.index("cat"), 7, 9)], 30)
    assert row.box == (7, 9, 30, 30)
    hr, theirs = row.panels
    assert np.array_equal(hr.pixels, IMAGES["cat"][9:39, 7:37])
    assert np.array_equal(theirs.pixels, np.asarray(Image.open("theirs/cat_x2.png"))[9:39, 7:37])
    with style.settings():
        drawn = figure.draw([row])
    shown = [axes.images[0].get_array() for axes in drawn.axes]
    assert [image.shape[:2] for image in shown] == [(96, 120), (30, 30), (30, 30)]
    assert np.array_equal(shown[1], hr.pixels)
    (box,) = drawn.axes[0].patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (6.5, 8.5, 30, 30)


def test_many_methods_stand_in_two_lines_and_nothing_overlaps(here: Path) -> None:
    panels = [figure.Panel(f"method {i}", np.zeros((8, 8), np.uint8), 30.0, 0.9, 28.0, 0.8) for i in range(9)]
    rows = [figure.Row(name, np.zeros(shape, np.uint8), (1, 1, 8, 8), panels, "chosen") for name, shape in
            (("tall", (90, 30)), ("wide", (30, 90)))]  # fmt: skip
    with style.settings():
        drawn = figure.draw(rows, "said", False, "note")
        drawn.canvas.draw()
        boxes = [axes.get_window_extent() for axes in drawn.axes]
        boxes += [text.get_window_extent() for text in drawn.texts]
    assert len(drawn.axes) == 20
    whole = drawn.get_window_extent()
    for index, one in enumerate(boxes):
        assert whole.x0 <= one.x0 < one.x1 <= whole.x1
        assert whole.y0 <= one.y0 < one.y1 <= whole.y1
        assert not any(one.overlaps(other) for other in boxes[index + 1 :])


def test_what_cannot_be_cropped_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for status, sentence, words in (
        (2, "--at needs image:x,y with integers, for example img048:231,344, not cat.", ["--at", "cat"]),
        (2, "there is no image 'dog' in photos; it has camera, cat.", ["--at", "dog:1,1"]),
        (2, "a crop of 80 pixels at 41,1 is not inside cat, which is 120 x 96.", ["--at", "cat:41,1"]),
        (1, "nowhere does not exist; give a run folder", ["--method", "nowhere"]),
        (2, "enlcn.safetensors upscales x2, not x3; use --scale 2.", ["--method", "enlcn.safetensors", "--scale", "3"]),
        (2, "two methods are called bicubic; name one with LABEL=WHAT.", ["--method", "bicubic=theirs"]),
        (2, "figures are written as .png, .svg or .pdf, not as crops.jpg.", ["-o", "crops.jpg"]),
        (2, "argument --images: must be a whole number from 1", ["--images", "0"]),
        (2, "--scale must be an integer from 2 to 16, not 1.", ["--scale", "1"]),
    ):
        assert main(["crops", "photos", "--scale", "2", *words]) == status, words
        said = capsys.readouterr().err
        assert said.startswith(f"sisr crops: {sentence}"), said
        assert said.count("\n") == 1
    with pytest.raises(UsageError):
        crops.chosen(open_pairs("photos", 2), ["cat:a,b"])
    assert not list(here.glob("*.png"))


def test_published_weights_are_shown_in_colour_and_measured_as_their_authors_do(
    reference_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = reference_data / "weights"
    words = [str(reference_data / "benchmarks" / "Set5"), "--at", "butterfly:90,110", "--size", "64"]
    methods = [
        weights / "VDSR_twtygqyy.npz",
        weights / "SRMDNF_x4.npz",
        f"RCAN={reference_data}/checks/rcan_set5/x4/SR",
    ]
    assert main(["crops", *words, "--method", *map(str, methods), "-o", str(tmp_path / "c.png"), "--json"]) == 0
    found = {each["method"]: each for each in json.loads(capsys.readouterr().out)["crops"]}
    assert list(found) == ["bicubic", "VDSR", "SRMDNF", "RCAN"]
    # by the authors' log
    assert found["RCAN"]["psnr"] == pytest.approx(29.359312, abs=1e-5)
    assert found["RCAN"]["ssim"] == pytest.approx(0.934269, abs=1e-5)
    opened, _ = crops.open_methods([str(methods[0])], 4)
    pairs = open_pairs(words[0], 4)
    (row,) = crops.collect(pairs, 4, opened, [crops.Place(pairs.names.index("butterfly"), 90, 110)], 64)
    # a yellow wing: red and green far above blue
    mean = row.panels[2].pixels.reshape(-1, 3).mean(0)
    assert mean[0] > mean[2] + 40
