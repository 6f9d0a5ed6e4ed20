"""LapSRN, SRMDNF and VDSR: how they are built, and, with their published weights, the figures they reach."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import models
from models.colour import to_rgb, to_ycbcr, upscale
from models.lapsrn import Level

# parameters follow from the layers: VDSR 2·9·64 + 18·9·64², SRMDNF x4 9·(18·128 + 10·128² + 128·48) + 11·128 + 48
SIZES = {"vdsr": 664_704, "srmdnf": 1_552_048, "lapsrn": None}


@pytest.mark.parametrize("name", sorted(SIZES))
@pytest.mark.parametrize("scale", [2, 4])
def test_published_networks_train_and_rebuild(tmp_path, name, scale):
    torch.manual_seed(0)
    model = models.create(name, scale)
    if SIZES[name] and scale == 4:
        assert sum(parameter.numel() for parameter in model.parameters()) == SIZES[name]
    out = model(torch.rand(2, 3, 6, 5))
    assert out.shape == (2, 3, 6 * scale, 5 * scale)
    out.square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    models.save(model, tmp_path / "weights.safetensors")
    loaded = models.load(tmp_path / "weights.safetensors", scale=scale)
    assert loaded.config == model.config
    x = torch.rand(1, 3, 4, 7)
    assert torch.equal(loaded(x), model.eval()(x))
    with pytest.raises(ValueError, match=f"upscale by {scale}, not by 3"):
        models.load(tmp_path / "weights.safetensors", scale=3)


def test_colours_survive_the_way_to_luma_and_back():
    rgb = torch.rand(2, 3, 4, 5)
    assert torch.allclose(to_rgb(to_ycbcr(rgb)), rgb, atol=1e-5)
    white, black = to_ycbcr(torch.ones(1, 3, 1, 1)).flatten(), to_ycbcr(torch.zeros(1, 3, 1, 1)).flatten()
    assert torch.allclose(white * 255, torch.tensor([235.0, 128.0, 128.0]), atol=1e-3)
    assert torch.allclose(black * 255, torch.tensor([16.0, 128.0, 128.0]), atol=1e-3)


def test_enlargement_has_matlabs_kernel():
    impulse = torch.zeros(1, 1, 9, 9)
    impulse[..., 4, 4] = 1
    row = upscale(impulse, 2)[0, 0, 8, :]  # 1/4 pixel from the impulse, whose row has the weight of 1/4
    # Keys' cubic with a = −1/2 at 0.25, 0.75, 1.25, 1.75 pixels
    near, middle, far, farthest = 0.8671875, 0.2265625, -0.0703125, -0.0234375
    expected = near * torch.tensor([farthest, far, middle, near, near, middle, far, farthest])
    assert torch.allclose(row[5:13], expected, atol=1e-5)


def test_vdsr_without_detail_is_bicubic():
    model = models.create("vdsr", 3, layers=3, channels=4)
    torch.nn.init.zeros_(model.layers[-1].weight)
    x = torch.rand(1, 3, 5, 6)
    assert torch.allclose(model(x), upscale(x, 3), atol=1e-5)


def test_lapsrns_level_starts_by_bilinear_enlargement():
    level = Level(1, 4)
    torch.nn.init.zeros_(level.detail.weight)
    torch.nn.init.zeros_(level.detail.bias)
    luma = torch.rand(1, 1, 6, 6)
    _, large = level(torch.rand(1, 4, 6, 6), luma)
    expected = F.interpolate(luma, scale_factor=2, mode="bilinear")
    assert torch.allclose(large[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("lapsrn", {"scale": 3}, "scale must be 2, 4 or 8"),
        ("lapsrn", {"depth": -1}, "depth must not be negative"),
        ("vdsr", {"layers": 1}, "layers must be at least 2"),
        ("vdsr", {"scale": 0}, "scale must be at least 1"),
        ("srmdnf", {"layers": 0}, "layers must be at least 2"),
        ("srmdnf", {"width": 3}, "'srmdnf' has no option 'width'"),
    ],
)
def test_wrong_options_are_answered_with_a_sentence(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.create(name, **options)


def luma(image: np.ndarray) -> np.ndarray:
    """Y of RGB in 0 … 255, unrounded."""
    return 16 + image.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255


def mean_psnr(model: torch.nn.Module, folder: Path, names: list[str]) -> float:
    """PSNR of Y without `scale` pixels at the border, mean over images of Set5."""
    skimage = pytest.importorskip("skimage.io")
    scale, values = model.scale, []
    for name in names:
        low = skimage.imread(folder / "LR_bicubic" / f"X{scale}" / f"{name}x{scale}.png")
        high = skimage.imread(folder / "HR" / f"{name}.png")[: low.shape[0] * scale, : low.shape[1] * scale]
        with torch.no_grad():
            out = model(torch.from_numpy(low).permute(2, 0, 1)[None].float() / 255)
        error = luma(out[0].permute(1, 2, 0).numpy() * 255) - luma(high)
        values.append(10 * np.log10(255**2 / np.square(error[scale:-scale, scale:-scale]).mean()))
    return float(np.mean(values))


SET5 = ["baby", "bird", "butterfly", "head", "woman"]


# measured figures that come with the weights; those of SRMDNF and VDSR are in test_published_weights.py
@pytest.mark.parametrize(
    ("file", "scale", "psnr", "tolerance"),
    [
        ("LapSRN_x2_matconvnet_layout.npz", 2, 37.49, 0.006),
        ("LapSRN_x4_matconvnet_layout.npz", 4, 31.53, 0.006),
    ],
)
def test_published_weights_reach_their_figures(reference_data, file, scale, psnr, tolerance):
    model = models.load(reference_data / "weights" / file, scale=scale)
    assert not model.training
    assert mean_psnr(model, reference_data / "benchmarks" / "Set5", SET5) == pytest.approx(psnr, abs=tolerance)


def test_vdsrs_weights_need_a_scale_and_all_arrays(reference_data, tmp_path):
    path = reference_data / "weights" / "VDSR_twtygqyy.npz"
    with pytest.raises(ValueError, match=r"give one, as --scale or models\.load"):
        models.load(path)
    with np.load(path) as arrays:
        incomplete = {name: arrays[name] for name in arrays.files if name != "residual_layer.3.conv.weight"}
    np.savez(tmp_path / "incomplete.npz", **incomplete)
    with pytest.raises(ValueError, match="do not fit VDSR"):
        models.load(tmp_path / "incomplete.npz", scale=2)
