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
        # the table has six decimals
        assert psnr(sr, hr, scale, "P2") == pytest.approx(float(row["psnr"]), abs=6e-7)
        assert ssim(sr, hr, scale, "P2") == pytest.approx(float(row["ssim"]), abs=6e-7)


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


@settings(max_examples=15)
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


def test_rounding_y_follows_the_order_of_matlab() -> None:
    """MATLAB multiplies its coefficients by 1/255 first, which decides which Y at .5 are rounded up."""
    red, green, blue = np.meshgrid(*[np.arange(256)] * 3, indexing="ij")
    exact = 65481 * red + 128553 * green + 24966 * blue  # 255,000 (Y - 16)
    ties = np.argwhere(exact % 255_000 == 127_500).astype(np.uint8)[None]
    assert ties.shape[1] > 50
    scaled = [weight * (1 / 255) for weight in (65.481, 128.553, 24.966)]
    matlab = [np.floor(sum(c * float(v) for c, v in zip(scaled, colour, strict=True)) + 16 + 0.5) for colour in ties[0]]
    for protocol in ("P2", "P3"):
        np.testing.assert_array_equal(luminance(ties, protocol)[0], matlab)
    planes = torch.from_numpy(ties).permute(2, 0, 1)[None]
    black = np.zeros_like(ties)
    batch = psnr_batch(planes, torch.zeros_like(planes), 0, "P2").item()
    assert batch == pytest.approx(psnr(ties, black, 0, "P2"), abs=1e-12)
    other = np.floor(luminance(ties)[0] + 0.5)
    assert 0 < np.count_nonzero(other != matlab) < len(matlab)  # the order matters


def test_rounding_y_lowers_psnr_by_as_much_as_known() -> None:
    hr = pictures.coffee()
    sr = noisy(hr, 10)
    # two roundings add 1/12 each to the mean squared error: 0.02 dB at 32.7 dB, 0.08 dB at 38.4 dB
    errors = [255**2 / 10 ** (psnr(sr, hr, 2, protocol) / 10) for protocol in ("P1", "P2")]
    assert errors[1] - errors[0] == pytest.approx(1 / 6, rel=0.1)
    assert psnr(sr, hr, 2, "P3") == psnr(sr, hr, 2, "P2")


@given(protocol=st.sampled_from(PROTOCOLS), grey=st.booleans())
@settings(max_examples=6)
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
        (lambda: psnr(image, image, 2.5), "2.5"),
        (lambda: psnr(image, image, -1), "border"),
        (lambda: psnr(image.astype(np.int32), image, 2), "image.astype(np.uint8)"),
        (lambda: psnr(np.dstack([image, image]), image, 2), "(30, 30, 6)"),
        (lambda: ssim(image, image, 10), "11"),
        (lambda: psnr(image, image[..., 0], 2), "SR is RGB but HR is greyscale"),
        (lambda: psnr(image.transpose(2, 0, 1), image, 2), "transpose"),
        (lambda: psnr(np.zeros((30, 30, 4), dtype=np.uint8), image, 2), "alpha"),
        (lambda: psnr(torch.zeros(30, 30, requires_grad=True), image, 2), "array"),
        (lambda: psnr_batch(image, image, 2), "sisr.psnr"),
        (lambda: psnr_batch(torch.zeros(0, 3, 9, 9), torch.zeros(0, 3, 9, 9), 1), "batches"),
        (lambda: psnr_batch(torch.zeros(1, 3, 9, 9), torch.zeros(1, 1, 9, 9), 1), "batches"),
        (lambda: psnr_batch(torch.zeros(1, 3, 9, 9), torch.zeros(2, 3, 9, 9), 1), "batches"),
        (lambda: psnr_batch(torch.zeros(1, 2, 9, 9), torch.zeros(1, 2, 9, 9), 1), "channels"),
        (lambda: ssim_batch(torch.zeros(1, 3, 12, 12), torch.zeros(1, 3, 12, 12), 1), "11"),
    ]:
        with pytest.raises(SisrError) as caught:
            call()
        assert word in str(caught.value)


TYPES = ["uint8", "uint16", "int64", "bool", "float16", "float32", "float64"]


@settings(max_examples=150)
@given(
    kind=st.sampled_from(TYPES),
    largest=st.sampled_from([1, 255, 65535]),
    colour=st.booleans(),
    first=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_type_and_range_is_right_or_refused(
    kind: str, largest: int, colour: bool, first: bool, seed: int
) -> None:
    """The same two images in any type and range give the PSNR of their 8-bit pixels, or a sentence."""
    rng = np.random.default_rng(seed)
    shape = (24, 20, 3) if colour else (24, 20)
    sr, hr = (rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2))
    expected = psnr(sr, hr, 2)

    def convert(image: np.ndarray) -> np.ndarray:
        values = image / 255.0 * largest
        converted = (values if "float" in kind else np.rint(values)).astype(kind)
        return converted.transpose(2, 0, 1) if first and colour else converted

    with np.errstate(over="ignore"):
        a, b = convert(sr), convert(hr)
    unchanged = kind == "uint8" and largest == 255 and not (first and colour)
    y = "float" in kind and largest == 255 and not colour
    if unchanged or y:
        # half precision has 11 bits
        assert psnr(a, b, 2) == pytest.approx(expected, abs=1e-2 if kind == "float16" else 1e-5)
    elif kind == "uint8" and not (first and colour):
        pass  # 0 and 1 in uint8 are also the pixels of a very dark image
    else:
        with pytest.raises(SisrError) as caught:
            psnr(a, b, 2)
        assert str(caught.value).count("\n") == 0


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["uint8", "int32", "int64", "bool", "float16", "bfloat16", "float32", "float64"]),
    largest=st.sampled_from([1, 255]),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_every_batch_is_right_or_refused(kind: str, largest: int, channels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sr, hr = (torch.randint(0, 256, (2, channels, 24, 20), generator=generator, dtype=torch.uint8) for _ in range(2))
    floating = "float" in kind
    a, b = ((x.double() / 255 * largest if floating else x).to(getattr(torch, kind)) for x in (sr, hr))
    if kind == "uint8" or (floating and largest == 1):
        expected = [psnr(*(x[i].permute(1, 2, 0).squeeze(-1).numpy() for x in (sr, hr)), 2) for i in range(2)]
        # bfloat16 has 8 bits
        np.testing.assert_allclose(psnr_batch(a, b, 2), expected, atol=0.05 if kind == "bfloat16" else 1e-9)
    else:
        for metric in (psnr_batch, ssim_batch):
            with pytest.raises(SisrError):
                metric(a, b, 2)


def test_nan_and_infinity_are_refused() -> None:
    plane = pictures.camera().astype(float)
    for value in (np.nan, np.inf, -np.inf):
        broken = plane.copy()
        broken[5, 5] = value
        for call in (lambda x=broken: psnr(x, plane, 2), lambda x=broken: ssim(plane, x, 2)):
            with pytest.raises(SisrError, match="NaN or infinite"):
                call()
        batch = torch.full((1, 1, 20, 20), 0.5)
        other = batch.clone()
        other[0, 0, 3, 3] = value
        for pair in ((other, batch), (batch, other)):
            with pytest.raises(SisrError, match="must be in"):
                psnr_batch(*pair, 2)


def test_a_networks_overshoot_is_clamped() -> None:
    hr = torch.zeros(1, 1, 20, 20, dtype=torch.uint8)
    sr = torch.full((1, 1, 20, 20), -0.3)
    assert psnr_batch(sr, hr, 2) == float("inf")


def test_are_exported() -> None:
    assert (sisr.psnr, sisr.ssim) == (psnr, ssim)
