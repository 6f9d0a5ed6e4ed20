"""What the benchmarks compare is what they say it is, and what they print is computed."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import input as input_benchmark
from benchmarks.input import Files, lay_out, mosaics
from benchmarks.step import Form, Size, batches, free, make
from benchmarks.training_step import OURS, PLAIN, judge, reproduction
from sisr.config.presets import plan
from sisr.training.train import create_network

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("scale", "blocks"), [(2, 8), (4, 16)])
def test_operations_by_formula_are_those_that_torch_counts(scale: int, blocks: int) -> None:
    size = Size(blocks=blocks, channels=16, batch=2, patch=12, scale=scale)
    model = create_network(size.run()).train()
    with FlopCounterMode(display=False) as counted:
        model(torch.rand(2, 3, 12, 12))
    # the sums of the normalisers, m a token, are no product for torch
    assert counted.get_total_flops() == pytest.approx(size.forward_flops(), rel=5e-3)
    assert counted.get_total_flops() <= size.forward_flops()


def test_a_step_at_the_papers_scale_is_of_the_known_size() -> None:
    """Convolutions of 51.2 million multiply-adds an LR pixel, plus 3x3 instead of 1x1 embeddings in five modules."""
    wider = 5 * 8 * (256 * 64 * 2 + 256 * 256)
    assert Size().forward_flops() / 2 / (16 * 48 * 48) == pytest.approx(51.2e6 + wider, rel=2e-3)


def test_the_reference_step_trains_the_same_network(tmp_path: Path) -> None:
    size = Size(blocks=1, channels=16, batch=2, patch=24, scale=2)
    losses = {}
    for form in (Form(name="ours", channels_last=True), Form(name="plain", reference=True)):
        step = make(form, size.run(), batches(size, CPU, tmp_path), CPU)
        losses[form.name] = [float(step()) for _ in range(3)]
        free(CPU)
    assert losses["ours"] == pytest.approx(losses["plain"], rel=1e-4)
    assert len(set(losses["ours"])) == 3


def test_verdicts_follow_the_figures() -> None:
    fast = {"form": OURS, "milliseconds": 25.0, "megabytes": 90.0, "note": ""}
    plain = {"form": PLAIN, "milliseconds": 100.0, "megabytes": 300.0, "note": ""}
    said = judge({OURS: fast, PLAIN: plain}, 989e12)
    assert said == [
        "at most 30 ms a step: 25.00 ms: reached",
        "at most a third of the reference's memory: 0.300 of it: reached",
        "4.0 times as fast as the reference",
    ]
    slow = judge({OURS: fast | {"milliseconds": 31.0, "megabytes": 101.0}, PLAIN: plain}, 989e12)
    assert [line.rpartition(": ")[2] for line in slow[:2]] == ["NOT reached"] * 2
    full = judge({OURS: fast, PLAIN: plain | {"milliseconds": None, "megabytes": None, "note": "out of memory"}}, None)
    assert "out of memory; the compiled form takes 90 MB" in full[-1]
    assert judge({OURS: fast | {"milliseconds": None, "note": "out of memory"}}, None) == ["no verdict: out of memory"]
    # 36 ms is 10 hours of a million steps, and config/paper.yaml trains 23 networks
    assert len(plan(yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())).runs) == 23
    [whole] = reproduction({OURS: fast | {"milliseconds": 36.0}, PLAIN: plain | {"milliseconds": None}}, Size())
    assert "10.0 h for one network of 1,000,000 steps of 16 patches of 48x48, 230 h for the 23" in whole


def test_the_ordinary_data_set_reads_pairs_of_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_benchmark, "HEIGHT", 500)
    monkeypatch.setattr(input_benchmark, "WIDTH", 520)
    generator = np.random.default_rng(0)
    # smooth, so that an LR patch is near the means of its HR patch
    tiles = (np.kron(generator.integers(0, 255, (8, 9, 3)), np.ones((20, 20, 1))).astype(np.uint8) for _ in range(40))
    images = list(mosaics(tiles, 2))
    assert [image.shape for image in images] == [(500, 520, 3)] * 2
    assert all((image != 0).any(axis=2).mean() > 0.99 for image in images)  # filled to the edges
    lay_out(images, tmp_path)
    stored = np.asarray(Image.open(tmp_path / "whole" / "HR" / "0000.png"))
    assert np.array_equal(stored, images[0])
    for kind in ("whole", "pieces"):
        pairs = Files(tmp_path / kind, 24, 6)
        for lr, hr in (pairs[index] for index in range(6)):
            assert lr.shape == (3, 24, 24)
            assert hr.shape == (3, 96, 96)
            means = torch.nn.functional.avg_pool2d(hr.float(), 4)
            assert (means - lr.float()).abs().mean() < 12
