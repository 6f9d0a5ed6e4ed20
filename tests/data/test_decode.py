"""Image files of every format, depth and kind, whole and damaged: the right pixels, or one sentence with the name."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sisr.data import decode
from sisr.data.decode import FORMATS, Photo, format_of, open_image
from sisr.data.image_files import read_image
from sisr.data.photo_files import list_photos, read_photo, write_photo
from sisr.utils.errors import SisrError
from sisr.utils.files import IMAGE_SUFFIXES

TURNS = {
    1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x, -1), 7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}  # fmt: skip
CHECKED = (".png", ".webp", ".avif")
"""Formats in which damage is noticed: by checksums, or because the decoder reads the whole file."""


@dataclass
class Made:
    """A generated image file, and what it contains."""

    suffix: str
    data: bytes
    stored: np.ndarray
    """(H, W[, C]) as stored, before orientation; with alpha if `alpha`."""
    alpha: bool = False
    orientation: int = 1
    bits: int = 8
    tolerance: float = 0

    def check(self, photo: Photo) -> None:
        upright = TURNS[self.orientation](self.stored)
        pixels, alpha = (upright[..., :-1], upright[..., -1]) if self.alpha else (upright, None)
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        assert photo.pixels.dtype == pixels.dtype
        assert photo.pixels.shape == pixels.shape
        assert np.abs(photo.pixels.astype(float) - pixels).mean() <= self.tolerance
        assert (photo.alpha is None) == (alpha is None)
        if alpha is not None:
            np.testing.assert_array_equal(photo.alpha, alpha)


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "a camera"
    return exif.tobytes()


@st.composite
def arrays(draw: st.DrawFn, channels: int, dtype: str = "uint8") -> np.ndarray:
    """Random values, some of them with rows of zeros at the bottom, as undecoded rows would be."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    seed, black = draw(st.integers(0, 999)), draw(st.integers(0, 2))
    top = np.iinfo(dtype).max
    values = np.random.default_rng(seed).integers(0, top, (height, width, channels), dtype=dtype, endpoint=True)
    values[max(0, height - black) :] = 0
    return values[..., 0] if channels == 1 else values


@st.composite
def pngs(draw: st.DrawFn) -> Made:
    kind, orientation = draw(st.sampled_from(["1", "L", "P", "LA", "RGB", "RGBA"])), draw(st.integers(1, 8))
    if draw(st.booleans()):
        channels = draw(st.integers(1, 4))
        pixels = draw(arrays(channels, "uint16"))
        return Made(".png", bytes(imagecodecs.png_encode(pixels)), pixels, channels in (2, 4), bits=16)
    pixels = draw(arrays({"LA": 2, "RGB": 3, "RGBA": 4}.get(kind, 1)))
    options = {"exif": exif_of(orientation), "optimize": draw(st.booleans())}
    if kind == "1":
        image = Image.fromarray(pixels > 127)
        stored = (pixels > 127).astype(np.uint8) * 255
    elif kind == "P":
        colours = draw(st.sampled_from([2, 4, 16, 256]))
        indices = (pixels % np.uint16(colours)).astype(np.uint8)
        palette = np.random.default_rng(colours).integers(0, 256, (colours, 3), dtype=np.uint8)
        image = Image.fromarray(indices)
        image.putpalette(palette.tobytes())
        stored = palette[indices]
        if draw(st.booleans()):
            options["transparency"] = 1
            stored = np.dstack([stored, np.where(indices == 1, 0, 255).astype(np.uint8)])
        return Made(".png", saved(image, "PNG", **options), stored, stored.shape[2] == 4, orientation)
    else:
        image, stored = Image.fromarray(pixels), pixels
        if kind in ("L", "RGB") and draw(st.booleans()):  # one colour is transparent
            key = pixels[0, 0]
            options["transparency"] = int(key) if kind == "L" else tuple(map(int, key))
            opaque = (pixels != key) if kind == "L" else (pixels != key).any(axis=2)
            stored = np.dstack([pixels, opaque.astype(np.uint8) * 255])
    return Made(
        ".png", saved(image, "PNG", **options), stored, stored.ndim == 3 and stored.shape[2] in (2, 4), orientation
    )


def interlaced_png(pixels: np.ndarray) -> bytes:
    """An interlaced (Adam7) greyscale PNG, written byte by byte."""
    lines = b""
    for y, x, down, across in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)):  # fmt: skip  # noqa: E501
        part = pixels[y::down, x::across]
        if part.size:
            lines += b"".join(b"\0" + row.tobytes() for row in part)
    return png_of(pixels, lines, interlace=1)


def png_of(pixels: np.ndarray, lines: bytes, interlace: int = 0) -> bytes:
    kind = {1: 0, 3: 2}[1 if pixels.ndim == 2 else 3]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8 * pixels.itemsize, kind, 0, 0, interlace)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data


@st.composite
def tiffs(draw: st.DrawFn) -> Made:
    dtype, orientation = draw(st.sampled_from(["uint8", "uint16"])), draw(st.integers(1, 8))
    kind = draw(st.sampled_from(["minisblack", "miniswhite", "rgb", "palette", "separated"]))
    colours = {"rgb": 3, "separated": 4}.get(kind, 1)
    extra = None
    if kind in ("minisblack", "miniswhite", "rgb"):
        extra = draw(st.sampled_from([None, "unassalpha", "assocalpha", "unspecified"]))
    dtype = "uint8" if kind == "palette" else dtype
    top = np.iinfo(dtype).max
    pixels = draw(arrays(colours + (extra is not None), dtype))
    options: dict[str, Any] = {
        "photometric": kind, "byteorder": draw(st.sampled_from("<>")), "metadata": None,
        "compression": draw(st.sampled_from([None, "zlib", "lzw", "packbits", "lzma", "zstd"])),
        "extratags": [(274, 3, 1, orientation, True), (271, 2, 0, "a camera", True)], "bigtiff": draw(st.booleans()),
    }  # fmt: skip
    if options["compression"] not in (None, "packbits") and draw(st.booleans()):
        options["predictor"] = True
    if extra:
        options["extrasamples"] = [extra]
    stored = pixels
    if kind == "miniswhite":
        stored = top - stored
        if extra:
            stored[..., 1] = pixels[..., 1]
    if extra == "assocalpha":
        alpha = pixels[..., -1:].astype(np.uint64)
        pixels[..., :-1] = np.minimum(pixels[..., :-1], alpha)
        colour = (top - pixels[..., :-1] if kind == "miniswhite" else pixels[..., :-1]).astype(np.uint64)
        straight = np.minimum((colour * top + np.maximum(alpha, 1) // 2) // np.maximum(alpha, 1), top)
        stored = np.concatenate([straight, alpha], axis=2).astype(dtype)
    if extra == "unspecified":
        stored = stored[..., :-1]
    if kind == "palette":
        options["colormap"] = np.random.default_rng(0).integers(0, 65536, (3, 256), dtype=np.uint16)
        stored = (options["colormap"] // 256).astype(np.uint8).T[pixels]
    if kind == "separated":
        light = top - pixels.astype(float)
        stored = np.floor(light[..., :3] * light[..., 3:] / top + 0.5).astype(dtype)
    planes = pixels.ndim == 3 and draw(st.booleans())
    options |= {"planarconfig": "separate" if planes else "contig"} if pixels.ndim == 3 else {}
    options |= {"tile": (16, 16)} if draw(st.booleans()) else {"rowsperstrip": draw(st.integers(1, 30))}
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.moveaxis(pixels, 2, 0) if planes else pixels, **options)
    has_alpha = extra in ("unassalpha", "assocalpha")
    return Made(draw(st.sampled_from([".tif", ".tiff"])), buffer.getvalue(), stored, has_alpha, orientation, 8 * stored.itemsize)  # fmt: skip  # noqa: E501


@st.composite
def netpbms(draw: st.DrawFn) -> Made:
    largest = draw(st.sampled_from([1, 100, 254, 255, 256, 1023, 65535]))
    channels, plain = draw(st.sampled_from([1, 3])), draw(st.booleans())
    pixels = (draw(arrays(channels, "uint16")) % np.uint32(largest + 1)).astype(np.uint16)
    magic = {(1, True): "P2", (3, True): "P3", (1, False): "P5", (3, False): "P6"}[channels, plain]
    header = f"{magic}\n{pixels.shape[1]} {pixels.shape[0]}\n{largest}\n".encode()
    body = " ".join(map(str, pixels.ravel())).encode() + b"\n" if plain else pixels.astype(">u2" if largest > 255 else "u1").tobytes()  # fmt: skip  # noqa: E501
    # 16 bits for greyscale, 8 for colour
    top = 65535 if channels == 1 and largest > 255 else 255
    stored = np.rint(pixels / largest * top).astype(np.uint16 if top > 255 else np.uint8)
    return Made(".pgm" if channels == 1 else ".ppm", header + body, stored, bits=largest.bit_length() if largest > 255 else 8, tolerance=0)  # fmt: skip  # noqa: E501


@st.composite
def others(draw: st.DrawFn) -> Made:
    name, suffix, channels, options = draw(
        st.sampled_from(
            [
                ("BMP", ".bmp", 1, {}), ("BMP", ".bmp", 3, {}), ("TGA", ".tga", 1, {}), ("TGA", ".tga", 2, {}),
                ("TGA", ".tga", 3, {"compression": "tga_rle"}), ("TGA", ".tga", 4, {}), ("GIF", ".gif", 1, {}),
                ("WEBP", ".webp", 3, {"lossless": True}), ("WEBP", ".webp", 4, {"lossless": True, "exact": True}),
                ("JPEG2000", ".jp2", 1, {}), ("JPEG2000", ".jp2", 3, {}), ("AVIF", ".avif", 3, {"quality": 100, "subsampling": "4:4:4"}),
                ("JPEG", ".jpg", 1, {"quality": 100}), ("JPEG", ".jfif", 3, {"quality": 100, "subsampling": 0}),
            ]  # fmt: skip
        )
    )
    pixels = draw(arrays(channels))
    lossy = name in ("JPEG", "AVIF")
    orientation = draw(st.integers(1, 8)) if name in ("JPEG", "WEBP") else 1
    if orientation > 1:
        options = {**options, "exif": exif_of(orientation)}
    stored = np.repeat(pixels[..., None], 3, axis=2) if name == "GIF" else pixels
    return Made(suffix, saved(Image.fromarray(pixels), name, **options), stored, channels in (2, 4), orientation, tolerance=2 * lossy)  # fmt: skip  # noqa: E501


made = st.one_of(pngs(), tiffs(), netpbms(), others())
check_more = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def written(folder: Path, image: Made, data: bytes | None = None) -> Path:
    path = folder / f"the picture{image.suffix}"
    path.write_bytes(image.data if data is None else data)
    return path


def sentence(error: SisrError, path: Path) -> str:
    text = str(error)
    assert str(path) in text
    assert text.isprintable()
    assert text.endswith(".")
    return text


@check_more
@given(image=made)
def test_every_kind_is_right_or_refused(tmp_path_factory: pytest.TempPathFactory, image: Made) -> None:
    path = written(tmp_path_factory.mktemp("whole"), image)
    if format_of(path) is None:  # a Pillow without this format
        return
    photo = read_photo(path)
    image.check(photo)
    if image.bits > 8:
        assert photo.pixels.dtype == np.uint16 or any(f"{image.bits} bits" in note for note in photo.notes)
        with pytest.raises(SisrError) as caught:
            read_image(path)
        assert f"{image.bits} bits" in sentence(caught.value, path)
        assert "convert" in str(caught.value)
    else:
        np.testing.assert_array_equal(read_image(path), photo.pixels)


@check_more
@given(image=made, where=st.floats(0, 0.9999))
def test_a_truncated_file_is_refused_or_right(
    tmp_path_factory: pytest.TempPathFactory, image: Made, where: float, capfd: pytest.CaptureFixture
) -> None:
    length = int(where * len(image.data))
    if image.data[:2] in (b"P2", b"P3"):  # a number that is cut short is another number
        length = image.data.rfind(b" ", 0, length) + 1
    path = written(tmp_path_factory.mktemp("cut"), image, image.data[:length])
    try:
        photo = read_photo(path)
    except SisrError as error:
        sentence(error, path)
    else:
        image.check(photo)
    assert capfd.readouterr().err == ""


@check_more
@given(image=made, flips=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(1, 255)), min_size=1, max_size=6))
def test_flipped_bytes_are_one_sentence_at_most(
    tmp_path_factory: pytest.TempPathFactory,
    image: Made,
    flips: list[tuple[float, int]],
    capfd: pytest.CaptureFixture,
) -> None:
    data = bytearray(image.data)
    for where, mask in flips:
        data[int(where * len(data))] ^= mask
    path = written(tmp_path_factory.mktemp("flipped"), image, bytes(data))
    for read in (read_photo, read_image):
        try:
            result = read(path)
        except SisrError as error:
            sentence(error, path)
        else:
            pixels = result.pixels if isinstance(result, Photo) else result
            assert pixels.dtype in (np.uint8, np.uint16)
            assert pixels.ndim == 2 or pixels.shape[2] == 3
            if image.suffix == ".png" and isinstance(result, Photo):
                image.check(result)
    assert capfd.readouterr().err == ""


@settings(deadline=None, max_examples=100)
@given(data=st.binary(max_size=300), suffix=st.sampled_from([s for each in FORMATS for s in each.suffixes]))
def test_any_bytes_are_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"photo{suffix}"
    path.write_bytes(data)
    for read in (read_photo, read_image):
        with pytest.raises(SisrError) as caught:
            read(path)
        sentence(caught.value, path)
