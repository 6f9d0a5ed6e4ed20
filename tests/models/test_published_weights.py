"""Weights of other authors through the whole measuring chain must give the figures that come with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models
from sisr.data.imresize import imresize
from sisr.data.pairs import Pairs, open_pairs
from sisr.evaluation.evaluate import evaluate
from sisr.evaluation.metrics import luminance
from sisr.evaluation.upscalers import method

# All of them are in docs/checks.md, which `python -m sisr reference-checks` makes; here are those that do not take
# long, but for SRMDNF x4 on Set5 and Set14, which tests/evaluation/test_evaluation.py measures
# (weights, from LR that was never rounded, set, scale, PSNR, SSIM); Set14's grey image is taken as RGB there
FIGURES = [
    ("LapSRN_x2_matconvnet_layout", False, "Set5", 2, 37.49, 0.9588),
    ("LapSRN_x4_matconvnet_layout", False, "Set5", 4, 31.53, 0.8864),
    ("SRMDNF_x2", True, "Set5", 2, 37.72, 0.9599),
]
SLOW = [
    ("VDSR_twtygqyy", False, "Set5", 2, 37.54, 0.9586),
    ("VDSR_twtygqyy", False, "Set5", 4, 31.42, 0.8848),
    ("LapSRN_x2_matconvnet_layout", False, "Set14", 2, 33.02, 0.9125),
    ("LapSRN_x4_matconvnet_layout", False, "Set14", 4, 28.15, 0.7704),
    ("SRMDNF_x4", True, "B100", 4, 27.48, 0.7333),
]


@pytest.mark.parametrize(
    ("weights", "unrounded", "name", "scale", "expected_psnr", "expected_ssim"),
    FIGURES + [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW],
)
def test_published_weights_give_their_figures(
    reference_data: Path,
    weights: str,
    unrounded: bool,
    name: str,
    scale: int,
    expected_psnr: float,
    expected_ssim: float,
) -> None:
    what = method(str(reference_data / "weights" / f"{weights}.npz"), scale, device="cpu", unrounded_lr=unrounded)
    measured, _ = evaluate(what, open_pairs(reference_data / "benchmarks" / name, scale), scale, greyscale="rgb")
    # the figures are printed to 0.01 dB and 0.0001
    assert np.mean([row.psnr for row in measured]) == pytest.approx(expected_psnr, abs=0.01)
    assert np.mean([row.ssim for row in measured]) == pytest.approx(expected_ssim, abs=0.0002)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "published"), [(2, 37.53), (3, 33.66), (4, 31.35)])
def test_vdsr_of_its_authors_reaches_its_published_figures(
    reference_data: Path, monkeypatch: pytest.MonkeyPatch, scale: int, published: float
) -> None:
    """Its authors reduce the rounded Y of HR in floating point; from LR in RGB it is 0.014 dB less at x2."""
    vdsr: Any = method(str(reference_data / "weights" / "VDSR_Official.mat"), scale, device="cpu")

    def upscale(pairs: Pairs, i: int, scale: int) -> tuple[np.ndarray, float, str]:
        lr = imresize(luminance(pairs.hr(i), "P2") / 255, 1 / scale)
        with torch.inference_mode():
            sr = vdsr.model.luma(torch.from_numpy(lr).float()[None, None])[0, 0]
        return 255 * sr.double().numpy(), 0.0, "whole"

    monkeypatch.setattr(vdsr, "upscale", upscale)
    measured, _ = evaluate(vdsr, open_pairs(reference_data / "benchmarks" / "Set5", scale), scale, "P2")
    assert np.mean([row.psnr for row in measured]) == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(
    ("weights", "scale"),
    [("LapSRN_x4_matconvnet_layout", 4), ("SRMDNF_x2", 2), ("VDSR_twtygqyy", 4)],
)
def test_weights_that_lack_an_array_or_have_another_shape_are_refused(
    reference_data: Path, weights: str, scale: int
) -> None:
    with np.load(reference_data / "weights" / f"{weights}.npz") as file:
        arrays = {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
    assert models.load(arrays, scale=scale).scale == scale
    for name, tensor in arrays.items():
        lacking = {key: value for key, value in arrays.items() if key != name}
        with pytest.raises(ValueError):  # noqa: PT011 (what is lacking decides the sentence)
            models.load(lacking, scale=scale)
        other = torch.zeros([side + 1 for side in tensor.shape] or [2])
        with pytest.raises(ValueError):  # noqa: PT011
            models.load({**arrays, name: other}, scale=scale)
    with pytest.raises(ValueError, match="extra"):
        models.load({**arrays, "extra_f": torch.zeros(3)}, scale=scale)
