"""Typical user photographs: 8 or 16 bits, greyscale or colour, with alpha, EXIF orientation, colour profile.

Pillow silently reduces 16-bit colour to 8 bits, so such PNG and TIFF files are read and written without it.
"""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write

_HEADER = struct.Struct(">IIBBBBB")
_BITS_PER_SAMPLE, _ORIENTATION = 258, 274
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Photo:
    """A decoded photograph, upright."""

    pixels: NDArray[Any]
    """uint8 or uint16; (H, W) greyscale or (H, W, 3) RGB."""
    alpha: NDArray[Any] | None = None
    """(H, W) of the same type; None without alpha."""
    profile: bytes | None = None
    """ICC colour profile."""
    exif: bytes | None = None
    """EXIF data without orientation, which has been applied to the pixels."""


def read_photo(path: str | Path) -> Photo:
    """Decode a photograph in full depth.

    Raises SisrError where the file is missing, damaged, not an image, animated, or of an unsupported depth.
    """
    path = Path(path)
    try:
        with Image.open(path) as file:
            if getattr(file, "n_frames", 1) > 1 and file.format in ("GIF", "WEBP", "PNG"):
                raise SisrError(f"{path} is animated; extract its frames first.")
            profile = file.info.get("icc_profile")
            if _is_deep(file, path):
                return _read_deep(file, path, profile)
            image: Image.Image = ImageOps.exif_transpose(file)
            image.load()
    except FileNotFoundError as error:
        raise SisrError(f"there is no file {path}.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SisrError(f"{path} cannot be read as an image ({error}).") from error
    has_alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("CMYK", "LAB", "HSV", "YCbCr"):
        profile = None  # it describes another colour space
    wanted = ("LA" if grey else "RGBA") if has_alpha else ("L" if grey else "RGB")
    pixels = np.asarray(image.convert(wanted))
    exif = image.getexif().tobytes() if len(image.getexif()) else None
    if not has_alpha:
        return Photo(pixels, None, profile, exif)
    colours = pixels[..., 0] if grey else pixels[..., :3]
    return Photo(np.ascontiguousarray(colours), np.ascontiguousarray(pixels[..., -1]), profile, exif)


def write_photo(photo: Photo, path: str | Path) -> None:
    """Write a photograph, with profile and EXIF; 16 bits if the format is PNG or TIFF, else reduced to 8.

    Raises SisrError where the format is unknown or does not support the content.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in Image.registered_extensions():
        raise SisrError(f"{path} has no extension of an image format; try .png.")
    try:
        with atomic_write(path) as temporary:
            if photo.pixels.dtype == np.uint16 and suffix == ".png":
                _write_png16(photo, temporary)
            elif photo.pixels.dtype == np.uint16 and suffix in (".tif", ".tiff"):
                _write_tiff16(photo, temporary)
            else:
                _write_with_pillow(photo, temporary)
    except (OSError, ValueError, KeyError) as error:
        raise SisrError(f"{path} cannot be written ({error}).") from error


def stack(photo: Photo) -> NDArray[Any]:
    """Pixels and alpha in one array: (H, W) for one channel, else (H, W, C)."""
    if photo.alpha is None:
        return photo.pixels
    pixels = photo.pixels[..., None] if photo.pixels.ndim == 2 else photo.pixels
    return np.concatenate([pixels, photo.alpha[..., None]], axis=2)


def _is_deep(file: Image.Image, path: Path) -> bool:
    """Whether a file has 16 bits a channel."""
    if file.mode.startswith("I;16"):
        return True
    if file.mode.startswith(("I", "F")):
        raise SisrError(f"{path} has {file.mode} pixels (32 bits); only 8 and 16 bits are supported.")
    if file.format == "PNG":
        with path.open("rb") as raw:
            header = raw.read(29)
        return len(header) == 29 and header[24] == 16
    tags: Any = getattr(file, "tag_v2", {})
    return file.format == "TIFF" and 16 in cast(tuple[int, ...], tags.get(_BITS_PER_SAMPLE, ()))


def _read_deep(file: Image.Image, path: Path, profile: bytes | None) -> Photo:
    orientation = file.getexif().get(_ORIENTATION, 1)
    if file.mode.startswith("I;16"):
        pixels: NDArray[Any] = np.asarray(file).astype(np.uint16)
    elif file.format == "TIFF":
        import tifffile

        pixels = tifffile.imread(path)
    elif file.mode in ("RGB", "RGBA"):
        pixels = _read_png16(path, file.mode)
    else:
        raise SisrError(f"{path} is 16-bit greyscale with alpha, which is not supported; save it as RGBA.")
    if pixels.dtype != np.uint16 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise SisrError(f"{path} contains {pixels.dtype} {pixels.shape}, which is not a 16-bit photograph.")
    pixels = _turn(pixels, orientation)
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.ndim == 3 and pixels.shape[2] == 4 else None
    return Photo(np.ascontiguousarray(pixels[..., :3]) if pixels.ndim == 3 else pixels, alpha, profile)


def _turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation (1 to 8)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _read_png16(path: Path, mode: str) -> NDArray[np.uint16]:
    """16-bit RGB or RGBA of a PNG.

    Pillow's decoder keeps one of each two bytes: the higher in big-endian mode, the lower in little-endian mode. Both
    together are the pixel.
    """
    halves = []
    for order in ("16B", "16L"):
        with Image.open(path) as file:
            tile = file.tile[0]
            file.tile = [tile._replace(args=f"{mode};{order}")]
            halves.append(np.asarray(file).astype(np.uint16))
    return (halves[0] << np.uint16(8)) | halves[1]


def _write_png16(photo: Photo, path: Path) -> None:
    """A 16-bit PNG, rows filtered by their difference from the row above."""
    pixels = stack(photo)
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    with path.open("wb") as file:
        file.write(_PNG)
        _chunk(file, b"IHDR", _HEADER.pack(width, height, 16, colour, 0, 0, 0))
        if photo.profile:
            _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.profile))
        if photo.exif:
            _chunk(file, b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
        compressor = zlib.compressobj(6)
        above = np.zeros(width * channels * 2, dtype=np.uint8)
        for row in pixels:
            line = np.ascontiguousarray(row, dtype=">u2").view(np.uint8).ravel()
            if data := compressor.compress(b"\x02" + (line - above).tobytes()):
                _chunk(file, b"IDAT", data)
            above = line
        _chunk(file, b"IDAT", compressor.flush())
        _chunk(file, b"IEND", b"")


def _chunk(file: Any, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def _write_tiff16(photo: Photo, path: Path) -> None:
    import tifffile

    pixels = stack(photo)
    kind = "rgb" if photo.pixels.ndim == 3 else "minisblack"
    extra = ["unassalpha"] if photo.alpha is not None else None
    tifffile.imwrite(path, pixels, photometric=kind, extrasamples=extra, iccprofile=photo.profile)


def _write_with_pillow(photo: Photo, path: Path) -> None:
    pixels = stack(photo)
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    options: dict[str, Any] = {"icc_profile": photo.profile} if photo.profile else {}
    if photo.exif:
        options["exif"] = photo.exif
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        options |= {"quality": 95, "subsampling": 0}
    if suffix == ".webp":
        options["lossless"] = True
    Image.fromarray(pixels).save(path, **options)
