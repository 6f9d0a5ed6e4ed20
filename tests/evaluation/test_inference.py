"""Networks on images: whole, in tiles, in quadrants, mirrored; greyscale; and when memory is short."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data as pictures
from torch import Tensor, nn
from torch.nn import functional

import models
from sisr.data.imresize import imresize
from sisr.data.pairs import FolderPairs
from sisr.evaluation import inference
from sisr.evaluation.inference import (
    Mode,
    grey_of,
    to_image,
    to_tensor,
    upscale_array,
    upscale_float,
    upscale_with_mode,
)
from sisr.evaluation.metrics import psnr, ssim
from sisr.utils import memory
from sisr.utils.errors import SisrError, UsageError


class Convolutions(nn.Module):
    """Four 3x3 convolutions: sees 4 pixels to each side."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = scale
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((x.shape[2], x.shape[3]))
        return self.layers(x) + functional.interpolate(x, scale_factor=self.scale, mode="nearest")


class GlobalAttention(Convolutions):
    """Every pixel sees every other through an N x N matrix."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        flat = x.reshape(b, c, h * w)
        weights = torch.softmax(flat.transpose(1, 2) @ flat, dim=-1)
        return super().forward(x + 0.1 * (flat @ weights.transpose(1, 2)).reshape(b, c, h, w))


def whole(model: nn.Module, lr: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return to_image(model(to_tensor(lr)))


@settings(max_examples=25)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile=st.integers(16, 50),
    overlap=st.integers(4, 20),
    scale=st.sampled_from([2, 3, 4]),
)
def test_tiles_with_enough_overlap_equal_the_whole_image(
    height: int, width: int, tile: int, overlap: int, scale: int
) -> None:
    model, lr = Convolutions(scale), pictures.coffee()[50 : 50 + height, 80 : 80 + width]
    expected = whole(model, lr).astype(int)
    got, mode = upscale_with_mode(model, lr, Mode(tile=tile, overlap=overlap))
    assert got.shape == (height * scale, width * scale, 3)
    assert str(mode) == f"tile {tile} overlap {overlap}"
    difference = np.abs(got - expected)
    assert difference.max() <= 1  # another size may sum in another order, and a value at one half round otherwise
    assert (difference > 0).mean() < 1e-3


def test_tiles_with_too_little_overlap_do_not() -> None:
    model, lr = Convolutions(), pictures.coffee()[:60, :60]
    assert (upscale_array(model, lr, Mode(tile=20, overlap=0)) != whole(model, lr)).any()


def test_tiles_of_a_real_network_equal_the_whole_image() -> None:
    torch.manual_seed(0)
    model = models.create("edsr", scale=4, blocks=2, channels=8).eval()
    lr = pictures.astronaut()[:50, :61]
    tiled, plain = upscale_array(model, lr, Mode(tile=24, overlap=12)), upscale_array(model, lr)
    assert plain.shape == (200, 244, 3)
    assert np.abs(tiled.astype(int) - plain).max() <= 1


def test_chop_is_the_released_codes() -> None:
    """Four quadrants, each 10 pixels over the middle; cut again while they have 120,000 pixels."""
    model, lr = Convolutions(), pictures.coffee()[:101, :121]
    model.seen.clear()
    got, mode = upscale_with_mode(model, lr, Mode(chop=True))
    assert str(mode) == "chop"
    assert model.seen == [(60, 70)] * 4
    assert np.abs(got - whole(model, lr).astype(int)).max() <= 1  # sees 4 pixels: 10 are enough
    large = np.zeros((800, 800, 3), dtype=np.uint8)  # quadrants of 410 x 410 are too large once more
    model.seen.clear()
    upscale_array(model, large, Mode(chop=True))
    assert model.seen == [(215, 215)] * 16
    tiny = pictures.coffee()[:7, :9]
    assert np.abs(upscale_array(model, tiny, Mode(chop=True)) - whole(model, tiny).astype(int)).max() <= 1


def test_chop_changes_what_global_attention_sees() -> None:
    model, lr = GlobalAttention(), pictures.coffee()[:60, :60]
    assert (upscale_array(model, lr, Mode(chop=True)) != whole(model, lr)).any()


def test_self_ensemble_is_the_mean_over_eight_and_commutes_with_turning() -> None:
    model, lr = Convolutions(), pictures.coffee()[:30, :40]
    mode = Mode(self_ensemble=True)
    got = upscale_array(model, lr, mode)
    np.testing.assert_array_equal(upscale_array(model, np.rot90(lr), mode), np.rot90(got))
    np.testing.assert_array_equal(upscale_array(model, lr[:, ::-1], mode), got[:, ::-1])
    outputs = []
    with torch.inference_mode():
        for turns in range(4):
            for mirror in (False, True):
                view = np.rot90(lr, turns)[:, :: -1 if mirror else 1]
                sr = model(to_tensor(view))[0].permute(1, 2, 0).numpy()
                outputs.append(np.rot90(sr[:, :: -1 if mirror else 1], -turns))
    mean = np.clip(np.mean(outputs, axis=0) * 255, 0, 255)
    assert np.abs(got - mean).max() < 0.51
    assert str(mode) == "whole self-ensemble"


def test_a_network_that_draws_random_numbers_gives_the_same_twice() -> None:
    class Drawing(Convolutions):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0.1 * torch.rand(1)

    lr = pictures.coffee()[:60, :50]  # large enough for its memory to be foreseen
    before = torch.get_rng_state()
    first, second = upscale_array(Drawing(), lr), upscale_array(Drawing(), lr)
    np.testing.assert_array_equal(first, second)
    assert (first != upscale_array(Convolutions(), lr)).any()
    torch.set_rng_state(before)
    model = Drawing()
    before = torch.get_rng_state()
    upscale_array(model, lr)
    assert torch.equal(torch.get_rng_state(), before)


def test_grey_in_grey_out() -> None:
    grey = pictures.camera()[:40, :40]
    np.testing.assert_array_equal(grey_of(np.repeat(grey[..., None], 3, axis=2)), grey)
    model = Convolutions()
    got = upscale_array(model, grey)
    assert got.shape == (80, 80)
    rgb = upscale_array(model, np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(got, grey_of(rgb))


def test_floating_point_is_the_same_before_rounding() -> None:
    model, lr = Convolutions(), pictures.coffee()[:30, :40]
    values, _ = upscale_float(model, lr.astype(np.float32) / 255)
    assert values.min() >= 0
    assert values.max() <= 1
    assert np.abs(values * 255 - upscale_array(model, lr)).max() <= 0.501


def test_output_is_clamped_and_rounded() -> None:
    pixels = torch.tensor([-1.0, 0.0, 0.5 / 255 + 1e-4, 0.9, 1.0, 7.0]).reshape(1, 1, 1, 6).expand(1, 3, 1, 6)
    np.testing.assert_array_equal(to_image(pixels)[0, :, 0], [0, 0, 1, 230, 255, 255])


def test_memory_is_foreseen() -> None:
    """Linear for convolutions; quadratic, and right to a factor of two, for an N x N matrix."""
    cpu = torch.device("cpu")
    convolutions, attention = Convolutions(), GlobalAttention()
    one, ten = (memory.needed(convolutions, pixels, cpu) for pixels in (10_000, 100_000))
    assert ten == pytest.approx(10 * one, rel=1e-6)
    pixels = 20_000
    assert memory.needed(attention, pixels, cpu) > 4 * pixels**2
    assert memory.needed(attention, pixels, cpu) < 30 * pixels**2
    assert memory.available(cpu) > 1 << 20


def test_what_would_not_fit_is_tiled_and_the_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model, lr = GlobalAttention(), pictures.coffee()[:80, :100]
    needed = memory.needed(model, 50 * 50, torch.device("cpu"))
    monkeypatch.setattr(memory, "available", lambda _: needed)
    got, mode = upscale_with_mode(model, lr, Mode(overlap=8))
    assert got.shape == (160, 200, 3)
    assert str(mode) == "tile 32 overlap 8"  # 32 and twice 8 are 48 of the 50 that fit


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("not enough memory")])
def test_where_memory_runs_out_all_the_same_smaller_tiles_are_tried(error: Exception) -> None:
    class Limited(Convolutions):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[2] * x.shape[3] > 60 * 60:
                raise error
            return super().forward(x)

    lr = pictures.coffee()[:100, :120]
    got, mode = upscale_with_mode(Limited(), lr, Mode(overlap=8))
    assert mode.tile == 30
    assert np.abs(got.astype(int) - whole(Convolutions(), lr)).max() <= 1


def test_other_errors_are_not_taken_for_a_shortage() -> None:
    class Broken(Convolutions):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        upscale_array(Broken(), pictures.coffee()[:20, :20])

    class Hungry(Convolutions):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("no")

    with pytest.raises(SisrError, match="not enough memory for this image"):
        upscale_array(Hungry(), pictures.coffee()[:20, :20])


def test_a_network_that_gives_no_numbers_or_another_size_is_named() -> None:
    class Nan(Convolutions):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * float("nan")

    with pytest.raises(SisrError, match="NaN or infinite values"):
        upscale_array(Nan(), pictures.coffee()[:20, :20])

    class Double(nn.Conv2d):
        scale = 3

        def forward(self, x: Tensor) -> Tensor:
            return functional.interpolate(x, scale_factor=2.0)

    with pytest.raises(SisrError, match="not x3"):
        upscale_array(Double(3, 3, 1), pictures.coffee()[:20, :20])


def test_impossible_modes_are_refused() -> None:
    for options in ({"tile": 8}, {"overlap": -1}, {"tile": 64, "chop": True}):
        with pytest.raises(UsageError):
            Mode(**options)
    with pytest.raises(UsageError, match="device 'tpu9' does not exist"):
        inference.device("tpu9")
    assert inference.device("cpu").type == "cpu"
    assert inference.device("auto").type in ("cpu", "cuda", "mps")


class Srmd(nn.Module):
    """SRMDNF (Zhang et al., CVPR 2018), for LR without noise reduced bicubically: twelve 3x3 convolutions."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        arrays = np.load(weights)
        self.scale = 2
        self.layers = nn.ParameterList()
        for i in range(0, 24, 2):
            for part in ("weight", "bias"):
                self.layers.append(nn.Parameter(torch.from_numpy(arrays[f"model.{i}.{part}"])))
        self.maps = nn.Parameter(torch.from_numpy(arrays["degradation_vector_delta15"]).reshape(1, 15, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.maps.expand(len(x), -1, *x.shape[2:])], dim=1)
        for i in range(12):
            x = functional.conv2d(x, self.layers[2 * i], self.layers[2 * i + 1], padding=1)
            x = x.relu() if i < 11 else x
        return functional.pixel_shuffle(x, 2)


def test_a_published_network_measures_as_known(reference_data: Path) -> None:
    """The authors' SRMDNF on Set5 x2, from unrounded LR as they test: 37.72 dB, 0.9599 by protocol P1."""
    model = Srmd(reference_data / "weights" / "SRMDNF_x2.npz").eval()
    pairs = FolderPairs(reference_data / "benchmarks" / "Set5", 2)
    values = []
    for i in range(len(pairs.names)):
        hr = pairs.hr(i)
        sr, _ = upscale_float(model, imresize(hr.astype(np.float64) / 255, 1 / 2), Mode(tile=96, overlap=12))
        sr = np.round(sr * 255).astype(np.uint8)
        values.append((psnr(sr, hr, 2), ssim(sr, hr, 2)))
    found = np.mean(values, axis=0)
    assert f"{found[0]:.2f}" == "37.72"
    assert f"{found[1]:.4f}" == "0.9599"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_as_the_cpu() -> None:
    model, lr = Convolutions(), pictures.coffee()[:90, :70]
    expected = upscale_array(model, lr)
    for mode in (Mode(), Mode(tile=32, overlap=8), Mode(chop=True)):
        got = upscale_array(model.cuda(), lr, mode)
        assert np.abs(got.astype(int) - expected).max() <= 1
    assert memory.available(torch.device("cuda", 0)) > 1 << 20


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=4).map(tuple)
    | st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))
    | st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(
        ["uint8", "uint16", "int8", "int64", "bool", "float16", "float32", "float64", "complex64", "object", "U3"]
    ),
    top=st.sampled_from([1.0, 255.0, 65000.0, float("nan")]),
)
def test_every_type_shape_and_range_is_right_or_refused(shape: tuple[int, ...], dtype: str, top: float) -> None:
    model = Convolutions()
    values = np.random.default_rng(0).random(shape)
    if dtype == "uint8":
        image, unit = (values * 255).astype(np.uint8), (values * 255).astype(np.uint8) / 255
    else:
        image = unit = np.array(values * (1 if np.isnan(top) else top)).astype(dtype)
        if image.dtype.kind == "f" and image.size:
            image.flat[-1] = top
    accepted = (
        image.size > 0
        and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3))
        and (dtype == "uint8" or (dtype.startswith("float") and top == 1))
    )
    if not accepted:
        for upscale in (upscale_array, upscale_with_mode, upscale_float):
            with pytest.raises(SisrError) as caught:
                upscale(model, image)
            assert str(caught.value).isprintable()
        return
    sr = upscale_array(model, image)
    assert sr.dtype == np.uint8
    assert sr.shape == (2 * shape[0], 2 * shape[1], *shape[2:])
    rgb = unit if image.ndim == 3 else np.repeat(unit[..., None], 3, axis=2)
    with torch.inference_mode():
        expected = model(torch.tensor(rgb.astype(np.float32)).permute(2, 0, 1)[None])
    wanted = to_image(expected)
    np.testing.assert_array_equal(sr, wanted if image.ndim == 3 else grey_of(wanted))


@pytest.mark.parametrize(
    ("image", "part"),
    [
        (np.full((4, 4, 3), 128.0), "must be in [0, 1], not from 128 to 128"),
        (np.full((4, 4, 3), -1.0), "must be in [0, 1], not from -1 to -1"),
        (np.full((4, 4), np.nan), "must be in [0, 1], not from nan to nan"),
        (np.zeros((4, 4, 3), np.uint16), "not uint16"),
        (np.zeros((4, 4, 4), np.uint8), "(H, W) or (H, W, 3), without alpha and not empty; this one is (4, 4, 4)"),
        (np.zeros((4, 4, 1), np.uint8), "this one is (4, 4, 1)"),
        (torch.zeros(1, 3, 4, 4), "this one is (1, 3, 4, 4)"),
    ],
)
def test_refused_arrays_say_what_is_wrong(image: np.ndarray, part: str) -> None:
    with pytest.raises(SisrError) as caught:
        upscale_array(Convolutions(), image)
    assert part in str(caught.value)


@pytest.mark.parametrize("size", [(1, 1), (1, 500)])
def test_an_image_that_cannot_be_written_is_copied(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 51, dtype=np.uint8)
    image.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(to_tensor(image), torch.full((1, 3, *size), 0.2))


def test_the_overshoot_of_unrounded_lr_is_accepted() -> None:
    edges = np.kron(np.indices((6, 6)).sum(axis=0) % 2, np.ones((7, 7)))
    for scale in (2, 3, 4):
        lr = imresize(edges, 1 / scale)
        assert lr.min() < 0 or lr.max() > 1
        to_tensor(lr)
    assert -inference.OVERSHOOT < imresize(edges, 4).min() < 0
