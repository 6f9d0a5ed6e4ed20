"""Networks that see luma only: how they fit the RGB contract, and how they are measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage import data as pictures

import models
from models.colour import to_ycbcr, upscale
from sisr.data.imresize import imresize
from sisr.data.pairs import open_pairs
from sisr.evaluation.evaluate import evaluate, same_channels
from sisr.evaluation.inference import Mode, upscale_array, upscale_luma
from sisr.evaluation.metrics import luminance, psnr
from sisr.evaluation.upscalers import method

with torch.device("meta"):  # some have many weights
    LUMA = [name for name in models.available() if getattr(models.create(name), "luma_only", False)]


def small(name: str, scale: int) -> Any:
    torch.manual_seed(0)
    depth = {
        "lapsrn": {"depth": 2},
        "memnet": {"memories": 1, "recursions": 1},
        "nlrn": {"recurrences": 1, "window": 16, "stride": 12},
        "vdsr": {"layers": 3},
    }
    model = models.create(name, scale, channels=8, **depth[name]).eval()
    if name == "memnet":
        with torch.no_grad():
            model.tail.weight.mul_(0.01)  # else untrained details leave the range of RGB
    return model


def test_these_are_the_luma_networks() -> None:
    assert LUMA == ["lapsrn", "memnet", "nlrn", "vdsr"]


@pytest.mark.parametrize("name", LUMA)
def test_luma_of_the_image_is_the_networks_luma(name: str) -> None:
    model, x = small(name, 4), torch.rand(2, 3, 7, 9)
    with torch.inference_mode():
        inner = model.luma(to_ycbcr(x)[:, :1])
        outer = to_ycbcr(model(x))
        assert inner.shape == (2, 1, 28, 36)
        torch.testing.assert_close(outer[:, :1], inner, atol=1e-5, rtol=0)
        torch.testing.assert_close(outer[:, 1:], upscale(to_ycbcr(x)[:, 1:], 4), atol=1e-5, rtol=0)


@settings(max_examples=20)
@given(height=st.integers(1, 12), width=st.integers(1, 12), scale=st.sampled_from([2, 3, 4, 8]))
def test_enlargement_is_matlabs_to_the_border(height: int, width: int, scale: int) -> None:
    plane: NDArray[np.float64] = np.random.default_rng(height * 13 + width).random((height, width))
    found = upscale(torch.from_numpy(plane)[None, None], scale)[0, 0].numpy()
    np.testing.assert_allclose(found, imresize(plane, scale), atol=1e-12)


@pytest.mark.parametrize("name", LUMA)
def test_measured_luma_is_not_rounded_and_the_same_in_tiles(name: str) -> None:
    model = small(name, 2)
    lr = pictures.coffee()[100:150, 200:240]
    whole, mode = upscale_luma(model, lr)
    assert whole.shape == (100, 80)
    assert str(mode) == "whole"
    assert 0 <= whole.min() < whole.max() <= 255
    assert np.abs(whole - np.rint(whole)).max() > 0.4
    chopped, _ = upscale_luma(model, lr, Mode(chop=True))
    assert chopped.shape == whole.shape
    tiled, mode = upscale_luma(model, lr, Mode(tile=20, overlap=12))
    assert str(mode) == "tile 20 overlap 12"
    if name != "nlrn":  # its windows begin with the tile
        np.testing.assert_allclose(tiled, whole, atol=1e-3)
    # the way over RGB of 8 bits, which is what `upscale` writes, differs by its rounding only
    by_rgb = luminance(upscale_array(model, lr)) if not model.luma_rounded else whole
    inside = (whole > 20) & (whole < 230)
    assert np.abs(by_rgb - whole)[inside].mean() < 0.3


def test_authors_of_vdsr_round_luma_first() -> None:
    model = small("vdsr", 2)
    torch.nn.init.zeros_(model.layers[-1].weight)  # what is left is the bicubic enlargement of its input
    lr = pictures.coffee()[100:120, 200:230]
    found, _ = upscale_luma(model, lr)
    np.testing.assert_allclose(found, imresize(luminance(lr, "P2"), 2), atol=1e-3)


def test_grey_images_go_in_as_equal_channels_and_come_back_at_full_range() -> None:
    model = small("lapsrn", 2)
    grey = pictures.camera()[100:140, 200:236]
    as_grey, _ = upscale_luma(model, grey)
    as_rgb, _ = upscale_luma(model, np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_allclose(16 + as_grey * 219 / 255, np.clip(as_rgb, 16, 235), atol=1e-9)
    hr = pictures.camera()[:80, :72]
    a, b = same_channels(as_grey, hr, "rgb")
    np.testing.assert_allclose(a, np.clip(as_rgb, 16, 235), atol=1e-9)
    np.testing.assert_allclose(luminance(b), 16 + hr.astype(float) * 219 / 255, atol=1e-9)
    assert psnr(a, b, 2) - psnr(*same_channels(as_grey, hr, "as-is"), 2) == pytest.approx(20 * np.log10(255 / 219))


def test_evaluation_measures_luma_itself(tmp_path: Path) -> None:
    folder = tmp_path / "one" / "HR"
    folder.mkdir(parents=True)
    Image.fromarray(pictures.coffee()[:96, :120]).save(folder / "coffee.png")
    Image.fromarray(pictures.camera()[:96, :120]).save(folder / "camera.png")
    model = small("lapsrn", 4)
    models.save(model, tmp_path / "weights.safetensors")
    pairs = open_pairs(folder.parent, 4)
    measured, facts = evaluate(
        method(str(tmp_path / "weights.safetensors"), 4, device="cpu"), pairs, 4, images_to=tmp_path
    )
    assert (facts["network"], facts["luma_only"], facts["unrounded_lr"]) == ("lapsrn", True, False)
    for i, row in enumerate(measured):
        plane, _ = upscale_luma(model, np.array(pairs.lr(i)))
        assert row.psnr == psnr(plane, pairs.hr(i), 4)
        assert (tmp_path / f"{row.image}.png").is_file()
