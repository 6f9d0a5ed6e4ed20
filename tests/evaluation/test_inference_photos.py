"""`upscale` with photographs as people have them."""

import io
import json
import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from skimage import data as pictures

import models
from sisr.cli import main
from sisr.data.imresize import imresize
from sisr.data.photo_files import Photo, fit_to_format, read_photo, stack, write_photo
from sisr.evaluation.inference import upscale_array
from sisr.evaluation.photos import plan, upscale_file, upscale_photo
from sisr.utils.errors import SisrError, UsageError

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
COFFEE = pictures.coffee()[:60, :90]
CAMERA = pictures.camera()[:50, :40]
ALPHA = np.tile(np.arange(90, dtype=np.uint8) * 2, (60, 1))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    models.save(
        models.create("edsr", scale=2, blocks=1, channels=8, slots=(0, 1), initialisation="interpolation"), path
    )
    return path


@pytest.fixture(scope="module")
def model(weights: Path) -> torch.nn.Module:
    return models.load(weights)


def deep(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


def call(*words: object) -> int:
    return main(["upscale", *map(str, words)])


def test_a_photo(weights: Path, model: torch.nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.fromarray(COFFEE).save(tmp_path / "photo.png", icc_profile=SRGB)
    assert call(tmp_path / "photo.png", "-o", tmp_path / "out" / "big.png", "--weights", weights) == 0
    assert "120 x 180" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "big.png") as image:
        np.testing.assert_array_equal(np.asarray(image), upscale_array(model, COFFEE))
        assert image.info["icc_profile"] == SRGB
    assert call(tmp_path / "photo.png", "--weights", weights.parent, "--json") == 0  # a run folder, no -o
    (result,) = json.loads(capsys.readouterr().out)
    assert result["output"] == str(tmp_path / "photo_x2.png")
    assert (result["height"], result["width"], result["way"]) == (120, 180, "whole")
    assert call(tmp_path / "photo.png", "--weights", "bicubic", "--scale", 3) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "photo_x3.png")), imresize(COFFEE, 3))


def test_tiles_and_self_ensemble(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.fromarray(COFFEE).save(tmp_path / "photo.png")
    for flags, way in ([["--tile", 32], "tile 32 overlap 32"], [["--self-ensemble"], "whole self-ensemble"]):
        assert call(tmp_path / "photo.png", "--weights", weights, *flags, "--json") == 0
        assert json.loads(capsys.readouterr().out)[0]["way"] == way


def test_greyscale_stays_greyscale_and_alpha_is_enlarged(model: torch.nn.Module, tmp_path: Path) -> None:
    Image.fromarray(CAMERA).save(tmp_path / "grey.png")
    sr, _ = upscale_photo(model, read_photo(tmp_path / "grey.png"), 2)
    np.testing.assert_array_equal(sr.pixels, upscale_array(model, CAMERA))
    assert sr.pixels.ndim == 2
    Image.fromarray(np.dstack([COFFEE, ALPHA])).save(tmp_path / "rgba.png")
    sr, _ = upscale_photo(model, read_photo(tmp_path / "rgba.png"), 2)
    write_photo(sr, tmp_path / "big.png")
    written = np.asarray(Image.open(tmp_path / "big.png"))
    np.testing.assert_array_equal(written[..., :3], upscale_array(model, COFFEE))
    np.testing.assert_array_equal(written[..., 3], imresize(ALPHA, 2))
    Image.fromarray(np.dstack([CAMERA, CAMERA[::-1]])).save(tmp_path / "la.png")
    photo = read_photo(tmp_path / "la.png")
    np.testing.assert_array_equal(photo.pixels, CAMERA)
    np.testing.assert_array_equal(photo.alpha, CAMERA[::-1])
    palette = Image.fromarray(COFFEE).quantize(32)
    palette.save(tmp_path / "palette.png", transparency=3)
    photo = read_photo(tmp_path / "palette.png")
    assert photo.pixels.shape == COFFEE.shape
    np.testing.assert_array_equal(photo.alpha == 0, np.asarray(palette) == 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_orientation_is_applied_once(tmp_path: Path, orientation: int, bits: int) -> None:
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "a camera"
    upright = COFFEE if bits == 8 else COFFEE.astype(np.uint16) * 257
    turns = {1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1]}
    turns |= {
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, 1),  # stored lying; shown turned clockwise
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
        8: lambda x: np.rot90(x, -1),
    }
    stored = np.ascontiguousarray(turns[orientation](upright))
    path = tmp_path / "photo.png"
    if bits == 8:
        Image.fromarray(stored).save(path, exif=exif)
    else:
        write_photo(Photo(stored, exif=exif.tobytes()), path)
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.pixels, upright)
    write_photo(photo, tmp_path / "again.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "again.png").pixels, upright)
    if bits == 8:
        assert Image.open(tmp_path / "again.png").getexif()[271] == "a camera"


@settings(max_examples=12)
@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    channels=st.sampled_from([1, 3, 4]),
    suffix=st.sampled_from([".png", ".tif"]),
    seed=st.integers(0, 9),
)
def test_sixteen_bits_survive(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, channels: int, suffix: str, seed: int
) -> None:
    path = tmp_path_factory.mktemp("deep") / f"photo{suffix}"
    pixels = deep((height, width) if channels == 1 else (height, width, 3), seed)
    alpha = deep((height, width), seed + 1) if channels == 4 else None
    write_photo(Photo(pixels, alpha, SRGB), path)
    photo = read_photo(path)
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert (photo.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(photo.alpha, alpha)
    assert photo.profile == SRGB
    with Image.open(path) as image:  # others can read it, too
        np.testing.assert_allclose(np.asarray(image.convert("RGB"))[..., 0].shape, (height, width))


def test_sixteen_bit_png_of_another_writer_is_read_in_full_depth(tmp_path: Path) -> None:
    """Written here byte by byte with PNG's Sub filter, not by this suite's writer."""
    pixels = deep((7, 5, 3))
    lines = b""
    for row in pixels.astype(">u2"):
        raw = np.frombuffer(row.tobytes(), dtype=np.uint8)
        before = np.concatenate([np.zeros(6, dtype=np.uint8), raw[:-6]])
        lines += b"\x01" + (raw - before).tobytes()
    buffer = io.BytesIO(b"")
    buffer.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", 5, 7, 16, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        buffer.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    (tmp_path / "deep.png").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read_photo(tmp_path / "deep.png").pixels, pixels)


def test_sixteen_bits_through_the_network(model: torch.nn.Module, tmp_path: Path) -> None:
    shallow = upscale_array(model, COFFEE)
    sr, _ = upscale_photo(model, Photo(COFFEE.astype(np.uint16) * 257), 2)
    assert sr.pixels.dtype == np.uint16
    assert np.abs(sr.pixels / 257 - shallow).max() < 0.51
    assert len(np.unique(sr.pixels)) > 1000  # more than 8 bits could hold
    grey, _ = upscale_photo(model, Photo(CAMERA.astype(np.uint16) * 257), 2)
    assert np.abs(grey.pixels / 257 - upscale_array(model, CAMERA)).max() < 1.01
    tifffile.imwrite(tmp_path / "a.tif", COFFEE.astype(np.uint16) * 257, photometric="rgb")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels, COFFEE.astype(np.uint16) * 257)
    write_photo(sr, tmp_path / "a.jpg")  # a format without 16 bits gets 8
    assert np.abs(np.asarray(Image.open(tmp_path / "a.jpg")).astype(int) - shallow).mean() < 3
    np.testing.assert_array_equal(stack(Photo(COFFEE)), COFFEE)


def test_a_folder_with_a_broken_file(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(COFFEE).save(folder / "good.jpg")
    Image.fromarray(CAMERA).save(folder / "grey.png")
    (folder / "broken.png").write_bytes((folder / "grey.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("hello")
    assert call(folder, "-o", tmp_path / "big", "--weights", weights) == 1
    said = capsys.readouterr()
    assert "broken.png cannot be read" in said.err
    assert "1 of 3 images could not be upscaled" in said.err
    assert sorted(path.name for path in (tmp_path / "big").iterdir()) == ["good_x2.png", "grey_x2.png"]
    (folder / "broken.png").unlink()
    assert call(folder, "-o", tmp_path / "big", "--weights", weights) == 0


def test_what_goes_where(tmp_path: Path) -> None:
    a, b = tmp_path / "a.jpg", tmp_path / "b.png"
    for path in (a, b, tmp_path / "sub" / "a.png"):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(CAMERA).save(path)
    assert plan([a], None, 4) == [(a, tmp_path / "a_x4.png")]
    assert plan([a], tmp_path / "c.webp", 4) == [(a, tmp_path / "c.webp")]
    assert plan([a, b], tmp_path / "out", 4) == [(a, tmp_path / "out" / "a_x4.png"), (b, tmp_path / "out" / "b_x4.png")]
    assert plan([tmp_path], tmp_path / "out", 2)[0] == (a, tmp_path / "out" / "a_x2.png")
    assert plan([a], tmp_path / "sub", 2) == [(a, tmp_path / "sub" / "a_x2.png")]
    Image.fromarray(CAMERA).save(tmp_path / "a.tif")
    assert [made.name for _, made in plan([tmp_path], tmp_path / "out", 2)] == [
        "a_jpg_x2.png",
        "a_tif_x2.png",
        "b_x2.png",
    ]
    for sources, output, error, word in [
        ([tmp_path], None, UsageError, "-o"),
        ([a, b], a, UsageError, "give a folder"),
        ([a], a, UsageError, "overwrite itself"),
        ([a, tmp_path / "sub" / "a.png"], tmp_path / "out", UsageError, "would both become"),
        ([tmp_path / "none.png"], None, SisrError, "does not exist"),
    ]:
        with pytest.raises(error, match=word):
            plan(sources, output, 4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SisrError, match="no images"):
        plan([tmp_path / "empty"], tmp_path / "out", 4)


def test_what_cannot_be_enlarged_is_one_sentence(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    good = tmp_path / "good.png"
    Image.fromarray(COFFEE).save(good)
    Image.fromarray(CAMERA.astype(np.float32)).save(tmp_path / "float.tif")
    (tmp_path / "text.png").write_text("hello")
    for words, status, part in [
        ([tmp_path / "none.png", "--weights", weights], 1, "does not exist"),
        ([tmp_path / "text.png", "--weights", weights], 1, "cannot be read"),
        ([tmp_path / "float.tif", "--weights", weights], 1, "32 bits"),
        ([good, "--weights", tmp_path / "none"], 1, "neither a weights file nor a run"),
        ([good, "--weights", weights, "--scale", 4], 2, "upscales x2, not x4"),
        ([good, "--weights", "bicubic", "--scale", 99], 2, "2 to 16"),
        ([good, "--weights", weights, "-o", tmp_path / "out.xyz"], 1, "image format"),
        ([good, "--weights", weights, "-o", good], 2, "overwrite itself"),
    ]:
        assert call(*words) == status, words
        error = capsys.readouterr().err
        assert part in error, (words, error)
        assert error.strip().count("\n") == 0, error
    assert not (tmp_path / "out.xyz").exists()


def test_other_colour_models(tmp_path: Path) -> None:
    Image.fromarray(COFFEE).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100, icc_profile=SRGB)
    photo = read_photo(tmp_path / "cmyk.jpg")
    assert photo.pixels.shape == COFFEE.shape
    assert photo.profile is None
    Image.fromarray(CAMERA.mean() < CAMERA).save(tmp_path / "bilevel.png")
    assert set(np.unique(read_photo(tmp_path / "bilevel.png").pixels)) == {0, 255}


def test_unusual_photos_in_a_folder(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Each is upscaled with a warning or refused by name; none stops the folder."""
    folder, big = tmp_path / "photos", tmp_path / "big"
    (folder / "sub").mkdir(parents=True)
    deep_rgb = COFFEE.astype(np.uint16) * 257
    tifffile.imwrite(folder / "cut.tif", deep_rgb, photometric="rgb", compression="zlib")
    os.truncate(folder / "cut.tif", 2000)
    tifffile.imwrite(folder / "lzw.tif", deep_rgb, photometric="rgb", compression="lzw", predictor=True)
    tifffile.imwrite(folder / "white.tif", 65535 - CAMERA.astype(np.uint16) * 257, photometric="miniswhite")
    tifffile.imwrite(folder / "pages.tif", np.stack([COFFEE, COFFEE[::-1]]), photometric="rgb")
    Image.fromarray(COFFEE).save(folder / "exif.jpg", exif=b"Exif\0\0" + b"\x99" * 50)
    Image.fromarray(COFFEE).save(folder / "truevision.tga")
    (folder / "phone.heic").write_bytes(b"")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    assert call(folder, "-o", big, "--weights", "bicubic", "--scale", 2) == 1
    error = capsys.readouterr().err
    for part in (
        f"left out in {folder}: 1 broken link, 1 .heic, 1 subfolder.", "pages.tif has 2 pages",
        "exif.jpg has damaged EXIF data", "cut.tif cannot be read as an image",
        "1 of 6 images could not be upscaled: cut.tif.",
    ):  # fmt: skip
        assert part in error
    assert "Traceback" not in error
    assert len(list(big.iterdir())) == 5
    np.testing.assert_array_equal(read_photo(big / "lzw_x2.png").pixels, imresize(deep_rgb, 2))
    np.testing.assert_array_equal(read_photo(big / "white_x2.png").pixels, imresize(CAMERA.astype(np.uint16) * 257, 2))
    np.testing.assert_array_equal(read_photo(big / "pages_x2.png").pixels, imresize(COFFEE, 2))
    np.testing.assert_array_equal(read_photo(big / "truevision_x2.png").pixels, imresize(COFFEE, 2))
    assert call(folder / "lzw.tif", "-o", big / "new.tif", "--weights", weights, "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert "EXIF data are not written to 16-bit TIFF" in result["warnings"][0]


def test_an_output_is_refused_before_anything_is_computed(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*words: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr("sisr.evaluation.photos.upscale_photo", never)
    alpha, a, b = tmp_path / "alpha.png", tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(np.dstack([COFFEE, ALPHA])).save(alpha)
    for path in (a, b, tmp_path / "a_x2.png"):
        Image.fromarray(COFFEE).save(path)
    (tmp_path / "link.png").symlink_to(a)
    os.link(a, tmp_path / "hard.png")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    long = tmp_path / ("x" * 300 + ".png")
    for words, status, part in [
        ([a, "-o", tmp_path / "out.xyz"], 1, "no extension of a supported image format"),
        ([a, "-o", tmp_path / "newfolder"], 1, "nor a slash at its end"),
        ([a, "-o", tmp_path / "out.gif"], 1, "GIF cannot be written"),
        ([alpha, "-o", tmp_path / "out.jpg"], 1, "JPEG does not support transparency"),
        ([a, "-o", tmp_path / "out.pgm"], 1, "PGM does not support colour"),
        ([a, b, "-o", tmp_path / "result.png"], 2, "result.png names a file, but there are 2 images"),
        ([a, "-o", f"{tmp_path}/file/"], 2, "is a file"),
        ([a, "-o", tmp_path / "file" / "out.png"], 1, "cannot be written to"),
        ([a, "-o", "/proc/self/out.png"], 1, "cannot be written to"),
        ([a, "-o", tmp_path / "link.png"], 2, "overwrite itself"),
        ([a, "-o", tmp_path / "hard.png"], 2, "overwrite itself"),
        ([a, tmp_path / "a_x2.png"], 2, "a_x2.png, which is also to be upscaled"),
        ([a, "-o", long], 1, "name too long"),
        ([long], 1, "name too long"),
    ]:
        assert call(*words, "--weights", weights) == status, words
        error = capsys.readouterr().err
        assert part in error, (words, error)
        assert error.strip().count("\n") == 0, error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_slash_makes_an_output_a_folder(tmp_path: Path) -> None:
    Image.fromarray(CAMERA).save(tmp_path / "a.png")
    assert call(tmp_path / "a.png", "-o", f"{tmp_path}/new.dir/", "--weights", "bicubic", "--scale", 2) == 0
    assert [path.name for path in (tmp_path / "new.dir").iterdir()] == ["a_x2.png"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path, suffix: str, dtype: type) -> None:
    write_photo(Photo(COFFEE), tmp_path / f"out{suffix}")
    before = (tmp_path / f"out{suffix}").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(SisrError, match=rf"out{suffix} cannot be written \(.*File too large"):
            write_photo(Photo(deep((60, 90, 3)).astype(dtype)), tmp_path / f"out{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix}"]
    assert (tmp_path / f"out{suffix}").read_bytes() == before


def test_a_result_that_does_not_fit_into_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(COFFEE).save(tmp_path / "a.png")
    monkeypatch.setattr("sisr.utils.memory.available", lambda device: 1_000_000)
    assert call(tmp_path / "a.png", "--weights", "bicubic", "--scale", 16) == 1
    error = capsys.readouterr().err
    assert "a.png to 960 x 1440: about 0.0 GB" in error


class Picky(torch.nn.Module):
    """A network that fails for small images."""

    scale = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x, (8, 8, 8, 8), mode="reflect")


def test_a_network_that_fails_is_named_with_the_photo(tmp_path: Path) -> None:
    Image.fromarray(COFFEE[:3, :30]).save(tmp_path / "small.png")
    with pytest.raises(SisrError, match=r"small.png: the network fails for this image \(.*[Pp]adding"):
        upscale_file(Picky(), tmp_path / "small.png", tmp_path / "out.png", 2)


def test_sizes_that_a_format_cannot_hold(tmp_path: Path) -> None:
    photo = Photo(np.zeros((2, 5000), np.uint8))
    assert fit_to_format(photo, tmp_path / "a.webp", 2).pixels is photo.pixels
    for suffix, name in ((".webp", "WebP"), (".jpg", "JPEG"), (".tga", "TGA")):
        with pytest.raises(SisrError, match=f"32 x 80000 pixels are too many for {name}"):
            fit_to_format(photo, tmp_path / f"a{suffix}", 16)
    for suffix in (".tif", ".bmp"):
        wide = Photo(np.broadcast_to(np.uint8(0), (20000, 20000, 3)))
        with pytest.raises(SisrError, match="too many"):
            fit_to_format(wide, tmp_path / f"a{suffix}", 4)
