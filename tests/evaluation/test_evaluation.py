"""`evaluate` from end to end: controls, runs, weights, folders of SR images, and everything that does not fit."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as pictures

import models
from sisr.cli import main
from sisr.data.catalog import known
from sisr.data.fetch import fetch
from sisr.data.image_files import list_images, read_image
from sisr.data.imresize import imresize
from sisr.data.pairs import open_pairs, set_name
from sisr.data.prepare import prepare_hr, prepare_lr
from sisr.evaluation.evaluate import COLUMNS, evaluate, same_channels
from sisr.evaluation.metrics import psnr
from sisr.evaluation.upscalers import method
from sisr.results.runs import Run
from sisr.utils.errors import SisrError, UsageError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three bundled test photographs, fetched and prepared at x4 and x2."""
    folder = tmp_path_factory.mktemp("data")
    source = fetch(known()["photographs-test"], folder, quiet=True).folder
    prepare_hr(source, folder / "prepared" / "photographs-test" / "hr", known()["photographs-test"])
    for scale in (2, 4):
        prepare_lr(source, scale, folder / "prepared" / "photographs-test" / f"x{scale}")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with the weights of a very small network."""
    folder = tmp_path_factory.mktemp("runs") / "edsr-x4-s0"
    folder.mkdir()
    torch.manual_seed(0)
    model = models.create("edsr", scale=4, blocks=1, channels=8, slots=(0, 1), initialisation="interpolation")
    models.save(model, folder / "weights.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == COLUMNS
        return {row["image"]: row for row in reader}


def call(*words: object) -> int:
    return main(["evaluate", *map(str, words)])


@pytest.mark.parametrize("kind", ["prepared", "folder"])
def test_controls(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, kind: str) -> None:
    path = data / "prepared" / "photographs-test" if kind == "prepared" else data / "photographs-test"
    assert call("bicubic", "--data", path, "--scale", 4, "--output-dir", tmp_path / "bicubic") == 0
    assert call("hr", "--data", path, "--scale", 4, "--output-dir", tmp_path / "hr") == 0
    said = capsys.readouterr().out.splitlines()
    assert "PSNR 26.7" in said[0]
    assert "[" in said[0]
    assert "PSNR inf dB, SSIM 1.0000" in said[2]
    assert said[1].startswith("  show crops:  python -m sisr crops ")
    floor, ceiling = (rows(tmp_path / name / "photographs-test_x4.csv") for name in ("bicubic", "hr"))
    assert list(floor) == list(ceiling) == ["astronaut", "camera", "coffee"]
    assert all(row["psnr"] == "inf" for row in ceiling.values())
    assert all(float(row["ssim"]) == 1 for row in ceiling.values())
    assert (floor["coffee"]["height"], floor["coffee"]["width"]) == ("400", "600")
    coffee = pictures.coffee()
    expected = psnr(imresize(imresize(coffee, 1 / 4), 4), coffee, 4)
    assert float(floor["coffee"]["psnr"]) == pytest.approx(expected, abs=1e-6)
    camera = pictures.camera()  # greyscale goes in, through and out as greyscale
    expected = psnr(imresize(imresize(camera, 1 / 4), 4), camera, 4)
    assert float(floor["camera"]["psnr"]) == pytest.approx(expected, abs=1e-6)


def test_known_bicubic_means(reference_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sets = [reference_data / "benchmarks" / name for name in ("Set5", "Set14", "B100")]
    assert call("bicubic", "--data", *sets, "--scale", 4, "--output-dir", tmp_path, "--json") == 0
    found = {row["set"]: row["psnr"] for row in json.loads(capsys.readouterr().out)}
    assert {name: f"{value:.2f}" for name, value in found.items()} == {
        "Set5": "28.43",
        "Set14": "25.99",
        "B100": "25.96",
    }
    options = ["--scale", 4, "--output-dir", tmp_path, "--json", "--greyscale", "rgb"]
    assert call("bicubic", "--data", sets[1], *options) == 0
    assert f"{json.loads(capsys.readouterr().out)[0]['psnr']:.2f}" == "26.09"  # `bridge` as RGB
    options = ["--scale", 2, "--output-dir", tmp_path, "--json", "--protocol", "P3"]
    assert call("bicubic", "--data", sets[0], *options) == 0
    assert f"{json.loads(capsys.readouterr().out)[0]['psnr']:.2f}" == "33.66"
    facts = json.loads((tmp_path / "Set5_x2.json").read_text())
    assert facts["protocol"] == "P3"
    assert facts["boundary"] == "symmetric"


def test_sr_images_of_rcans_authors(reference_data: Path, tmp_path: Path) -> None:
    for scale, expected in ((2, (38.274168, 0.961445)), (4, (32.633562, 0.900241))):
        folder = reference_data / "checks" / "rcan_set5" / f"x{scale}"
        output = tmp_path / f"{scale}"
        assert call(folder / "SR", "--data", folder / "HR", "--scale", scale, "--output-dir", output) == 0
        table = rows(output / f"x{scale}_x{scale}.csv")
        assert set(table) == {"baby", "bird", "butterfly", "head", "woman"}
        for key, value in zip(("psnr", "ssim"), expected, strict=True):
            assert np.mean([float(row[key]) for row in table.values()]) == pytest.approx(value, abs=1.5e-6)


def test_run_folder_weights_file_and_folder_of_its_images_agree(data: Path, run: Path, tmp_path: Path) -> None:
    from sisr.evaluation.inference import upscale_array

    path = data / "prepared" / "photographs-test"
    for what, name in ((run, "run"), (run / "weights.safetensors", "file")):
        assert call(what, "--data", path, "--scale", 4, "--output-dir", tmp_path / name, "--device", "cpu") == 0
    table = rows(tmp_path / "run" / "photographs-test_x4.csv")
    assert all(float(row["seconds"]) > 0 for row in table.values())
    assert {k: v["psnr"] for k, v in table.items()} == {
        k: v["psnr"] for k, v in rows(tmp_path / "file" / "photographs-test_x4.csv").items()
    }
    assert 20 < float(table["astronaut"]["psnr"]) < 40  # close to bicubic from the start
    model, pairs = models.load(run / "weights.safetensors"), open_pairs(path, 4)
    (tmp_path / "sr").mkdir()
    for i, (name, mark) in enumerate(zip(pairs.names, ("", "x4", "_EDSR_x4"), strict=True)):
        Image.fromarray(upscale_array(model, pairs.lr(i))).save(tmp_path / "sr" / f"{name}{mark}.png")
    assert call(tmp_path / "sr", "--data", path, "--scale", 4, "--output-dir", tmp_path / "of-images") == 0
    again = rows(tmp_path / "of-images" / "photographs-test_x4.csv")
    for name in table:
        assert again[name]["psnr"] == table[name]["psnr"]
        assert again[name]["ssim"] == table[name]["ssim"]


def test_images_are_saved_and_found_again_set_by_set(data: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "photographs-test", tmp_path / "other")
    sets = ["--data", data / "prepared" / "photographs-test", tmp_path / "other", "--scale", 4]
    assert call(run, *sets, "--output-dir", tmp_path / "first", "--save-images", "--device", "cpu") == 0
    for name, inner in (("photographs-test", "photographs-test"), ("other", "other/x4")):
        shutil.copytree(tmp_path / "first" / f"{name}_x4", tmp_path / "sr" / inner)
    assert call(tmp_path / "sr", *sets, "--output-dir", tmp_path / "second") == 0
    for name in ("photographs-test", "other"):
        first, second = (rows(tmp_path / which / f"{name}_x4.csv") for which in ("first", "second"))
        assert [row["psnr"] for row in first.values()] == [row["psnr"] for row in second.values()]
        assert read_image(tmp_path / "first" / f"{name}_x4" / "camera.png").ndim == 2


def test_networks_may_get_lr_that_was_never_rounded(data: Path, run: Path, tmp_path: Path) -> None:
    path = data / "prepared" / "photographs-test"
    found = []
    for flags in ([], ["--unrounded-lr"]):
        assert call(run, "--data", path, "--scale", 4, "--device", "cpu", "--output-dir", tmp_path, *flags) == 0
        found.append([float(row["psnr"]) for row in rows(tmp_path / "photographs-test_x4.csv").values()])
        assert json.loads((tmp_path / "photographs-test_x4.json").read_text())["unrounded_lr"] == bool(flags)
    difference = np.abs(np.subtract(*found))
    assert 0 < difference.max() < 0.1


def test_how_it_was_measured_stands_beside_the_table(data: Path, run: Path, tmp_path: Path) -> None:
    path = data / "prepared" / "photographs-test"
    options = ["--scale", 4, "--device", "cpu", "--data", path]
    for flags, way in [
        ([], "whole"),
        (["--tile", 48, "--overlap", 8], "tile 48 overlap 8"),
        (["--chop"], "chop"),
        (["--self-ensemble", "--protocol", "P2"], "whole self-ensemble"),
    ]:
        assert call(run, *options, *flags, "--output-dir", tmp_path) == 0
        facts = json.loads((tmp_path / "photographs-test_x4.json").read_text())
        assert facts["way"] == way
        assert facts["other_ways"] == {}
        assert facts["protocol"] == ("P2" if "P2" in flags else "P1")
        assert facts["lr"] == {"from": "imresize", "boundary": "symmetric"}
        assert facts["verified"]["checked"] == 3
        assert len(facts["weights_sha256"]) == 64
        assert (facts["device"], facts["precision"], facts["images"]) == ("cpu", "float32", 3)


def test_tiles_taken_for_lack_of_memory_are_said(
    data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from sisr.utils import memory

    model = models.load(run / "weights.safetensors")
    room = memory.needed(model, 130 * 130, torch.device("cpu"))
    monkeypatch.setattr(memory, "available", lambda _: room)
    path = data / "prepared" / "photographs-test"
    assert call(run, "--scale", 4, "--device", "cpu", "--data", path, "--output-dir", tmp_path, "--overlap", 16) == 0
    facts = json.loads((tmp_path / "photographs-test_x4.json").read_text())
    assert {facts["way"], *facts["other_ways"].values()} == {"whole"}  # 128 x 128 and 100 x 150 fit
    room = memory.needed(model, 128 * 128, torch.device("cpu"))
    smaller = room - 1
    monkeypatch.setattr(memory, "available", lambda _: smaller)
    assert call(run, "--scale", 4, "--device", "cpu", "--data", path, "--output-dir", tmp_path, "--overlap", 16) == 0
    facts = json.loads((tmp_path / "photographs-test_x4.json").read_text())
    assert facts["way"] == "tile 80 overlap 16"
    assert facts["other_ways"] == {"coffee": "whole"}
    assert "coffee: whole" in capsys.readouterr().out


def test_several_sets_in_one_call(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copytree(data / "photographs-test", tmp_path / "other")
    sets = [data / "prepared" / "photographs-test", tmp_path / "other"]
    assert call("bicubic", "--data", *sets, "--scale", 4, "--output-dir", tmp_path / "out", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["psnr"] == second["psnr"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.csv")) == ["other_x4.csv", "photographs-test_x4.csv"]
    assert call("bicubic", "--data", sets[0], sets[0], "--scale", 4, "--output-dir", tmp_path) == 2
    assert "two sets are called photographs-test" in capsys.readouterr().err


def test_a_set_that_is_left_out_has_no_rows_and_a_reason(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(data / "photographs-test", tmp_path / "other")
    sets = [data / "prepared" / "photographs-test", tmp_path / "other"]
    words = ["bicubic", "--data", *sets, "--scale", 4, "--output-dir", tmp_path / "bicubic-x4", "--not-evaluated"]
    assert call(*words, "other=too large = slow") == 0
    assert "other x4: not evaluated: too large = slow" in capsys.readouterr().out
    assert rows(tmp_path / "bicubic-x4" / "other_x4.csv") == {}
    measured = Run("bicubic-x4", {}, {}, tmp_path / "bicubic-x4")
    assert list(measured.rows) == ["photographs-test"]
    assert measured.not_evaluated == {"other": "too large = slow"}
    assert call(*words, "others=slow") == 2
    assert "others, which is not in --data; did you mean 'other'?" in capsys.readouterr().err
    assert call(*words, "other=") == 2
    assert "must be SET=REASON, not other=" in capsys.readouterr().err


def test_json_of_the_hr_control_is_valid(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert call("hr", "--data", data / "photographs-test", "--scale", 4, "--output-dir", tmp_path, "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["psnr"] == "inf"
    assert result["psnr_interval"] is None
    assert result["ssim"] == 1


def test_what_does_not_fit_is_one_sentence_and_never_nan(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = data / "prepared" / "photographs-test"
    (tmp_path / "empty").mkdir()
    coffee = pictures.coffee()
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(coffee).save(other / "tea.png")
    sizes = tmp_path / "sizes"
    sizes.mkdir()
    for name in ("astronaut", "camera", "coffee"):
        Image.fromarray(coffee[::2, ::2]).save(sizes / f"{name}.png")
    twice = tmp_path / "twice"
    shutil.copytree(data / "photographs-test" / "HR", twice)
    shutil.copy(twice / "coffee.png", twice / "coffeex4.png")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    Image.fromarray(coffee[:16, :40]).save(tiny / "strip.png")
    output = ["--output-dir", tmp_path / "out"]
    for words, status, part in [
        ([tmp_path / "empty", "--data", path, "--scale", 4], 1, "no images in"),
        ([other, "--data", path, "--scale", 4], 1, "no SR at x4 for 3 of 3 images"),
        ([sizes, "--data", path, "--scale", 4], 1, "is 200 x 300, but HR"),
        ([twice, "--data", path, "--scale", 4], 1, "keep one"),
        ([tmp_path / "nowhere", "--data", path, "--scale", 4], 1, "does not exist"),
        ([tmp_path / "unfinished", "--data", path, "--scale", 4], 1, "not finished"),
        ([tmp_path / "notes.txt", "--data", path, "--scale", 4], 1, "is not a weights file"),
        ([tmp_path / "bad.safetensors", "--data", path, "--scale", 4], 1, "bad.safetensors"),
        ([run, "--data", path, "--scale", 2], 2, "upscales x4, not x2"),
        (["bicubic", "--data", path, "--scale", 3], 1, "not prepared at scale 3"),
        (["bicubic", "--data", tmp_path / "empty", "--scale", 4], 1, "no images in"),
        (["bicubic", "--data", tmp_path / "nowhere", "--scale", 4], 1, "nowhere does not exist"),
        (["bicubic", "--data", tiny, "--scale", 4], 1, "strip: SSIM needs 11 pixels"),
        (["bicubic", "--data", path, "--scale", 1], 2, "2 to 16"),
        (
            ["bicubic", "--data", path, "--scale", 4, "--protocol", "P3", "--greyscale", "rgb"],
            2,
            "does not support --greyscale rgb",
        ),
        ([run, "--data", path, "--scale", 4, "--device", "nope"], 2, "device 'nope' does not exist"),
        ([run, "--data", path, "--scale", 4, "--tile", 5], 2, "at least 16"),
        ([run, "--data", path, "--scale", 4, "--tile", 64, "--chop"], 2, "mutually exclusive"),
    ]:
        assert call(*words, *output) == status, words
        error = capsys.readouterr().err
        assert part in error, (words, error)
        assert error.count("\n") == 1, error
    assert not list((tmp_path / "out").rglob("*.csv")) if (tmp_path / "out").exists() else True


def test_greyscale_against_colour(data: Path) -> None:
    """A greyscale HR is compared as it is; a colour SR of it becomes greyscale by luma of the full range."""
    camera = pictures.camera()
    rgb = np.repeat(camera[..., None], 3, axis=2)
    for sr in (camera, rgb):
        a, b = same_channels(sr, camera, "as-is")
        assert psnr(a, b, 4) == float("inf")
        a, b = same_channels(sr, camera, "rgb")
        assert b.shape == (512, 512, 3)
        assert psnr(a, b, 4) == float("inf")
    a, b = same_channels(camera, rgb, "as-is")  # copies whose HR is RGB
    assert a.shape == b.shape == (512, 512, 3)
    blurred = imresize(imresize(camera, 1 / 4), 4)
    as_is = psnr(*same_channels(blurred, camera, "as-is"), 4)
    as_rgb = psnr(*same_channels(blurred, camera, "rgb"), 4)
    assert as_rgb - as_is == pytest.approx(20 * np.log10(255 / 219), abs=1e-9)
    with pytest.raises(UsageError):
        list(evaluate(method("hr", 4), open_pairs(data / "photographs-test", 4), 4, greyscale="lab"))


def test_lr_of_the_other_border_changes_the_figure(data: Path) -> None:
    means = {}
    for boundary in ("symmetric", "replicate"):
        pairs = open_pairs(data / "photographs-test", 4, boundary)
        found, facts = evaluate(method("bicubic", 4, boundary=boundary), pairs, 4)
        means[boundary] = np.mean([row.psnr for row in found])
        assert facts["lr"] == {"from": "imresize", "boundary": boundary}
    assert 1e-6 < abs(means["symmetric"] - means["replicate"]) < 0.05


def test_folders_read_as_the_prepared_set(data: Path, reference_data: Path, tmp_path: Path) -> None:
    for scale in (2, 4):
        prepared = open_pairs(data / "prepared" / "photographs-test", scale)
        folder = open_pairs(data / "photographs-test", scale)
        assert prepared.names == folder.names
        for i in range(3):
            np.testing.assert_array_equal(prepared.hr(i), folder.hr(i))
            np.testing.assert_array_equal(prepared.lr(i), folder.lr(i))
    own = open_pairs(reference_data / "benchmarks" / "Set14", 4)
    i = own.names.index("comic")
    assert own.hr(i).shape == (360, 248, 3)
    assert own.lr(i).shape == (90, 62, 3)
    assert "own" in own.made["from"]
    shutil.copytree(reference_data / "benchmarks" / "Set5", tmp_path / "Set5")
    for path in list_images(tmp_path / "Set5" / "LR_bicubic" / "X4"):
        Image.fromarray(read_image(path).repeat(2, axis=0).repeat(2, axis=1)).save(path)
    with pytest.raises(SisrError, match="too large for HR"):
        open_pairs(tmp_path / "Set5", 4).hr(0)


def test_names_of_sets(tmp_path: Path) -> None:
    assert set_name("data/prepared/Set5") == "Set5"
    assert set_name("somewhere/Set14/HR/") == "Set14"
    assert set_name(tmp_path / "B100" / "original") == "B100"


@pytest.mark.slow
def test_published_weights_give_the_figures_known_of_them(
    reference_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """SRMDNF of its authors, from unrounded LR; with `bridge` as RGB, as the known figures count it."""
    sets = [reference_data / "benchmarks" / name for name in ("Set5", "Set14")]
    options = ["--unrounded-lr", "--greyscale", "rgb", "--device", "cpu", "--json", "--output-dir", tmp_path]
    assert call(reference_data / "weights" / "SRMDNF_x4.npz", "--data", *sets, "--scale", 4, *options) == 0
    measured = json.loads(capsys.readouterr().out)
    assert [f"{row['psnr']:.2f}" for row in measured] == ["31.94", "28.45"]
    assert [row["ssim"] for row in measured] == pytest.approx([0.8921, 0.7786], abs=0.0002)
    assert [f"{row['ssim']:.3f}" for row in measured] == ["0.892", "0.779"]
