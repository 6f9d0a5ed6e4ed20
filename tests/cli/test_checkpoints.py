"""Checkpoints and networks of one's own on the command line: evaluated by defaults, measured, trained, continued."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

import models
from sisr.cli import main
from sisr.data.imresize import imresize
from sisr.data.store import write
from sisr.evaluation.metrics import psnr

CODE = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, scale=4, *, channels: int = 6):
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.upsampler = nn.Sequential(nn.Conv2d(channels, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        return self.upsampler(torch.relu(self.head(x)))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with one small image as the prepared test set `photographs-test` at x2."""
    monkeypatch.chdir(tmp_path)
    hr = photographs.chelsea()[100:164, 100:172]
    prepared = tmp_path / "data" / "prepared" / "photographs-test"
    write(prepared / "hr", [("cat", hr)], {})
    write(prepared / "x2", [("cat", imresize(hr, 0.5))], {})
    (tmp_path / "my_net.py").write_text(CODE)
    return tmp_path


def checkpoint(path: Path) -> Path:
    compact = pytest.importorskip("spandrel.architectures.Compact").Compact
    torch.manual_seed(0)
    torch.save({"params_ema": compact(num_feat=8, num_conv=2, upscale=2).state_dict()}, path)
    return path


def call(*words: object) -> int:
    return main([*map(str, words)])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert call(*words) != 0
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error
    return error.splitlines()[-1]


def test_a_checkpoint_is_evaluated_by_its_name_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint(here / "model.pth")
    assert call("evaluate", "model.pth", "--device", "cpu", "--save-images") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("photographs-test x2 (P1, 1 images): PSNR ")
    folder = here / "results" / "evaluations" / "model"
    facts = json.loads((folder / "photographs-test_x2.json").read_text())
    assert facts["network"] == "Compact"
    assert facts["read_by"].startswith("spandrel ")
    sr = np.asarray(Image.open(folder / "photographs-test_x2" / "cat.png"))
    with torch.no_grad():
        lr = torch.from_numpy(imresize(photographs.chelsea()[100:164, 100:172], 0.5).copy()).permute(2, 0, 1)[None]
        expected = models.load(path)(lr / 255)
    np.testing.assert_array_equal(sr, (expected[0] * 255).round().byte().permute(1, 2, 0).numpy())
    row = (folder / "photographs-test_x2.csv").read_text().splitlines()[1].split(",")
    assert float(row[1]) == pytest.approx(psnr(sr, photographs.chelsea()[100:164, 100:172], 2), abs=1e-5)


def test_what_is_missing_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(here / "model.pth")
    (here / "images").mkdir()
    Image.fromarray(photographs.chelsea()[:32, :32]).save(here / "images" / "cat.png")
    assert "use --scale 2" in refused(capsys, "evaluate", "model.pth", "--scale", 4, "--data", "images")
    torch.save({f"a{i}": torch.zeros(1) for i in range(4)}, here / "other.pth")
    assert "its tensors (a0, a1, a2 …) are of no network that is known here" in refused(capsys, "evaluate", "other.pth")
    assert "states no upscaling factor; give it with --scale" in refused(capsys, "evaluate", "bicubic")
    assert "no test set is prepared at x3 in data/prepared" in refused(capsys, "evaluate", "bicubic", "--scale", 3)
    assert "give its file with --weights" in refused(capsys, "evaluate", "my_net.py:Small")
    assert "defines no Smal" in refused(capsys, "evaluate", "my_net.py:Smal", "--weights", "other.pth")
    assert "the weights do not fit Small" in refused(capsys, "evaluate", "my_net.py:Small", "--weights", "other.pth")
    assert "leave one out" in refused(capsys, "evaluate", "model.pth", "--weights", "other.pth")


def test_cost_and_photos(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(here / "model.pth")
    network = models.load("model.pth")
    words = ["--size", 8, 8, "--seconds", 0.01, "--device", "cpu", "--json"]
    assert call("complexity", "model.pth", "my_net.py:Small:scale=2,channels=5", *words) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["kind"] == second["kind"] == "network"
    assert first["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert second["parameters"] == (3 * 9 + 1) * 5 + (5 * 9 + 1) * 12
    assert second["gmacs"] == pytest.approx(64 * 9 * (3 * 5 + 5 * 12) / 1e9)
    Image.fromarray(photographs.chelsea()[:20, :24]).save("photo.png")
    assert call("upscale", "photo.png", "--weights", "model.pth", "--device", "cpu") == 0
    assert Image.open("photo_x2.png").size == (48, 40)


def train(*words: object) -> int:
    small = ["--steps", 2, "--batch", 1, "--patch", 8, "--device", "cpu", "--threads", 1]
    return call("train", *words, *small)


def test_a_network_of_ones_own_is_trained_evaluated_and_continued(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--network", "my_net.py:Small", "--scale", 2, "--train", "photographs-test"]
    assert train(*words, "--network-options", "channels=5", "--output", "run") == 0
    record = json.loads((here / "run" / "provenance.json").read_text())
    assert record["run_id"].startswith("Small-x2-s0-")
    assert record["network_file"] == "my_net.py"
    capsys.readouterr()
    assert call("evaluate", "run", "--device", "cpu") == 0
    facts = json.loads((here / "results" / "evaluations" / "run" / "photographs-test_x2.json").read_text())
    assert facts["network"] == "my_net.py:Small"
    assert facts["network_sha256"] == record["network_sha256"]

    # the weights of a run, and those of one's own training script, at another scale
    state = models.load("run/weights.safetensors").state_dict()
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, here / "raw.pth")
    write(here / "data/prepared/photographs-test/x4", [("cat", photographs.chelsea()[:16, :18])], {})
    ids = set()
    for start in ("run", "raw.pth"):
        capsys.readouterr()
        output = f"from_{start}"
        words = ["--network", "my_net.py:Small", "--scale", 4, "--train", "photographs-test", "--start-from", start]
        assert train(*words, "--network-options", "channels=5", "--output", output) == 0
        assert (
            f"starting from {start}: 2 tensors are taken; initialised are upsampler.0.weight, upsampler.0.bias."
            in capsys.readouterr().err
        )
        made = json.loads((here / output / "provenance.json").read_text())
        assert made["weights_initialised"] == ["upsampler.0.weight", "upsampler.0.bias"]
        ids.add(made["start_from"])
    assert ids == {record["run_id"], f"sha256:{made['start_from_sha256']}"}

    (here / "my_net.py").write_text(CODE + "\n")
    words = ["--network", "my_net.py:Small", "--scale", 2, "--train", "photographs-test"]
    assert "was trained with another version of my_net.py" in refused(
        capsys, "train", *words, "--network-options", "channels=5", "--output", "run", "--steps", 2, "--batch", 1,
        "--patch", 8,
    )  # fmt: skip


def test_settings_of_the_backbone_are_not_those_of_another_network(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--network", "my_net.py:Small", "--train", "x", "--output", "run"]
    assert "has no setting blocks" in refused(capsys, *words, "--blocks", 2)
    assert "has no option 'width'" in refused(
        capsys, *words, "--scale", 2, "--network-options", "width=3", "--train", "photographs-test"
    )
    assert not (here / "run").exists()


def test_training_on_a_folder_of_images_from_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here / "my photos"
    folder.mkdir()
    for name, image in (("cat", photographs.chelsea()), ("rocket", photographs.rocket())):
        Image.fromarray(image[:64, :72]).save(folder / f"{name}.png")
    words = ["--images", folder, "--network", "enlcn", "--scale", 2, "--blocks", 1, "--channels", 8]
    assert train(*words, "--output", "run") == 0
    config = json.loads((here / "run" / "config.json").read_text())
    assert config["network"]["attention"] == "enlca"
    assert config["data"] == {"train": ["my photos"]}
    stores = here / "data" / "prepared" / "my photos"
    index = json.loads((stores / "x2" / "index.json").read_text())
    assert index["files"] == ["cat.png", "rocket.png"]
    made = (stores / "hr" / "index.json").stat().st_mtime_ns

    assert train(*words, "--output", "run") == 0  # complete; nothing is prepared again
    assert (stores / "hr" / "index.json").stat().st_mtime_ns == made
    Image.fromarray(photographs.chelsea()[64:128, :72]).save(folder / "more.png")
    assert train(*words, "--output", "run2") == 0
    assert len(json.loads((stores / "hr" / "index.json").read_text())["images"]) == 3

    other = here / "elsewhere" / "my photos"
    other.mkdir(parents=True)
    Image.fromarray(photographs.chelsea()[:64, :72]).save(other / "cat.png")
    capsys.readouterr()
    assert "was prepared from" in refused(
        capsys, "train", "--images", other, "--scale", 2, "--blocks", 1, "--channels", 8, "--output", "run3"
    )
    assert "there is no folder nothing" in refused(capsys, "train", "--images", "nothing", "--output", "run3")
    assert not (here / "run3").exists()
