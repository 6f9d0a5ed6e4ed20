"""An image that cannot be measured loses no row of the others, and the next call continues from them."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import models
from sisr.cli import main
from sisr.data.image_files import list_images
from sisr.data.prepare import reduce
from sisr.evaluation import upscalers
from sisr.evaluation.evaluate import NotMeasuredError, evaluate
from sisr.evaluation.upscalers import Bicubic, method
from tests.helpers import warm

ROOT = Path(__file__).parents[2]


def picture(seed: int, height: int = 40, width: int = 48, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images, the last of them cut."""
    folder = tmp_path / "photos" / "HR"
    folder.mkdir(parents=True)
    for i, name in enumerate("abcde"):
        Image.fromarray(picture(i)).save(folder / f"{name}.png")
    (folder / "e.png").write_bytes((folder / "e.png").read_bytes()[:3000])
    return folder.parent


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    file = tmp_path / "small.safetensors"
    models.save(models.create("edsr", scale=4, blocks=1, channels=8, slots=()), file)
    return file


@pytest.fixture
def upscaled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that a network or bicubic upscales."""
    names: list[str] = []
    for kind in (upscalers.Network, upscalers.Bicubic):
        real = kind.upscale

        def upscale(self, pairs, i, scale, real=real):
            names.append(pairs.names[i])
            return real(self, pairs, i, scale)

        monkeypatch.setattr(kind, "upscale", upscale)
    return names


def call(what: object, output: Path, *sets: Path, words: tuple[str, ...] = ()) -> int:
    data = ["--data", *map(str, sets), "--scale", "4", "--device", "cpu"]
    return main(["evaluate", str(what), *data, "--output-dir", str(output), *words])


def table(file: Path) -> dict[str, str]:
    with file.open(newline="") as opened:
        return {row["image"]: row["psnr"] for row in csv.DictReader(opened)}


def test_rows_of_the_other_images_are_kept(
    photos: Path, weights: Path, tmp_path: Path, upscaled: list[str], capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "out"
    assert call(weights, output, photos) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "1 of 5 images of photos are not measured (e: " in error
    assert "e.png" in error
    assert "photos_x4.partial.json, and the next call continues from them" in error
    assert [file.name for file in output.iterdir()] == ["photos_x4.partial.json"]
    assert upscaled == list("abcd")

    Image.fromarray(picture(4)).save(photos / "HR" / "e.png")
    assert call(weights, output, photos) == 0
    assert upscaled == list("abcde")
    assert sorted(file.name for file in output.iterdir()) == ["photos_x4.csv", "photos_x4.json"]
    upscaled.clear()
    assert call(weights, tmp_path / "again", photos) == 0
    assert upscaled == list("abcde")
    assert table(tmp_path / "again" / "photos_x4.csv") == table(output / "photos_x4.csv")
    facts, again = (json.loads((folder / "photos_x4.json").read_text()) for folder in (output, tmp_path / "again"))
    assert facts == again


def other_pixels(photos: Path, weights: Path) -> tuple[tuple[str, ...], str]:
    Image.fromarray(picture(99)).save(photos / "HR" / "b.png")
    return (), "be"


def other_weights(photos: Path, weights: Path) -> tuple[tuple[str, ...], str]:
    torch.manual_seed(1)
    models.save(models.create("edsr", scale=4, blocks=1, channels=8, slots=()), weights)
    return (), "abcde"


def other_protocol(photos: Path, weights: Path) -> tuple[tuple[str, ...], str]:
    return ("--protocol", "P2"), "abcde"


def included_lr(photos: Path, weights: Path) -> tuple[tuple[str, ...], str]:
    folder = photos / "LR_bicubic" / "X4"
    folder.mkdir(parents=True)
    for path in list_images(photos / "HR"):
        Image.fromarray(reduce(np.asarray(Image.open(path)), 4, "replicate")).save(folder / path.name)
    return (), "abcde"


def moved_weights(photos: Path, weights: Path) -> tuple[tuple[str, ...], str]:
    weights.rename(weights.with_name("moved.safetensors"))
    return (), "e"


def damaged_file(photos: Path, weights: Path) -> tuple[tuple[str, ...], str]:
    file = weights.parent / "out" / "photos_x4.partial.json"
    file.write_text(file.read_text()[:500])
    return (), "abcde"


@pytest.mark.parametrize(
    "change", [other_pixels, other_weights, other_protocol, included_lr, moved_weights, damaged_file]
)
def test_rows_are_used_only_for_the_same_weights_protocol_and_data(
    photos: Path, weights: Path, tmp_path: Path, upscaled: list[str], change: Callable
) -> None:
    assert call(weights, tmp_path / "out", photos) == 1
    Image.fromarray(picture(4)).save(photos / "HR" / "e.png")
    words, again = change(photos, weights)
    upscaled.clear()
    (file,) = tmp_path.glob("*.safetensors")
    assert call(file, tmp_path / "out", photos, words=words) == 0
    assert "".join(upscaled) == again
    assert list(table(tmp_path / "out" / "photos_x4.csv")) == list("abcde")


def test_complete_sets_of_a_failed_call_are_kept_as_well(
    photos: Path, weights: Path, tmp_path: Path, upscaled: list[str], capsys: pytest.CaptureFixture
) -> None:
    """Snakemake deletes the tables of a failed job, of the complete sets too."""
    other = tmp_path / "other"
    other.mkdir()
    for name in "xy":
        Image.fromarray(picture(ord(name))).save(other / f"{name}.png")
    output = tmp_path / "out"
    assert call(weights, output, photos, other) == 1
    assert "photos" in capsys.readouterr().err
    assert list(table(output / "other_x4.csv")) == ["x", "y"]
    for file in output.glob("*.csv"):
        file.unlink()
    Image.fromarray(picture(4)).save(photos / "HR" / "e.png")
    upscaled.clear()
    assert call(weights, output, photos, other) == 0
    assert upscaled == ["e"]
    assert not list(output.glob("*.partial.json"))


def test_images_that_are_to_be_saved_are_upscaled_again(
    photos: Path, weights: Path, tmp_path: Path, upscaled: list[str]
) -> None:
    assert call(weights, tmp_path / "out", photos) == 1
    Image.fromarray(picture(4)).save(photos / "HR" / "e.png")
    assert call(weights, tmp_path / "out", photos, words=("--save-images",)) == 0
    assert "".join(upscaled) == "abcd" + "abcde"
    assert len(list((tmp_path / "out" / "photos_x4").iterdir())) == 5


def test_images_that_are_too_small_are_not_upscaled(
    photos: Path, tmp_path: Path, upscaled: list[str], capsys: pytest.CaptureFixture
) -> None:
    Image.fromarray(picture(4, 18, 60)).save(photos / "HR" / "b.png")
    Image.fromarray(picture(4, 3, 30)).save(photos / "HR" / "c.png")
    (photos / "HR" / "e.png").write_bytes(b"")
    assert call("bicubic", tmp_path / "out", photos) == 1
    error = capsys.readouterr().err
    assert "3 of 5 images of photos are not measured" in error
    assert "b: SSIM needs 11 pixels within the border of 4, but 8 x 52 are left" in error
    assert "c.png: an image of 3 x 30 is too small for scale 4" in error
    assert "e.png" in error
    assert upscaled == ["a", "d"]


def test_sr_of_another_size_leaves_the_others(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.fromarray(picture(4)).save(photos / "HR" / "e.png")
    sr = tmp_path / "sr"
    sr.mkdir()
    for name in "abcde":
        Image.fromarray(picture(7)).save(sr / f"{name}_x4.png")
    Image.fromarray(picture(7, 20, 24)).save(sr / "b_x4.png")
    assert call(sr, tmp_path / "out", photos) == 1
    assert "b_x4.png is 20 x 24, but HR cropped to x4 is 40 x 48; it seems to be x2" in capsys.readouterr().err
    kept = json.loads((tmp_path / "out" / "photos_x4.partial.json").read_text())
    assert [row["row"]["image"] for row in kept["rows"]] == list("acde")
    Image.fromarray(picture(7)).save(sr / "b_x4.png")
    Image.fromarray(picture(8)).save(sr / "c_x4.png")  # other pixels under the same name
    assert call(sr, tmp_path / "out", photos) == 0
    rows = table(tmp_path / "out" / "photos_x4.csv")
    assert call(sr, tmp_path / "again", photos) == 0
    assert table(tmp_path / "again" / "photos_x4.csv") == rows


def test_an_interrupted_evaluation_continues(photos: Path, tmp_path: Path) -> None:
    from sisr.data.pairs import open_pairs

    class Interrupted(Bicubic):
        def upscale(self, pairs, i, scale):
            if pairs.names[i] == "c":
                raise KeyboardInterrupt
            return super().upscale(pairs, i, scale)

    file = tmp_path / "rows.partial.json"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Interrupted(), open_pairs(photos, 4), 4, partial=file)
    assert [row["row"]["image"] for row in json.loads(file.read_text())["rows"]] == ["a", "b"]
    with pytest.raises(NotMeasuredError, match=r"1 of 5 images .*\(e: .*e\.png"):
        evaluate(method("bicubic", 4), open_pairs(photos, 4), 4)


def test_an_unusable_output_is_found_before_weights_are_loaded(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(upscalers, "method", lambda *_, **__: pytest.fail("weights are loaded"))
    assert call("bicubic", tmp_path / "file" / "out", photos) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_full_disk_at_the_end_is_one_sentence(photos: Path, tmp_path: Path) -> None:
    """A limit on the size of files acts as a full disk; the table does not fit, and the check before does."""
    Image.fromarray(picture(4)).save(photos / "HR" / "e.png")
    script = f"""
import resource, sys
from sisr.evaluation import evaluate
from sisr.cli import main
real = evaluate.write_rows
def write_rows(*arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    real(*arguments)
evaluate.write_rows = write_rows
words = ["evaluate", "bicubic", "--data", {str(photos)!r}, "--scale", "4", "--output-dir", {str(tmp_path / "out")!r}]
sys.exit(main(words))
"""
    done = subprocess.run([warm.python(), "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "photos_x4.csv cannot be written" in done.stderr
    # the rows are kept
    assert len(json.loads((tmp_path / "out" / "photos_x4.partial.json").read_text())["rows"]) == 5
