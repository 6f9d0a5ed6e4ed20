"""Export to ONNX: onnxruntime gives the same as PyTorch at any size, or one sentence states why there is no file."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import models
from models.colour import upscale, upscale_by_convolution
from sisr.cli import main
from sisr.evaluation.onnx_export import CHECKED, OPSET, TOLERANCE, export
from sisr.utils.errors import SisrError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SIZES = [(17, 40), (52, 23)]
"""Sizes that the export itself does not check."""
SMALL: dict[str, dict[str, Any]] = {
    "vdsr": {"layers": 3, "channels": 6},
    "srmdnf": {"layers": 3, "channels": 6},
    "lapsrn": {"depth": 1, "channels": 6},
    "dbpn": {"stages": 3, "features": 6, "channels": 4},
    "memnet": {"memories": 2, "recursions": 1, "channels": 4},
    "oisr": {"blocks": 1, "channels": 4},
    "rcan": {"groups": 1, "blocks": 1, "channels": 8, "reduction": 4},
    "rdn": {"blocks": 2, "layers": 2, "channels": 4, "growth": 3},
    "rnan": {"blocks": 2, "channels": 4},
    "san": {"groups": 1, "blocks": 1, "channels": 8, "reduction": 4},
    "srfbn": {"steps": 2, "groups": 2, "channels": 4},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nlsn": ({"blocks": 1, "channels": 8}, "nlsn with nlsa cannot be exported to ONNX: it sorts pixels into chunks,"),
    "nlrn": ({"recurrences": 1, "channels": 4}, "nlrn cannot be exported to ONNX: it attends within windows,"),
}
"""Networks that cannot be exported, and why."""

MADE = {name: models.attention.create(name, 8) for name in models.attention.available()}
EXPORTED = [name for name, mechanism in MADE.items() if not hasattr(mechanism, "no_onnx")]


def backbone(attention: str | None) -> nn.Module:
    torch.manual_seed(0)
    return models.create("edsr", 2, blocks=1, channels=8, attention=attention, slots=(0,)).eval()


def check(model: nn.Module, path: Path) -> None:
    """Compare with PyTorch at other sizes than the export does."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, made.name) == ("lr", "sr")
    assert given.shape[:2] == [1, 3]
    assert all(isinstance(side, str) for side in given.shape[2:])  # names of free sizes
    for height, width in SIZES:
        lr = torch.rand(1, 3, height, width)
        with torch.no_grad():
            expected = model(lr).numpy()
        np.testing.assert_allclose(session.run(None, {"lr": lr.numpy()})[0], expected, rtol=0, atol=TOLERANCE)
    onnx.checker.check_model(onnx.load(path), full_check=True)


@pytest.mark.parametrize("attention", [None, *EXPORTED])
def test_every_mechanism(tmp_path: Path, attention: str | None) -> None:
    model = backbone(attention)
    exported = export(model, tmp_path / "a.onnx")
    assert exported.difference <= TOLERANCE
    check(model, tmp_path / "a.onnx")


@pytest.mark.parametrize("name", SMALL)
def test_networks_without_slots(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = models.create(name, 2, **SMALL[name]).eval()
    for parameter in model.parameters():
        if not parameter.any():  # what begins as the identity
            torch.nn.init.normal_(parameter, std=0.3)
    export(model, tmp_path / "a.onnx")
    check(model, tmp_path / "a.onnx")


def test_every_network_is_exported_or_refused() -> None:
    assert {*SMALL, *REFUSED, "edsr", "enlcn"} == {*models.available()}


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_cannot_be_exported(tmp_path: Path, name: str) -> None:
    options, sentence = REFUSED[name]
    with pytest.raises(SisrError, match=sentence) as error:
        export(models.create(name, 2, **options), tmp_path / "a.onnx")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_network_of_spandrel_in_half_precision(tmp_path: Path) -> None:
    architecture = pytest.importorskip("spandrel.architectures.Compact")
    torch.manual_seed(0)
    state = architecture.Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2).half().state_dict()
    torch.save({"params": state}, tmp_path / "half.pth")
    assert main(["export", str(tmp_path / "half.pth"), "-o", str(tmp_path / "a.onnx")]) == 0
    check(models.load(tmp_path / "half.pth"), tmp_path / "a.onnx")


CODE = """
from torch import nn

class MyNet(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.tail = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        return self.tail(x)
"""


def test_a_network_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_net.py").write_text(CODE)
    network = models.create("my_net.py:MyNet", 3)
    torch.save(network.state_dict(), "my.pth")
    assert main(["export", "my.pth", "--network", "my_net.py:MyNet", "--scale", "3"]) == 0
    check(network, Path("my.onnx"))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_upscaling_by_convolution_is_bicubic_upscaling(scale: int) -> None:
    x = torch.rand(2, 3, 7, 2, dtype=torch.float64)
    torch.testing.assert_close(upscale_by_convolution(x, scale), upscale(x, scale), rtol=0, atol=1e-12)


class OfOneSize(nn.Module):
    """A network whose traced form has the size of the image as a constant."""

    scale = 1

    def forward(self, x: Tensor) -> Tensor:
        return x * float(np.prod(x.shape[2:]))


class InParts(nn.Module):
    """A network whose traced form has the number of parts of the image as a constant."""

    scale = 1

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([2 * part for part in x.split(8, dim=2)], dim=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (OfOneSize, r"its values would differ by up to .* at another size"),
        (
            InParts,
            r"its operations .*: traced at 24 x 32, they fail at 19 x 45 \(onnxruntime cannot run Split",
        ),
    ],
)
def test_a_network_that_depends_on_the_size_is_refused(tmp_path: Path, network: type[nn.Module], reason: str) -> None:
    with pytest.raises(SisrError, match=f"{network.__name__} cannot be exported to ONNX: {reason}") as error:
        export(network(), tmp_path / "a.onnx")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    model = backbone("enlca")
    (tmp_path / "run").mkdir()
    models.save(model, "run/weights.safetensors")
    assert main(["export", "run"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"run.onnx: opset {OPSET}, float32; onnxruntime equals PyTorch to ")
    assert all(f"{height} x {width}" in out for height, width in CHECKED)
    assert "reference implementation" in out
    assert err == ""
    check(model, tmp_path / "run.onnx")
    described = onnx.load("run.onnx")
    assert [each.version for each in described.opset_import if each.domain == ""] == [OPSET]
    facts = {each.key: each.value for each in described.metadata_props}
    assert json.loads(facts["sisr"]) == model.config
    assert main(["export", "run/weights.safetensors", "-o", "other.onnx", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["scale"], found["formulas"]) == ("other.onnx", 2, "reference")


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["nowhere"], 1, "neither a weights file nor a run folder"),
        (["net.safetensors", "-o", "net.txt"], 2, "must end with .onnx"),
        (["net.safetensors", "--scale", "4"], 2, "upscales x2, not x4"),
        (["bad.pth"], 1, "bad.pth cannot be used"),
        (["net.safetensors", "-o", "net.safetensors/a.onnx"], 1, "net.safetensors"),
    ],
)
def test_wrong_calls_are_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    part: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    models.save(backbone(None), "net.safetensors")
    Path("bad.pth").write_bytes(b"nothing")
    assert main(["export", *words]) == status
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*.onnx"))


def test_without_the_optional_packages_the_command_to_install_them_is_stated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = builtins.__import__

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'", name=name)
        return imported(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert main(["export", "run"]) == 2
    assert "needs the package onnxruntime; install the optional packages with pip install" in capsys.readouterr().err
