"""A published network that this suite does not know, in one file, with its authors' weights: IMDN reaches its value."""

import json
from pathlib import Path

import pytest

from sisr.cli import main

IMDN = '''
"""IMDN (Hui, Gao, Yang, Wang: "Lightweight Image Super-Resolution with Information Multi-distillation Network",
ACM MM 2019), from the paper's Section 3; the names are those of the authors' weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Information multi-distillation block: a quarter of the channels is kept at each of four steps, then fused with
    contrast-aware channel attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kept = channels // 4
        rest = channels - self.kept
        self.c1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.c2 = nn.Conv2d(rest, channels, 3, padding=1)
        self.c3 = nn.Conv2d(rest, channels, 3, padding=1)
        self.c4 = nn.Conv2d(rest, self.kept, 3, padding=1)
        self.c5 = nn.Conv2d(channels, channels, 1)
        narrow = channels // 16
        layers = nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1), nn.Sigmoid()
        self.cca = nn.ModuleDict({"conv_du": nn.Sequential(*layers)})

    def forward(self, x: Tensor) -> Tensor:
        kept, rest = [], x
        for convolution in (self.c1, self.c2, self.c3):
            features = F.leaky_relu(convolution(rest), 0.05)
            kept.append(features[:, : self.kept])
            rest = features[:, self.kept :]
        fused = torch.cat([*kept, self.c4(rest)], dim=1)
        contrast = fused.std((2, 3), correction=0, keepdim=True) + fused.mean((2, 3), keepdim=True)
        return x + self.c5(fused * self.cca["conv_du"](contrast))


class IMDN(nn.Module):
    def __init__(self, scale: int = 4, *, channels: int = 64, blocks: int = 6) -> None:
        super().__init__()
        self.names = [f"IMDB{number + 1}" for number in range(blocks)]
        self.fea_conv = nn.Conv2d(3, channels, 3, padding=1)
        for name in self.names:
            self.add_module(name, Block(channels))
        self.c = nn.Sequential(nn.Conv2d(blocks * channels, channels, 1), nn.LeakyReLU(0.05))
        self.LR_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsampler = nn.Sequential(nn.Conv2d(channels, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        x = body = self.fea_conv(x)
        outputs = []
        for name in self.names:
            body = self.get_submodule(name)(body)
            outputs.append(body)
        return self.upsampler(x + self.LR_conv(self.c(torch.cat(outputs, dim=1))))
'''


@pytest.mark.slow
def test_imdn_reaches_its_published_value(
    tmp_path: Path, reference_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Set5 x4: 32.21 dB and 0.8948 in Table 5 of its paper; 715,176 parameters."""
    monkeypatch.chdir(tmp_path)
    Path("imdn.py").write_text(IMDN)
    weights, images = reference_data / "weights" / "IMDN_x4.pth", reference_data / "benchmarks" / "Set5"
    words = ["imdn.py:IMDN", "--weights", weights, "--scale", 4, "--data", images, "--device", "cpu", "--json"]
    assert main(["evaluate", *map(str, words)]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["psnr"] == pytest.approx(32.21, abs=0.005)
    assert row["ssim"] == pytest.approx(0.8948, abs=5e-5)
    assert Path(row["file"]) == Path("results/evaluations/IMDN-IMDN_x4/Set5_x4.csv")
    assert main(["complexity", "imdn.py:IMDN", "--size", "8", "8", "--seconds", "0.01", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["parameters"] == 715_176
