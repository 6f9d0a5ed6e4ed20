"""Reduction and enlargement against images that MATLAB made, and against the definition written out."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data as pictures

import sisr
from sisr.data.image_files import list_images, read_image
from sisr.data.imresize import contributions, imresize
from sisr.data.prepare import crop
from sisr.utils.errors import SisrError

BORDERS = {"symmetric": "benchmarks", "replicate": "checks/older_matlab_border"}


def published_lr(folder: Path, name: str, scale: int) -> np.ndarray:
    (path,) = folder.rglob(f"{name}x{scale}.png")
    return read_image(path)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("name", ["Set5", "Set14"])
@pytest.mark.parametrize("boundary", BORDERS)
def test_equals_every_published_lr_image_to_the_bit(reference_data: Path, boundary: str, name: str, scale: int) -> None:
    hr_files = list_images(reference_data / "benchmarks" / name / "HR")
    assert len(hr_files) == int(name.removeprefix("Set"))
    for path in hr_files:
        expected = published_lr(reference_data / BORDERS[boundary] / name, path.stem, scale)
        made = imresize(crop(read_image(path), scale), 1 / scale, boundary)
        np.testing.assert_array_equal(made, expected, err_msg=f"{path.stem} x{scale}")


def test_the_two_borders_differ_only_near_the_border() -> None:
    image = pictures.coffee()
    difference = imresize(image, 1 / 4, "symmetric") != imresize(image, 1 / 4, "replicate")
    assert difference.any()
    assert not difference[3:-3, 3:-3].any()


def written_out(image: np.ndarray, scale: Fraction, boundary: str) -> np.ndarray:
    """One axis of MATLAB's imresize, output by output, input by input, in float64."""
    length, s = len(image), float(scale)
    size = -(-length * scale.numerator // scale.denominator)
    stretch = max(1.0, 1.0 / s)
    result = np.zeros((size, *image.shape[1:]))
    for x in range(size):
        centre = (x + 1) / s + 0.5 * (1 - 1 / s)
        total = 0.0
        for i in range(int(np.floor(centre - 2 * stretch)) - 1, int(np.ceil(centre + 2 * stretch)) + 2):
            t = abs(centre - i) / stretch
            if t <= 1:
                weight = 1.5 * t**3 - 2.5 * t**2 + 1
            elif t <= 2:
                weight = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
            else:
                continue
            if boundary == "replicate":
                source = min(max(i, 1), length)
            else:
                source = (i - 1) % (2 * length) + 1
                source = source if source <= length else 2 * length + 1 - source
            result[x] += weight * image[source - 1]
            total += weight
        result[x] /= total
    return result


@settings(max_examples=40)
@given(
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    channels=st.sampled_from([None, 1, 3]),
    factor=st.fractions(Fraction(1, 5), 5, max_denominator=5),
    boundary=st.sampled_from(["symmetric", "replicate"]),
    seed=st.integers(0, 99),
)
def test_floating_point_equals_the_written_out_definition(
    height: int, width: int, channels: int | None, factor: Fraction, boundary: str, seed: int
) -> None:
    shape = (height, width) if channels is None else (height, width, channels)
    image = np.random.default_rng(seed).normal(size=shape)
    expected = written_out(written_out(image, factor, boundary).swapaxes(0, 1), factor, boundary).swapaxes(0, 1)
    np.testing.assert_allclose(imresize(image, factor, boundary), expected, atol=1e-12)


@settings(max_examples=30)
@given(
    side=st.integers(1, 40),
    factor=st.sampled_from([Fraction(1, 2), Fraction(1, 3), Fraction(1, 4), Fraction(2, 3), 2, 3, 4, Fraction(7, 2)]),
    seed=st.integers(0, 99),
)
def test_uint8_is_rounded_half_away_from_zero_and_clamped_after_each_pass(
    side: int, factor: Fraction, seed: int
) -> None:
    image = np.random.default_rng(seed).choice([0, 3, 128, 252, 255], (side, side + 3)).astype(np.uint8)
    factor = Fraction(factor)

    def whole(x: np.ndarray) -> np.ndarray:
        # sums that are exactly one half come out a hair off in float64 where weights are no binary fractions
        x = np.round(x, 9)
        return np.clip(np.sign(x) * np.floor(np.abs(x) + 0.5), 0, 255)

    def tied(x: np.ndarray) -> np.ndarray:
        return np.abs(x % 1 - 0.5) < 1e-6

    first = written_out(image.astype(float), factor, "symmetric")
    second = written_out(whole(first).swapaxes(0, 1), factor, "symmetric").swapaxes(0, 1)
    made, expected = imresize(image, factor), whole(second)
    assert made.dtype == np.uint8
    if {factor.denominator, factor.numerator} <= {1, 2, 4}:
        np.testing.assert_array_equal(made, expected)
    else:
        # where a sum is one half, the order of summation decides; nowhere else may a value differ
        undecided = tied(second) | tied(first).any(axis=1, keepdims=True)
        np.testing.assert_array_equal(made[~undecided], expected[~undecided])
        assert np.abs(made - expected).max() <= 1


def test_rounding_between_the_passes_matters_and_floating_point_does_none() -> None:
    image = pictures.chelsea()
    rounded_once = np.clip(np.floor(imresize(image.astype(np.float64), 1 / 4) + 0.5), 0, 255)
    share = (imresize(image, 1 / 4) != rounded_once).mean()
    assert 0.02 < share < 0.3  # a float port differs by one grey level in about every ninth value
    assert np.abs(imresize(image, 1 / 4) - rounded_once).max() == 1


@given(value=st.integers(0, 255), factor=st.fractions(Fraction(1, 8), 8, max_denominator=8))
@settings(max_examples=30)
def test_a_flat_image_stays_flat(value: int, factor: Fraction) -> None:
    for dtype in (np.uint8, np.float32):
        made = imresize(np.full((9, 13, 3), value, dtype=dtype), factor)
        assert made.dtype == dtype
        np.testing.assert_allclose(made, value, atol=1e-4)


def test_sizes_are_rounded_up_and_floats_mean_fractions() -> None:
    image = np.zeros((10, 31), dtype=np.uint8)
    assert imresize(image, 1 / 3).shape == (4, 11)
    assert imresize(image, 0.1).shape == (1, 4)  # 0.1 * 10 is 1, whatever binary fractions say
    assert imresize(np.zeros((30, 3), dtype=np.uint8), 0.1).shape == (3, 1)
    assert imresize(image, 1.5).shape == (15, 47)


def test_factor_one_changes_nothing() -> None:
    image = pictures.astronaut()
    np.testing.assert_array_equal(imresize(image, 1), image)


def test_uint16_keeps_its_depth() -> None:
    middle = 64 + pictures.camera() // 2  # nothing overshoots, so nothing is clamped
    made = imresize(middle.astype(np.uint16) * 257, 1 / 2)
    assert made.dtype == np.uint16
    expected = imresize(middle.astype(np.float64) * 257, 1 / 2)
    assert np.abs(made - expected).max() < 1.2  # rounded twice


def test_views_and_other_memory_orders_give_the_same() -> None:
    image = pictures.coffee()
    np.testing.assert_array_equal(imresize(np.asfortranarray(image), 1 / 2), imresize(image, 1 / 2))
    np.testing.assert_array_equal(imresize(image[::-1], 1 / 2)[::-1], imresize(image, 1 / 2))
    np.testing.assert_array_equal(
        imresize(image.swapaxes(0, 1).astype(np.float64), 1 / 4),
        imresize(image.astype(np.float64), 1 / 4).swapaxes(0, 1),
    )


@given(length=st.integers(1, 50), factor=st.fractions(Fraction(1, 6), 6, max_denominator=6))
@settings(max_examples=40)
def test_weights_sum_to_one_and_positions_exist(length: int, factor: Fraction) -> None:
    for boundary in BORDERS:
        weights, source = contributions(length, factor, boundary)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
        assert source.min() >= 0
        assert source.max() < length


def test_is_not_what_other_libraries_do() -> None:
    image = pictures.coffee()
    pil = np.asarray(Image.fromarray(image).resize((150, 100), Image.Resampling.BICUBIC))
    assert (imresize(image, 1 / 4) != pil).mean() > 0.05


@pytest.mark.parametrize(
    ("image", "factor", "boundary", "word"),
    [
        (np.zeros((4, 4), dtype=np.uint8), 0, "symmetric", "positive"),
        (np.zeros((4, 4), dtype=np.uint8), -2, "symmetric", "positive"),
        (np.zeros((4, 4), dtype=np.uint8), float("nan"), "symmetric", "positive"),
        (np.zeros((4, 4), dtype=np.uint8), 2, "circular", "boundary"),
        (np.zeros((4, 0), dtype=np.uint8), 2, "symmetric", "empty"),
        (np.zeros(4, dtype=np.uint8), 2, "symmetric", "(H, W)"),
        (np.zeros((4, 4), dtype=np.int64), 2, "symmetric", "int64"),
    ],
)
def test_wrong_calls_are_answered_in_one_sentence(image: np.ndarray, factor: float, boundary: str, word: str) -> None:
    with pytest.raises(SisrError) as caught:
        imresize(image, factor, boundary)
    assert word in str(caught.value)


def test_is_exported() -> None:
    assert sisr.imresize is imresize
