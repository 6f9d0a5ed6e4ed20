"""Image files of every format, depth and kind, whole and damaged: the right pixels, or one sentence with the name."""

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from sisr.data import decode
from sisr.data.decode import FORMATS, Photo, format_of, open_image
from sisr.data.image_files import image_shape, read_image
from sisr.data.pairs import FolderPairs
from sisr.data.photo_files import fit_to_format, list_photos, read_photo, write_photo
from sisr.data.prepare import prepare_lr
from sisr.utils.errors import SisrError
from sisr.utils.files import IMAGE_SUFFIXES
from tests.helpers.fuzz import cases

TURNS = {
    1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x, -1), 7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}  # fmt: skip


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


def png_lines(pixels: np.ndarray, interlace: bool) -> bytes:
    """Rows of a PNG without compression, each with filter type 0; of the seven passes of Adam7 if interlaced."""
    passes = [(0, 0, 1, 1)]
    if interlace:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = (pixels[y::down, x::across] for y, x, down, across in passes)
    return b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)


def png_of(pixels: np.ndarray, lines: bytes, interlace: bool = False) -> bytes:
    """A greyscale or RGB PNG, written byte by byte."""
    kind = {2: 0, 3: 2}[pixels.ndim]
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
    return Made(
        draw(st.sampled_from([".tif", ".tiff"])), buffer.getvalue(), stored, has_alpha, orientation, 8 * stored.itemsize
    )


@st.composite
def netpbms(draw: st.DrawFn) -> Made:
    largest = draw(st.sampled_from([1, 100, 254, 255, 256, 1023, 65535]))
    channels, plain = draw(st.sampled_from([1, 3])), draw(st.booleans())
    pixels = (draw(arrays(channels, "uint16")) % np.uint32(largest + 1)).astype(np.uint16)
    magic = {(1, True): "P2", (3, True): "P3", (1, False): "P5", (3, False): "P6"}[channels, plain]
    header = f"{magic}\n{pixels.shape[1]} {pixels.shape[0]}\n{largest}\n".encode()
    body = (
        " ".join(map(str, pixels.ravel())).encode() + b"\n"
        if plain
        else pixels.astype(">u2" if largest > 255 else "u1").tobytes()
    )
    # 16 bits for greyscale, 8 for colour
    top = 65535 if channels == 1 and largest > 255 else 255
    stored = np.rint(pixels / largest * top).astype(np.uint16 if top > 255 else np.uint8)
    return Made(
        ".pgm" if channels == 1 else ".ppm",
        header + body,
        stored,
        bits=largest.bit_length() if largest > 255 else 8,
        tolerance=0,
    )


@st.composite
def others(draw: st.DrawFn) -> Made:
    name, suffix, channels, options = draw(
        st.sampled_from(
            [
                ("BMP", ".bmp", 1, {}),
                ("BMP", ".bmp", 3, {}),
                ("TGA", ".tga", 1, {}),
                ("TGA", ".tga", 2, {}),
                ("TGA", ".tga", 3, {"compression": "tga_rle"}),
                ("TGA", ".tga", 4, {}),
                ("GIF", ".gif", 1, {}),
                ("WEBP", ".webp", 3, {"lossless": True}),
                ("WEBP", ".webp", 4, {"lossless": True, "exact": True}),
                ("JPEG2000", ".jp2", 1, {}),
                ("JPEG2000", ".jp2", 3, {}),
                ("AVIF", ".avif", 3, {"quality": 100, "subsampling": "4:4:4"}),
                ("JPEG", ".jpg", 1, {"quality": 100}),
                ("JPEG", ".jfif", 3, {"quality": 100, "subsampling": 0}),
            ]
        )
    )
    pixels = draw(arrays(channels))
    lossy = name in ("JPEG", "AVIF")
    orientation = draw(st.integers(1, 8)) if name in ("JPEG", "WEBP") else 1
    if orientation > 1:
        options = {**options, "exif": exif_of(orientation)}
    stored = np.repeat(pixels[..., None], 3, axis=2) if name == "GIF" else pixels
    return Made(
        suffix,
        saved(Image.fromarray(pixels), name, **options),
        stored,
        channels in (2, 4),
        orientation,
        tolerance=2 * lossy,
    )


made = st.one_of(pngs(), tiffs(), netpbms(), others())


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


@cases(100)
@given(image=made)
def test_every_kind_is_right_or_refused(tmp_path_factory: pytest.TempPathFactory, image: Made) -> None:
    path = written(tmp_path_factory.mktemp("whole"), image)
    if format_of(path) is None:  # a Pillow without this format
        return
    photo = read_photo(path)
    image.check(photo)
    height, width, channels = image_shape(path)
    assert photo.pixels.shape == ((height, width) if channels == 1 else (height, width, channels))
    if image.bits > 8:
        assert photo.pixels.dtype == np.uint16 or any(f"{image.bits} bits" in note for note in photo.notes)
        with pytest.raises(SisrError) as caught:
            read_image(path)
        assert f"{image.bits} bits" in sentence(caught.value, path)
        assert "convert" in str(caught.value)
    else:
        np.testing.assert_array_equal(read_image(path), photo.pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_no_png_with_a_changed_bit_of_its_pixels_is_decoded(tmp_path: Path, mode: str) -> None:
    """Of the image data, wherever the bit is; libpng notices it by the checksum, Pillow does not."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(pixels).convert(mode).save(path)
    read_image(path) if mode in ("L", "P", "RGB") else read_photo(path)
    whole = path.read_bytes()
    start = whole.index(b"IDAT") + 4
    for place in range(start, start + int.from_bytes(whole[start - 8 : start - 4], "big")):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SisrError):
            read_photo(path)


@pytest.mark.parametrize("suffix", [".jp2", ".j2k"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_no_truncated_jpeg_2000_is_decoded(tmp_path: Path, suffix: str, mode: str) -> None:
    shape = (5, 7) if mode == "L" else (5, 7, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / f"image{suffix}"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read_image(path), pixels)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SisrError):
            read_image(path)
    if suffix == ".jp2":  # other boxes may follow
        path.write_bytes(whole + b"\0\0\0\x0cxml <a/>")
        np.testing.assert_array_equal(read_image(path), pixels)


@cases(100)
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


@cases(100)
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


@cases(60)
@given(data=st.binary(max_size=300), suffix=st.sampled_from([s for each in FORMATS for s in each.suffixes]))
def test_any_bytes_are_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"photo{suffix}"
    path.write_bytes(data)
    for read in (read_photo, read_image):
        with pytest.raises(SisrError) as caught:
            read(path)
        sentence(caught.value, path)


def format_row(each: decode.Format) -> str:
    """A row of the table in docs/upscale.md."""
    depths = {8: "8 bits", 16: "8, 16 bits"}
    written = []
    if each.written_bits:
        written = [depths[each.written_bits]]
        written += [] if each.colour else ["greyscale only"]
        written += ["alpha"] if each.alpha else []
        written += ["profile, EXIF"] if each.metadata else []
        written += [f"to {each.largest_side:,} pixels a side"] if each.largest_side < 2**31 - 1 else []
        written += [f"to {each.largest_bytes / 1e9:.0f} GB"] if each.largest_bytes else []
    cells = (
        each.name, " ".join(f"`{suffix}`" for suffix in each.suffixes), "8 bits" if each.measured else "no",
        depths[each.bits], ", ".join(written) or "no",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def test_docs_show_the_table_of_formats() -> None:
    page = (Path(__file__).parents[2] / "docs" / "upscale.md").read_text()
    table = "\n".join(map(format_row, FORMATS))
    assert table in page, f"docs/upscale.md must contain\n{table}"


def test_measured_formats_are_those_of_image_sets() -> None:
    assert {suffix for each in FORMATS if each.measured for suffix in each.suffixes} == set(IMAGE_SUFFIXES)


@pytest.mark.parametrize("suffix", [suffix for each in FORMATS for suffix in each.suffixes])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_written_is_read_again_or_named(tmp_path: Path, suffix: str, dtype: str, channels: int) -> None:
    """Pixels, alpha, profile and EXIF return as they were; a sentence names each that does not."""
    each = format_of(tmp_path / f"x{suffix}")
    if each is None:
        pytest.skip(f"this Pillow does not support {suffix}")
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (19, 23, channels), dtype=dtype)
    alpha = np.ascontiguousarray(values[..., -1]) if channels in (2, 4) else None
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = Photo(values[..., 0] if channels < 3 else values[..., :3], alpha, profile, exif_of(1))
    path = tmp_path / f"x{suffix}"
    refused = not each.written_bits or (alpha is not None and not each.alpha) or (channels > 2 and not each.colour)
    if refused:
        for attempt in (fit_to_format, lambda *words: write_photo(*words)):
            with pytest.raises(SisrError) as caught:
                attempt(photo, path)
            sentence(caught.value, path)
        assert list(tmp_path.iterdir()) == []
        return
    notes = " ".join(fit_to_format(photo, path).notes)
    write_photo(photo, path)
    again = read_photo(path)
    deep = dtype == "uint16" and each.written_bits == 16
    wanted = photo.pixels if deep or dtype == "uint8" else np.rint(photo.pixels / 257).astype(np.uint8)
    assert again.pixels.dtype == wanted.dtype
    assert ("8 bits" in notes) == (dtype == "uint16" and not deep)
    if again.pixels.ndim == 3 > wanted.ndim:  # WebP has no greyscale
        wanted = np.repeat(wanted[..., None], 3, axis=2)
    assert np.abs(again.pixels.astype(float) - wanted).mean() <= (5 if each.name == "JPEG" else 0)
    if alpha is not None:
        np.testing.assert_array_equal(again.alpha, alpha if deep or dtype == "uint8" else np.rint(alpha / 257))
    assert (again.profile == profile) != ("colour profiles" in notes)
    assert (again.exif is not None and b"a camera" in again.exif) != ("EXIF" in notes)


def test_pages_previews_and_damaged_exif_are_named(tmp_path: Path) -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
    pages, moving, preview = tmp_path / "pages.tif", tmp_path / "moving.gif", tmp_path / "raw.tif"
    tifffile.imwrite(pages, np.stack([pixels, 255 - pixels, pixels]), photometric="rgb")
    frames = [Image.fromarray(255 * (pixels > 9).astype(np.uint8)), Image.fromarray(pixels)]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    for path, number in ((pages, 3), (moving, 2)):
        photo = read_photo(path)
        np.testing.assert_array_equal(photo.pixels, pixels if number == 3 else np.asarray(frames[0]))
        (note,) = photo.notes
        assert f"{path} has {number} pages or frames" in note
        with pytest.raises(SisrError, match=f"{number} pages or frames"):
            read_image(path)
    tifffile.imwrite(preview, pixels, photometric="rgb", subfiletype=1)
    with pytest.raises(SisrError, match="starts with a preview"):
        read_photo(preview)
    for content in (
        b"Exif\0\0" + b"\x99" * 40,
        b"Exif\0\0JFIF thumbnail",
        exif_of(6)[:-9],
        b"Exif\0\0II*\0\xff\xff\xff\xff",
    ):
        path = tmp_path / "photo.jpg"
        path.write_bytes(saved(Image.fromarray(pixels), "JPEG", exif=content, quality=100, subsampling=0))
        photo = read_photo(path)
        assert photo.pixels.shape == (5, 4, 3)
        assert photo.exif is None
        assert "damaged EXIF" in photo.notes[0], content
        assert read_image(path).shape == (5, 4, 3)


@pytest.mark.parametrize("interlace", [False, True])
@pytest.mark.parametrize("missing", [1, 3])
@pytest.mark.parametrize("shape", [(1, 9), (8, 9), (9, 8), (9, 8, 3)])
def test_png_whose_pixel_data_end_early(tmp_path: Path, interlace: bool, missing: int, shape: tuple[int, ...]) -> None:
    """All chunks and checksums are right, but the last rows are not there."""
    pixels = np.arange(1, np.prod(shape) + 1, dtype=np.uint8).reshape(shape)
    path = tmp_path / "short.png"
    lines = png_lines(pixels, interlace)
    path.write_bytes(png_of(pixels, lines, interlace))
    np.testing.assert_array_equal(read_image(path), pixels)
    path.write_bytes(png_of(pixels, lines[:-missing], interlace))
    for read in (read_image, read_photo):
        with pytest.raises(SisrError, match=r"short\.png cannot be read"):
            read(path)


def test_exif_of_16_bits_survives_without_stale_sizes(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271], exif[34665] = "a camera", {0xA002: 5, 0x829A: 0.01}
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"photo{suffix}"
        if suffix == ".png":
            write_photo(Photo(np.zeros((4, 5, 3), np.uint16), exif=exif.tobytes()), path)
        else:
            Image.new("RGB", (5, 4)).save(path, exif=exif)
        kept = Image.Exif()
        kept.load(read_photo(path).exif)
        assert kept[271] == "a camera"
        assert dict(kept.get_ifd(34665)) == {0x829A: pytest.approx(0.01)}
    tifffile.imwrite(tmp_path / "photo.tif", np.zeros((4, 5, 3), np.uint16), photometric="rgb", software="a program")
    kept.load(read_photo(tmp_path / "photo.tif").exif)
    assert set(kept) == {0x0131, 0x010E}  # not where its pixels lie


def test_many_pixels_are_read_and_too_many_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("L", (300, 200), 7).save(tmp_path / "large.png")
    assert read_image(tmp_path / "large.png").shape == (200, 300)
    assert Image.MAX_IMAGE_PIXELS == 1000
    header = struct.pack(">IIBBBBB", 300_000, 300_000, 8, 2, 0, 0, 0)
    bomb = png_of(np.zeros((1, 1, 3), np.uint8), b"")
    (tmp_path / "bomb.png").write_bytes(
        bomb[:12] + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + bomb[33:]
    )
    with pytest.raises(SisrError, match=r"not enough memory to decode .*bomb.png: about 810.0 GB"):
        read_photo(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    "error", [struct.error("x"), zlib.error("x"), IndexError(), RuntimeError("a\nb"), MemoryError()]
)
def test_errors_of_decoders_of_any_type_name_the_file(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (5, 4)).save(path)
    with pytest.raises(SisrError) as caught, open_image(path):
        raise error
    sentence(caught.value, path)


def test_what_a_folder_contains_besides_photos_is_counted(tmp_path: Path) -> None:
    for name in ("a.png", "b.JFIF", "c.tga"):
        Image.new("RGB", (5, 4)).save(tmp_path / name, {"b.JFIF": "JPEG"}.get(name))
    for name in ("a.heic", "b.heic", "notes.txt", "noending", ".hidden.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "sub.png").mkdir()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    photos, others = list_photos(tmp_path)
    assert [path.name for path in photos] == ["a.png", "b.JFIF", "c.tga"]
    assert others.startswith(f"left out in {tmp_path}: 2 .heic, ")
    for part in ("1 .txt", "1 file without extension", "1 subfolder", "1 broken link"):
        assert part in others
    assert "\n" not in others


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("white", ["minisblack", "miniswhite"])
def test_few_bits_are_scaled_to_8(tmp_path: Path, bits: int, white: str) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (6, 16), dtype=np.uint8)
    rows = np.unpackbits(values[..., None], axis=2)[..., -bits:].reshape(6, -1)
    tifffile.imwrite(tmp_path / "few.tif", np.packbits(rows, axis=1), photometric=white, metadata=None)
    with tifffile.TiffFile(tmp_path / "few.tif", mode="r+") as file:  # the same bytes, fewer bits a pixel
        for tag, value in (("ImageWidth", 16), ("BitsPerSample", bits)):
            file.pages.first.tags[tag].overwrite(value)
    expected = values * np.uint8(255 // (2**bits - 1))
    expected = expected if white == "minisblack" else 255 - expected
    np.testing.assert_array_equal(read_image(tmp_path / "few.tif"), expected)


def test_tiff_with_jpeg_or_fax_and_bmp_with_15_bits(tmp_path: Path) -> None:
    gradient = np.linspace(0, 255, 64 * 48).reshape(48, 64)
    picture = np.stack([gradient, gradient[::-1], 255 - gradient], axis=2).astype(np.uint8)
    for pixels, photometric in ((picture, "rgb"), (picture[..., 0], "minisblack")):
        options = {"photometric": photometric, "compression": "jpeg", "compressionargs": {"level": 95}}
        tifffile.imwrite(tmp_path / "jpeg.tif", pixels, **options)
        for image in (read_image(tmp_path / "jpeg.tif"), read_photo(tmp_path / "jpeg.tif").pixels):
            assert image.shape == pixels.shape
            assert np.abs(image.astype(int) - pixels).mean() < 2
    Image.fromarray(picture).save(tmp_path / "pillow.tif", compression="jpeg", quality=95)
    assert np.abs(read_image(tmp_path / "pillow.tif").astype(int) - picture).mean() < 2
    bilevel = picture[..., 0] > 99
    Image.fromarray(bilevel).save(tmp_path / "fax.tif", compression="group4")
    np.testing.assert_array_equal(read_image(tmp_path / "fax.tif"), bilevel * np.uint8(255))
    fives = np.random.default_rng(0).integers(0, 32, (4, 6, 3), dtype=np.uint16)
    data = (fives[..., 0] << 10 | fives[..., 1] << 5 | fives[..., 2])[::-1].astype("<u2").tobytes()
    header = struct.pack("<IiiHHIIiiII", 40, 6, 4, 1, 16, 0, len(data), 0, 0, 0, 0)
    (tmp_path / "few.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + header + data)
    np.testing.assert_allclose(read_image(tmp_path / "few.bmp"), fives / 31 * 255, atol=1)


def test_exif_after_the_pixels_of_a_png(tmp_path: Path) -> None:
    pixels = np.arange(1, 13, dtype=np.uint8).reshape(3, 4)
    data = png_of(pixels, png_lines(pixels, False))
    exif = b"eXIf" + exif_of(6).removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
    (tmp_path / "late.png").write_bytes(data[:-12] + chunk + data[-12:])
    assert image_shape(tmp_path / "late.png") == (4, 3, 1)
    np.testing.assert_array_equal(read_image(tmp_path / "late.png"), np.rot90(pixels, -1))


def test_an_image_that_is_too_small_is_named(tmp_path: Path) -> None:
    for name in ("large", "small"):
        Image.new("RGB", (30, 3 if name == "small" else 30)).save(tmp_path / f"{name}.png")
    with pytest.raises(SisrError, match=r"small\.png: an image of 3 x 30 is too small"):
        FolderPairs(tmp_path, 4).lr(1)
    with pytest.raises(SisrError, match=r"small\.png: an image of 3 x 30 is too small"):
        prepare_lr(tmp_path, 4, tmp_path / "x4")
