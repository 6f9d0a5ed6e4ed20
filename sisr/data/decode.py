"""The one decoder of image files, for training, evaluation and photographs, and the table of what it supports.

Pillow decodes 8 bits a channel. It silently reduces 16-bit colour to 8 bits, so that 16-bit PNG is decoded by libpng
(imagecodecs). TIFF is decoded by tifffile, because Pillow recognises only some combinations of its tags, reverses
16-bit greyscale with 0 as white, and mixes up 16-bit planes.
"""

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from sisr.utils.errors import SisrError

_EXIF_IFD, _GPS_IFD, _ORIENTATION = 0x8769, 0x8825, 0x0112
_DESCRIPTIVE = {0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, _EXIF_IFD, _GPS_IFD}
"""EXIF tags that stay true for an upscaled image: description, camera, software, date, artist, copyright, EXIF, GPS."""
_EXIF_SIZE = (0xA002, 0xA003)
"""Width and height in the EXIF IFD."""
_PROFILE = 34675
_PIXEL_KINDS = {0: ("greyscale", 1), 1: ("greyscale", 1), 2: ("RGB", 3), 3: ("palette", 1), 5: ("CMYK", 4)}
"""TIFF's photometric interpretation: kind of pixels and number of colours. 0 is greyscale with 0 as white."""
_YCBCR, _JPEG = 6, 7
"""TIFF's photometric interpretation and compression of JPEG data, which tifffile converts to RGB."""
_PNG_KINDS = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}
_EXIF_OF_PNG = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}
_GREY = ("1", "L", "LA", "La")
_PROFILED = (*_GREY, "P", "PA", "RGB", "RGBA", "RGBa", "I;16")
"""Pillow's modes whose profile still applies after the conversion to greyscale or RGB."""
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
for _name in ("PIL", "tifffile", "imagecodecs"):
    logging.getLogger(_name).addHandler(logging.NullHandler())  # else they print about damaged files, besides an error
_SMALL = 1 << 24
"""Values of an image that is decoded without asking for the available memory."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """An image file format: what can be read and written."""

    name: str
    suffixes: tuple[str, ...]
    pillow: tuple[str, ...]
    """Names of Pillow's plugins."""
    feature: str | None = None
    """Optional part of Pillow that it needs."""
    measured: bool = False
    """Read in training and evaluation."""
    bits: int = 8
    """Largest depth that is read exactly."""
    written_bits: int | None = 8
    """Largest depth that is written; None: not written."""
    colour: bool = True
    """Colour can be written."""
    alpha: bool = False
    """Transparency can be written."""
    metadata: bool = False
    """Colour profile and EXIF can be written."""
    largest_side: int = 2**31 - 1
    """Largest width and height that can be written."""
    largest_bytes: int | None = None
    """Largest size of the written pixels."""

    @property
    def available(self) -> bool:
        """Whether the installed Pillow supports it."""
        return self.feature is None or bool(features.check(self.feature))


_FOUR_GB = 4 * 10**9
FORMATS = (
    Format(name="PNG", suffixes=(".png",), pillow=("PNG",), measured=True, bits=16, written_bits=16, alpha=True,
           metadata=True),
    Format(name="TIFF", suffixes=(".tif", ".tiff"), pillow=("TIFF",), measured=True, bits=16, written_bits=16,
           alpha=True, metadata=True, largest_bytes=_FOUR_GB),
    Format(name="JPEG", suffixes=(".jpg", ".jpeg"), pillow=("JPEG",), measured=True, metadata=True,
           largest_side=65500),
    Format(name="JPEG", suffixes=(".jfif", ".jpe"), pillow=("JPEG",), metadata=True, largest_side=65500),
    Format(name="WebP", suffixes=(".webp",), pillow=("WEBP",), feature="webp", measured=True, alpha=True,
           metadata=True, largest_side=16383),
    Format(name="BMP", suffixes=(".bmp",), pillow=("BMP", "DIB"), measured=True, largest_bytes=_FOUR_GB),
    Format(name="PPM", suffixes=(".ppm",), pillow=("PPM",), measured=True),
    Format(name="PGM", suffixes=(".pgm",), pillow=("PPM",), measured=True, bits=16, colour=False),
    Format(name="TGA", suffixes=(".tga",), pillow=("TGA",), alpha=True, largest_side=65535),
    Format(name="GIF", suffixes=(".gif",), pillow=("GIF",), written_bits=None),
    Format(name="JPEG 2000", suffixes=(".jp2", ".j2k"), pillow=("JPEG2000",), feature="jpg_2000", written_bits=None),
    Format(name="AVIF", suffixes=(".avif",), pillow=("AVIF",), feature="avif", written_bits=None),
)  # fmt: skip
"""All supported formats; docs/upscale.md shows this table."""


@dataclass(frozen=True)
class Photo:
    """A decoded image, upright."""

    pixels: NDArray[Any]
    """uint8 or uint16; (H, W) greyscale or (H, W, 3) RGB."""
    alpha: NDArray[Any] | None = None
    """(H, W) of the same type, not premultiplied; None without alpha."""
    profile: bytes | None = None
    """ICC colour profile."""
    exif: bytes | None = None
    """EXIF data without orientation, which has been applied to the pixels."""
    notes: tuple[str, ...] = ()
    """What could not be preserved, one sentence each."""


def format_of(path: str | Path) -> Format | None:
    """Format of a file by its suffix, or None if it is not supported here."""
    suffix = Path(path).suffix.lower()
    return next((each for each in FORMATS if suffix in each.suffixes and each.available), None)


@contextmanager
def open_image(path: str | Path) -> Iterator["OpenImage"]:
    """Open an image file; the format is recognised by its content.

    Decoders raise errors of any type for damaged files (struct.error, zlib.error, IndexError, MemoryError …). Each
    becomes a SisrError that names the file, here and in everything that is done while the file is open.
    """
    path = Path(path)
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # `decode` compares with the available memory instead
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore")
            yield OpenImage(path, stack)
    except SisrError:
        raise
    except FileNotFoundError as error:
        raise SisrError(f"there is no file {path}.") from error
    except MemoryError as error:
        raise SisrError(f"{path} cannot be read as an image (not enough memory).") from error
    except UnidentifiedImageError as error:
        raise SisrError(f"{path} cannot be read as an image (damaged, or of an unsupported format).") from error
    except Exception as error:
        raise SisrError(f"{path} cannot be read as an image ({one_line(error)}).") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def one_line(error: Exception) -> str:
    """An error's message as printable text of one line, at most 200 characters."""
    text = "".join(char if char.isprintable() else " " for char in str(error)).strip().rstrip(".")
    return text[:200] if text else type(error).__name__


class OpenImage:
    """An open image file: what its header states, and its pixels. From `open_image`."""

    frames: int = 1
    """Pages of a TIFF, frames of an animation."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        with path.open("rb") as raw:
            self._head = raw.read(1 << 16)
        self._pillow: Any = None
        self._page: Any = None
        plugins = {name for each in FORMATS if each.available for name in each.pillow}
        if path.suffix.lower() != ".tga":  # has no signature: other files could be mistaken for it
            plugins.remove("TGA")
        is_tiff = self._head.startswith(_TIFF_MAGIC)
        try:
            self._pillow = stack.enter_context(Image.open(path, formats=sorted(plugins)))
        except UnidentifiedImageError:
            if not is_tiff:
                raise
        if is_tiff:
            import tifffile

            tiff = stack.enter_context(tifffile.TiffFile(path))
            self._page, self.frames = tiff.pages.first, len(tiff.pages)
        elif self._pillow.format != "MPO":  # photographs with a preview or a depth map
            self.frames = int(getattr(self._pillow, "n_frames", 1))
        self.bits = self._bits()
        """Bits a channel in the file."""

    @property
    def mode(self) -> str:
        """Kind of pixels, for messages: "greyscale", "RGB", "RGB with alpha", "CMYK" …"""
        if self._page is not None:
            kind, colours = _PIXEL_KINDS.get(int(self._page.photometric), ("other colours", 9))
            return f"{kind} with alpha" if self._page.samplesperpixel > colours else kind
        if self._pillow.format == "PNG":
            return _PNG_KINDS.get(self._head[25], "")
        mode: str = self._pillow.mode
        return "greyscale" if mode.startswith(("I", "F", "L")) else mode

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels (1 or 3) of the decoded pixels without alpha, upright; from the header."""
        if self._page is not None:
            height, width = self._page.imagelength, self._page.imagewidth
            grey = self._page.photometric in (0, 1)
        else:
            width, height = self._pillow.size
            grey = self.mode.startswith("greyscale") or self._pillow.mode in _GREY
        # EXIF data of a PNG may follow its pixels, so that Pillow decodes all of it in search of them
        searched = self._page is not None or self._pillow.format != "PNG" or _EXIF_OF_PNG & self._pillow.info.keys()
        turned = (searched or b"eXIf" in self.path.read_bytes()) and self._exif([])[0] in (5, 6, 7, 8)
        return (width, height, 1 if grey else 3) if turned else (height, width, 1 if grey else 3)

    def decode(self) -> Photo:
        """Pixels in full depth where `FORMATS` states it, else in 8 bits with a note.

        Raises:
            SisrError: damaged, of an unsupported depth or kind of pixels, or too large for the available memory.
        """
        notes: list[str] = []
        if self._page is not None:
            pixels, alpha = self._decode_tiff(notes)
        elif self._pillow.format == "PNG" and self.bits == 16:
            pixels, alpha = self._decode_png16()
        else:
            pixels, alpha = self._decode_with_pillow(notes)
        if self.frames > 1:
            notes.append(f"{self.path} has {self.frames} pages or frames; only the first is used.")
        if self.bits > 8 and pixels.dtype == np.uint8:
            notes.append(f"{self.path} has {self.bits} bits a channel, which are reduced to 8; use PNG or TIFF for 16.")
        orientation, exif = self._exif(notes)
        alpha = None if alpha is None else turn(alpha, orientation)
        return Photo(turn(pixels, orientation), alpha, self._profile(), exif, tuple(notes))

    def _bits(self) -> int:
        if self._page is not None:
            return int(max(np.ravel(self._page.bitspersample)))
        file, head = self._pillow, self._head
        if file.format == "PNG":
            return head[24]
        if file.format == "PPM":
            args = file.tile[0].args  # a raw mode, or (mode, largest value)
            bits = int(args[-1]).bit_length() if isinstance(args, tuple) else 16 if args == "I;16B" else 8
            return 32 if file.mode == "F" else max(bits, 8)
        if file.format == "JPEG2000" and (size := head.find(b"\xff\x4f\xff\x51")) >= 0:
            return (head[size + 42] & 0x7F) + 1  # the first component's entry of the marker segment SIZ
        if file.format == "AVIF" and (box := head.find(b"av1C")) >= 0:
            return 8 if not head[box + 6] & 0x40 else 12 if head[box + 6] & 0x20 else 10
        return 16 if file.mode.startswith("I;16") else 32 if file.mode in ("I", "F") else 8

    def _decode_with_pillow(self, notes: list[str]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        file = self._pillow
        values = file.width * file.height * len(file.getbands())
        packed = 8 if len(file.getbands()) == 1 else 2  # at least 1 bit, or 15 bits for three channels
        if {tile.codec_name for tile in file.tile} == {"raw"} and values // packed > self.path.stat().st_size:
            raise SisrError(f"{self.path} cannot be read as an image (it is truncated).")
        self._check_memory(values)
        file.load()
        if file.format == "PNG":
            self._check_checksums()
            self._check_complete()
        if file.format == "JPEG2000":
            self._check_code_stream()
        if self.bits <= 16 and file.mode.startswith("I"):  # greyscale JPEG 2000 and PGM, scaled to 16 bits by Pillow
            return np.asarray(file).astype(np.uint16), None
        if file.mode.startswith(("I", "F")):
            raise SisrError(f"{self.path} has {self.bits} bits a channel ({self.mode}); convert it to 8 or 16 bits.")
        if file.mode == "CMYK":
            notes.append(self._cmyk_note())
        grey = file.mode in _GREY
        if file.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in file.info:
            return np.asarray(file.convert("L" if grey else "RGB")), None
        pixels = np.asarray(file.convert("LA" if grey else "RGBA"))
        return pixels[..., 0] if grey else pixels[..., :3], pixels[..., -1]

    def _check_checksums(self) -> None:
        """Raise an error where a part of a PNG that determines pixels is damaged, which Pillow does not notice."""
        data, at = self.path.read_bytes(), 8
        while (end := at + 12 + int.from_bytes(data[at : at + 4], "big")) <= len(data):
            holds = data[at + 4 : at + 8] in (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
            if holds and zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise SisrError(f"{self.path} cannot be read as an image (it is damaged: a checksum does not match).")
            at = end

    def _check_complete(self) -> None:
        """Raise an error where the pixel data of a PNG ends early.

        Pillow leaves the missing rows black without an error. libpng raises one.
        """
        import imagecodecs

        file = self._pillow
        rows = np.asarray(file.crop((0, max(0, file.height - 2), file.width, file.height)))
        if file.info.get("interlace") or not rows.reshape(len(rows), -1).any(axis=1).all():
            imagecodecs.png_decode(self.path.read_bytes())

    def _check_code_stream(self) -> None:
        """Raise an error where the code stream of a JPEG 2000 file lacks its end mark (ISO/IEC 15444-1, A and I).

        OpenJPEG decodes what is missing as black without an error.
        """
        data = self.path.read_bytes()
        start, end = data.find(b"\xff\x4f\xff\x51"), len(data)
        box = data.rfind(b"jp2c", 0, start)
        if box >= 4 and start - box in (4, 12):  # in a box of this length; 0: up to the end of the file, 1: in 8 bytes
            length = int.from_bytes(data[box - 4 : box], "big")
            length = int.from_bytes(data[box + 4 : box + 12], "big") if length == 1 else length
            end = box - 4 + length if length else end
        if end > len(data) or data[end - 2 : end] != b"\xff\xd9":
            raise SisrError(f"{self.path} cannot be read as an image (it is truncated).")

    def _decode_png16(self) -> tuple[NDArray[Any], NDArray[Any] | None]:
        import imagecodecs

        self._check_memory(self._pillow.width * self._pillow.height * 8)
        pixels = imagecodecs.png_decode(self.path.read_bytes())
        if pixels.ndim == 2 or pixels.shape[2] == 3:
            return pixels, None
        return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3], pixels[..., -1]

    def _decode_tiff(self, notes: list[str]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        page = self._page
        if page.subfiletype & 1:
            raise SisrError(
                f"{self.path} starts with a preview, as raw files of cameras do; develop it to PNG or TIFF."
            )
        samples, height, width = page.samplesperpixel, page.imagelength, page.imagewidth
        kind, colours = _PIXEL_KINDS.get(int(page.photometric), ("", 0))
        if page.photometric == _YCBCR and page.compression == _JPEG:
            kind, colours = "RGB", 3
        unsigned = page.dtype is not None and page.dtype.kind in "bu"
        depths = (8,) if kind == "palette" else (8, 16) if colours > 1 else (1, 2, 4, 8, 16)
        if not unsigned or self.bits not in depths or not 0 < colours <= samples:
            raise SisrError(
                f"{self.path} has {self.bits} bits a channel ({self.mode}, {page.dtype}); "
                "convert it to 8 or 16 bits, greyscale or RGB."
            )
        self._check_memory(height * width * samples * page.dtype.itemsize)
        size = self.path.stat().st_size
        parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if len(parts) < prod(page.chunked) or any(not length or start + length > size for start, length in parts):
            raise SisrError(f"{self.path} cannot be read as an image (it is truncated).")
        pixels = page.asarray()
        if page.planarconfig == 2:
            pixels = np.moveaxis(pixels.reshape(samples, height, width), 0, 2)
        pixels = pixels.reshape(height, width, samples)
        if self.bits < 8:
            pixels = pixels.astype(np.uint8) * np.uint8(255 // (2**self.bits - 1))
        extra = [int(each) for each in page.extrasamples] or [2] * (samples - colours)  # as Pillow does
        alpha = pixels[..., colours] if extra and extra[0] in (1, 2) else None
        if len(extra) > (alpha is not None):
            notes.append(f"{self.path} has a channel of unspecified meaning, which is dropped.")
        pixels, largest = pixels[..., :colours], np.iinfo(pixels.dtype).max
        if page.photometric == 0:
            pixels = largest - pixels
        if kind == "palette":
            pixels = (page.colormap >> 8).astype(np.uint8).T[pixels[..., 0]]
        if alpha is not None and extra[0] == 1:
            pixels = _divide(pixels, alpha)
        if kind == "CMYK":
            notes.append(self._cmyk_note())
            light = largest - pixels.astype(np.uint32)
            pixels = ((light[..., :3] * light[..., 3:] + largest // 2) // largest).astype(pixels.dtype)
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels, alpha

    def _cmyk_note(self) -> str:
        return f"{self.path} is CMYK; it is converted to RGB without its colour profile, so that colours may differ."

    def _check_memory(self, values: int) -> None:
        """Raise SisrError where an image of so many values (bytes) is not expected to fit into memory, three times."""
        if values > _SMALL:
            check_memory(3 * values, f"to decode {self.path}")

    def _profile(self) -> bytes | None:
        profile = self._pillow.info.get("icc_profile") if self._page is None else self._page.tags.valueof(_PROFILE)
        converted = self._page.photometric == 5 if self._page is not None else self._pillow.mode not in _PROFILED
        return None if converted else profile or None

    def _exif(self, notes: list[str]) -> tuple[int, bytes | None]:
        """Orientation and EXIF data without it; damaged EXIF is dropped with a note."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Pillow warns of damaged EXIF and keeps a part of it
                if self._pillow is None:
                    exif = Image.Exif()
                    with self.path.open("rb") as file:
                        exif.load_from_fp(file)
                        return _cleaned(exif, is_tiff=True)
                Image.Exif().load(self._pillow.info.get("exif", b""))  # `getexif` reports damage only once
                return _cleaned(self._pillow.getexif(), is_tiff=self._pillow.format == "TIFF")
        except Exception:  # damaged EXIF raises errors of any type
            notes.append(f"{self.path} has damaged EXIF data, which are dropped; check the picture's orientation.")
            return 1 if self._page is None else self._page.tags.valueof(_ORIENTATION, 1), None


def _cleaned(exif: Image.Exif, is_tiff: bool) -> tuple[int, bytes | None]:
    """Orientation, and the tags that are true for an upscaled image. A TIFF's also describe where its pixels lie."""
    cleaned = Image.Exif()  # a new one: that of a BigTIFF would be written as BigTIFF
    for tag, value in exif.items():
        if tag != _ORIENTATION and (tag in _DESCRIPTIVE or not is_tiff):
            cleaned[tag] = value
    for ifd in (_EXIF_IFD, _GPS_IFD):
        if ifd in exif:
            cleaned[ifd] = {tag: value for tag, value in exif.get_ifd(ifd).items() if tag not in _EXIF_SIZE}
    return int(exif.get(_ORIENTATION, 1)), cleaned.tobytes() if len(cleaned) else None


def _divide(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colours that are premultiplied with alpha (associated alpha), divided by it."""
    largest, divisor = np.iinfo(pixels.dtype).max, np.maximum(alpha, 1).astype(np.uint64)[..., None]
    straight = (pixels.astype(np.uint64) * largest + divisor // 2) // divisor
    return np.minimum(straight, largest).astype(pixels.dtype)


def turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation (1 to 8; others change nothing)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def check_memory(needed: int, purpose: str) -> None:
    """Raise SisrError where so many bytes are not available."""
    import torch

    from sisr.utils import memory

    available = memory.available(torch.device("cpu"))
    if needed > available:
        raise SisrError(
            f"not enough memory {purpose}: about {needed / 1e9:.1f} GB are needed and "
            f"{available / 1e9:.1f} GB available."
        )
