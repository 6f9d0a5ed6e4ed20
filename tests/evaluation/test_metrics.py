"""PSNR and SSIM against figures that others measured, and against scikit-image."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data as pictures
from skimage.metrics import structural_similarity

import sisr
from sisr.data.image_files import list_images, read_image
from sisr.data.imresize import imresize
from sisr.data.pairs import FolderPairs
from sisr.data.prepare import crop
from sisr.evaluation.metrics import PROTOCOLS, luminance, psnr, psnr_batch, ssim, ssim_batch
from sisr.evaluation.upscalers import Bicubic
from sisr.utils.errors import SisrError


def noisy(image: np.ndarray, amount: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-amount, amount + 1, image.shape)
    return np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)


# mean over Set5, and one image: the log of RCAN's authors
AUTHORS = {
    2: ((38.274168, 0.961445), "bird", (43.639850, 0.990903)),
    4: ((32.633562, 0.900241), "butterfly", (29.359312, 0.934269)),
}


@pytest.mark.parametrize("scale", AUTHORS)
def test_gives_the_figures_of_the_authors_of_rcan(reference_data: Path, scale: int) -> None:
    folder = reference_data / "checks" / "rcan_set5" / f"x{scale}"
    mean, name, one = AUTHORS[scale]
    values = {}
    for path in list_images(folder / "HR"):
        image = path.name.split("_")[0]
        sr, hr = read_image(folder / "SR" / path.name.replace("_HR_", "_RCAN_")), read_image(path)
        values[image] = (psnr(sr, hr, scale), ssim(sr, hr, scale))
    assert len(values) == 5
    np.testing.assert_allclose(np.mean(list(values.values()), axis=0), mean, atol=6e-7)
    np.testing.assert_allclose(values[name], one, atol=6e-7)


def test_gives_what_matlab_gave_for_bicubic(reference_data: Path) -> None:
    with (reference_data / "checks" / "matlab_bicubic.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 38
    for row in rows:
        scale = int(row["scale"])
        hr = crop(read_image(reference_data / "benchmarks" / row["set"] / "HR" / f"{row['image']}.png"), scale)
        assert hr.shape[:2] == (int(row["height"]), int(row["width"]))
        sr = imresize(imresize(hr, 1 / scale, "replicate"), scale, "replicate")
        assert psnr(sr, hr, scale, "P2") == pytest.approx(float(row["psnr"]), abs=1e-4)
        assert ssim(sr, hr, scale, "P2") == pytest.approx(float(row["ssim"]), abs=1e-5)


# the bicubic row that papers copy from one another: PSNR to two digits, SSIM to four where it is printed
COPIED = [("Set5", 2, "33.66", "0.9299"), ("Set5", 4, "28.42", "0.8104"), ("Set14", 2, "30.23", None)]
COPIED += [("Set14", 4, "26.00", None)]


@pytest.mark.parametrize(("name", "scale", "expected_psnr", "expected_ssim"), COPIED)
def test_p3_gives_the_copied_bicubic_row(
    reference_data: Path, name: str, scale: int, expected_psnr: str, expected_ssim: str | None
) -> None:
    pairs = FolderPairs(reference_data / "benchmarks" / name, scale)
    values = []
    for i in range(len(pairs.names)):
        sr, _, _ = Bicubic("P3").upscale(pairs, i, scale)
        hr = luminance(pairs.hr(i), "P3")
        values.append((psnr(sr, hr, scale, "P3"), ssim(sr, hr, scale, "P3")))
    found = np.mean(values, axis=0)
    assert f"{found[0]:.2f}" == expected_psnr
    assert expected_ssim is None or f"{found[1]:.4f}" == expected_ssim


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(19, 60),
    width=st.integers(19, 60),
    scale=st.integers(1, 4),
    amount=st.integers(1, 80),
    seed=st.integers(0, 99),
)
def test_ssim_equals_scikit_image(height: int, width: int, scale: int, amount: int, seed: int) -> None:
    hr = pictures.coffee()[100 : 100 + height, 200 : 200 + width]
    sr = noisy(hr, amount, seed)
    a, b = (luminance(image)[scale:-scale, scale:-scale] for image in (sr, hr))
    expected = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(sr, hr, scale) == pytest.approx(expected, abs=1e-10)


def test_ssim_is_not_scikit_images_default() -> None:
    hr = pictures.camera()
    sr = imresize(imresize(hr, 1 / 4), 4)
    assert abs(ssim(sr, hr, 4) - structural_similarity(sr[4:-4, 4:-4], hr[4:-4, 4:-4], data_range=255)) > 0.005


def test_psnr_by_hand() -> None:
    hr = np.full((20, 20), 100, dtype=np.uint8)
    sr = hr.copy()
    sr[10, 10] = 110  # squared error 100 in one of 16 x 16 pixels
    assert psnr(sr, hr, 2) == pytest.approx(10 * np.log10(255**2 / (100 / 256)), abs=1e-12)
    sr[1, 1] = 0  # in the border
    assert psnr(sr, hr, 2) == pytest.approx(10 * np.log10(255**2 / (100 / 256)), abs=1e-12)


def test_luminance_of_black_white_and_primaries() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    np.testing.assert_allclose(luminance(colours), [[16, 235, 81.481, 144.553, 40.966]], atol=1e-12)
    np.testing.assert_array_equal(luminance(colours, "P2"), [[16, 235, 81, 145, 41]])


def test_rounding_y_lowers_psnr_by_as_much_as_known() -> None:
    hr = pictures.coffee()
    sr = noisy(hr, 10)
    # two roundings add 1/12 each to the mean squared error: 0.02 dB at 32.7 dB, 0.08 dB at 38.4 dB
    errors = [255**2 / 10 ** (psnr(sr, hr, 2, protocol) / 10) for protocol in ("P1", "P2")]
    assert errors[1] - errors[0] == pytest.approx(1 / 6, rel=0.1)
    assert psnr(sr, hr, 2, "P3") == psnr(sr, hr, 2, "P2")


@given(protocol=st.sampled_from(PROTOCOLS), grey=st.booleans())
@settings(max_examples=6, deadline=None)
def test_identical_images_have_infinite_psnr_and_ssim_one(protocol: str, grey: bool) -> None:
    image = pictures.camera()[:60, :60] if grey else pictures.coffee()[:60, :60]
    assert psnr(image, image.copy(), 4, protocol) == float("inf")
    assert ssim(image, image.copy(), 4, protocol) == pytest.approx(1, abs=1e-12)


def test_both_are_symmetric() -> None:
    hr = pictures.coffee()[:80, :90]
    sr = noisy(hr, 20)
    assert psnr(sr, hr, 3) == psnr(hr, sr, 3)
    assert ssim(sr, hr, 3) == pytest.approx(ssim(hr, sr, 3), abs=1e-14)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("floating", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batches_give_the_same_as_arrays(protocol: str, grey: bool, floating: bool, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    hr = np.stack([pictures.coffee()[:50, :64], pictures.coffee()[200:250, 300:364], pictures.astronaut()[:50, :64]])
    sr = np.stack([noisy(hr[0], 9), noisy(hr[1], 40), hr[2]])
    if grey:
        hr, sr = hr[..., :1], sr[..., :1]
    tensors = [torch.from_numpy(x).permute(0, 3, 1, 2).contiguous().to(device) for x in (sr, hr)]
    if floating:
        tensors = [x.float() / 255 for x in tensors]
        tensors[0] += 1e-4  # less than half a grey level: rounded away
    got_psnr, got_ssim = psnr_batch(*tensors, 4, protocol), ssim_batch(*tensors, 4, protocol)
    assert got_psnr.dtype == got_ssim.dtype == torch.float64
    expected = [(psnr(a, b, 4, protocol), ssim(a, b, 4, protocol)) for a, b in zip(sr, hr, strict=True)]
    np.testing.assert_allclose(got_psnr.cpu(), [x[0] for x in expected], atol=1e-10)
    np.testing.assert_allclose(got_ssim.cpu(), [x[1] for x in expected], atol=1e-10)
    assert got_psnr[2] == float("inf")


def test_what_cannot_be_measured_is_said_in_one_sentence() -> None:
    image = np.zeros((30, 30, 3), dtype=np.uint8)
    for call, word in [
        (lambda: psnr(image, image[:-1], 2), "30 x 30"),
        (lambda: psnr(image, image, 15), "border"),
        (lambda: psnr(image, image, 2, "P4"), "P4"),
        (lambda: psnr(image.astype(np.int32), image, 2), "int32"),
        (lambda: psnr(np.dstack([image, image]), image, 2), "(30, 30, 6)"),
        (lambda: ssim(image, image, 10), "11"),
        (lambda: psnr_batch(torch.zeros(1, 3, 9, 9), torch.zeros(2, 3, 9, 9), 1), "batches"),
        (lambda: psnr_batch(torch.zeros(1, 2, 9, 9), torch.zeros(1, 2, 9, 9), 1), "channels"),
        (lambda: ssim_batch(torch.zeros(1, 3, 12, 12), torch.zeros(1, 3, 12, 12), 1), "11"),
    ]:
        with pytest.raises(SisrError) as caught:
            call()
        assert word in str(caught.value)


def test_are_exported() -> None:
    assert (sisr.psnr, sisr.ssim) == (psnr, ssim)
