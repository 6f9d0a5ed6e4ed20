"""Typical user photographs: 8 or 16 bits, greyscale or colour, with alpha, EXIF orientation, colour profile."""

import io
import struct
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sisr.data.decode import FORMATS, Format, Photo, format_of, one_line, open_image
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write

__all__ = ["Photo", "check_written_format", "fit_to_format", "list_photos", "read_photo", "stack", "write_photo"]
_IHDR_END = 33
_JPEG_EXIF = 65533
"""Largest EXIF data of a JPEG, in bytes."""


def read_photo(path: str | Path) -> Photo:
    """Decode a photograph in full depth; its notes name what is not preserved.

    Raises SisrError where the file is missing, damaged, not an image, of an unsupported depth, or too large for memory.
    """
    with open_image(path) as image:
        return image.decode()


def list_photos(folder: str | Path) -> tuple[list[Path], str]:
    """Photographs directly in a folder, sorted, without hidden files; and a sentence on what is left out, or ""."""
    folder = Path(folder)
    photos, others = [], Counter[str]()
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if path.is_dir():
            others["subfolder"] += 1
        elif not path.is_file():
            others["broken link" if path.is_symlink() else "special file"] += 1
        elif format_of(path) is None:
            others[path.suffix.lower() or "file without extension"] += 1
        else:
            photos.append(path)
    parts = ", ".join(f"{number} {kind}" for kind, number in others.most_common())
    return photos, f"left out in {folder}: {parts}." if others else ""


def check_written_format(path: str | Path) -> Format:
    """The format in which a file is written, by its suffix. Raises SisrError where it cannot be."""
    target = format_of(path)
    if target is None or target.written_bits is None:
        written = [suffix for each in FORMATS if each.available and each.written_bits for suffix in each.suffixes]
        problem = (
            f"{target.name} cannot be written"
            if target
            else "it has no extension of a supported image format, nor a slash at its end for a folder"
        )
        raise SisrError(f"{path}: {problem}; use one of {' '.join(written)}.")
    return target


def fit_to_format(photo: Photo, path: str | Path, scale: int = 1) -> Photo:
    """The photograph without what the format of a file, chosen by its suffix, does not support; notes name this.

    scale: factor by which the photograph will be upscaled before it is written.
    Raises SisrError where the format is unknown or unsupported, or cannot hold the alpha channel, colour or size.
    """
    path = Path(path)
    target = check_written_format(path)
    height, width = (side * scale for side in photo.pixels.shape[:2])
    channels = (1 if photo.pixels.ndim == 2 else 3) + (photo.alpha is not None)
    if photo.alpha is not None and not target.alpha:
        raise SisrError(f"{path}: {target.name} does not support transparency; use .png.")
    if photo.pixels.ndim == 3 and not target.colour:
        raise SisrError(f"{path}: {target.name} does not support colour; use .png.")
    size = height * width * channels * min(photo.pixels.itemsize, (target.written_bits or 8) // 8)
    if max(height, width) > target.largest_side or size > (target.largest_bytes or size):
        raise SisrError(f"{path}: {height} x {width} pixels are too many for {target.name}; use .png.")
    notes = list(photo.notes)
    if photo.pixels.dtype == np.uint16 and target.written_bits == 8:
        photo = replace(photo, pixels=_to_8_bits(photo.pixels), alpha=_to_8_bits(photo.alpha))
        notes.append(f"{path}: {target.name} has 8 bits a channel, 16 are reduced; use .png or .tif to keep them.")
    if photo.profile and not target.metadata:
        photo = replace(photo, profile=None)
        notes.append(f"{path}: {target.name} does not support colour profiles, colours may differ; use .png.")
    too_long = target.name == "JPEG" and len(photo.exif or b"") > _JPEG_EXIF
    deep_tiff = target.name == "TIFF" and photo.pixels.dtype == np.uint16
    if photo.exif and (not target.metadata or too_long or deep_tiff):
        photo = replace(photo, exif=None)
        bits = "16-bit " if deep_tiff else ""
        notes.append(f"{path}: EXIF data are not written to {bits}{target.name}; use .png to keep them.")
    return replace(photo, notes=tuple(notes))


def write_photo(photo: Photo, path: str | Path) -> None:
    """Write a photograph, with profile and EXIF; what the format does not support is left out (`fit_to_format`).

    Raises SisrError where the format is unknown or does not support the content, or the file cannot be written.
    """
    path = Path(path)
    photo = fit_to_format(photo, path)
    pixels, suffix = stack(photo), path.suffix.lower()
    try:
        if pixels.dtype == np.uint16:
            data = _png16(photo, pixels) if suffix == ".png" else _tiff16(photo, pixels)
        else:
            data = _with_pillow(photo, pixels, path)
        with atomic_write(path) as temporary:  # Pillow's own writing of JPEG and TIFF does not notice a full disk
            temporary.write_bytes(data)
    except Exception as error:  # encoders raise errors of any type, as decoders do
        raise SisrError(f"{path} cannot be written ({one_line(error)}).") from error


def stack(photo: Photo) -> NDArray[Any]:
    """Pixels and alpha in one array: (H, W) for one channel, else (H, W, C)."""
    if photo.alpha is None:
        return photo.pixels
    pixels = photo.pixels[..., None] if photo.pixels.ndim == 2 else photo.pixels
    return np.concatenate([pixels, photo.alpha[..., None]], axis=2)


def _to_8_bits(values: Any) -> Any:
    return None if values is None else ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _png16(photo: Photo, pixels: NDArray[Any]) -> bytes:
    """A 16-bit PNG. Profile and EXIF follow the header, where the standard requires the profile."""
    import imagecodecs

    encoded = imagecodecs.png_encode(pixels, level=6)
    chunks = b""
    if photo.profile:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.profile))
    if photo.exif:
        chunks += _chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    return bytes(encoded[:_IHDR_END]) + chunks + bytes(encoded[_IHDR_END:])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _tiff16(photo: Photo, pixels: NDArray[Any]) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    kind = "rgb" if photo.pixels.ndim == 3 else "minisblack"
    extra = ["unassalpha"] if photo.alpha is not None else None
    tifffile.imwrite(buffer, pixels, photometric=kind, extrasamples=extra, iccprofile=photo.profile, metadata=None)
    return buffer.getvalue()


def _with_pillow(photo: Photo, pixels: NDArray[Any], path: Path) -> bytes:
    options: dict[str, Any] = {"icc_profile": photo.profile} if photo.profile else {}
    if photo.exif:
        options["exif"] = photo.exif
    target = check_written_format(path)
    if target.name == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    if target.name == "WebP":
        options |= {"lossless": True, "exact": True}  # exact: colours of transparent pixels, too
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, target.pillow[0], **options)
    return buffer.getvalue()
