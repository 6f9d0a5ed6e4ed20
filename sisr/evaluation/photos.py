"""Upscaling of photographs: colours by the network, alpha by bicubic interpolation."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sisr.data.decode import check_memory, format_of, one_line
from sisr.data.imresize import imresize
from sisr.data.photo_files import Photo, check_written_format, fit_to_format, list_photos, read_photo, write_photo
from sisr.evaluation.inference import Mode, Progress, grey_of, upscale_float, upscale_with_mode
from sisr.utils.errors import SisrError, UsageError

Warn = Callable[[str], object]

_BYTES, _BYTES_BICUBIC = 40, 12
"""Memory for one pixel of a result: floating point and its rounded copies, or integers alone."""


def upscale_photo(
    model: nn.Module | None, photo: Photo, scale: int, mode: Mode | None = None, progress: Progress = iter
) -> tuple[Photo, str]:
    """Upscale a photograph with a network, or by MATLAB's bicubic interpolation if it is None.

    Returns the photograph with the same depth, profile and EXIF, and the inference mode.
    """
    alpha = None if photo.alpha is None else imresize(photo.alpha, scale)
    if model is None:
        return Photo(imresize(photo.pixels, scale), alpha, photo.profile, photo.exif), "bicubic"
    if photo.pixels.dtype == np.uint8:
        pixels, used = upscale_with_mode(model, photo.pixels, mode, progress)
    else:
        pixels, used = _deep(model, photo.pixels, mode, progress)
    return Photo(pixels, alpha, photo.profile, photo.exif), str(used)


def _deep(model: nn.Module, pixels: NDArray[Any], mode: Mode | None, progress: Progress) -> tuple[NDArray[Any], Mode]:
    """16 bits through the network as floating point."""
    rgb = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    sr, used = upscale_float(model, rgb.astype(np.float32) / 65535, mode, progress)
    if pixels.ndim == 2:
        return grey_of(sr, 65535), used
    return np.floor(sr * np.float32(65535) + np.float32(0.5)).astype(np.uint16), used


def plan(
    sources: list[Path], output: str | Path | None, scale: int, warn: Warn = lambda sentence: None
) -> list[tuple[Path, Path]]:
    """Pairs of source and target.

    A file becomes `<name>_x4.png` beside it, or `output`. Images of a folder, or several, go to the folder `output`;
    so does one file if `output` is a folder or ends with a slash.

    warn: called with a sentence on what is left out of a folder.

    Raises:
        SisrError: a source is missing or a folder without images, or the folder of a target cannot be written to.
        UsageError: several images for one output file, an output in no supported format, or one that is also a source.
    """
    try:
        files = _files(sources, warn)
        pairs = _pairs(files, any(source.is_dir() for source in sources), output, scale)
        _check_targets(pairs)
    except OSError as error:  # a name that is too long, a folder that must not be read …
        raise SisrError(f"{error.filename} cannot be used ({error.strerror}).") from error
    return pairs


def _files(sources: list[Path], warn: Warn) -> list[Path]:
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside, others = list_photos(source)
            if not inside:
                raise SisrError(f"there are no images in {source}" + (f" ({others.rstrip('.')})." if others else "."))
            if others:
                warn(others)
            files += inside
        elif source.is_file():
            files.append(source)
        else:
            raise SisrError(f"{source} does not exist.")
    return files


def _pairs(files: list[Path], from_folder: bool, output: str | Path | None, scale: int) -> list[tuple[Path, Path]]:
    """Sources with their targets, named as `plan` describes."""
    several = len(files) > 1 or from_folder
    slash = str(output).endswith(("/", os.sep))
    target = None if output is None else Path(output)
    if target is None and from_folder:
        raise UsageError("give the folder for the upscaled images with -o.")
    if target is not None and not target.is_dir():
        if target.exists() and (several or slash):
            raise UsageError(f"{target} is a file, but there are {len(files)} images to upscale; give a folder.")
        if several and not slash and format_of(target) is not None:
            raise UsageError(f"{target} names a file, but there are {len(files)} images to upscale; give a folder.")
        if not several and not slash:
            check_written_format(target)
            return [(files[0], target)]
    # photo.jpg and photo.tif of one folder become photo_jpg_x4.png and photo_tif_x4.png
    stems = Counter(file.with_suffix("") for file in files)
    names = (f.stem if stems[f.with_suffix("")] == 1 else f"{f.stem}_{f.suffix[1:]}" for f in files)
    return [(file, (target or file.parent) / f"{name}_x{scale}.png") for file, name in zip(files, names, strict=True)]


def _check_targets(pairs: list[tuple[Path, Path]]) -> None:
    """Raise an error where a target is a source or the target of two, or its folder cannot be written to."""
    sources = {_identity(source): source for source, _ in pairs}
    targets: dict[Path, Path] = {}
    for source, target in pairs:
        if target.exists() and (same := sources.get(_identity(target))):
            what = "itself" if same == source else f"{same}, which is also to be upscaled"
            raise UsageError(f"{source} would overwrite {what}; choose another output.")
        if target.is_dir():
            raise UsageError(f"{target} is a folder; choose another output.")
        if other := targets.get(target.resolve()):
            raise UsageError(f"{other} and {source} would both become {target}; upscale them into two folders.")
        targets[target.resolve()] = source
    for parent in {target.parent for target in targets}:
        there = next(each for each in (parent, *parent.parents) if each.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            raise SisrError(f"{parent} cannot be written to ({error.strerror}); choose another output.") from error


def _identity(path: Path) -> tuple[int, int]:
    """What two names of one file have in common, by links or on a file system without case."""
    status = path.stat()
    return status.st_dev, status.st_ino


def upscale_file(
    model: nn.Module | None,
    source: Path,
    target: Path,
    scale: int,
    mode: Mode | None = None,
    progress: Progress = iter,
    warn: Warn = lambda sentence: None,
) -> dict[str, Any]:
    """Upscale one file; returns a summary.

    warn: called with a sentence on each thing that is not preserved, before anything is computed.

    Raises SisrError, before anything is computed, where the file cannot be read, or its result would not fit into
    memory or the target's format; also where the network fails or the target cannot be written.
    """
    photo = read_photo(source)
    notes = fit_to_format(photo, target, scale).notes
    height, width = (side * scale for side in photo.pixels.shape[:2])
    check_memory(height * width * (_BYTES if model else _BYTES_BICUBIC), f"to upscale {source} to {height} x {width}")
    for note in notes:
        warn(note)
    try:
        upscaled, way = upscale_photo(model, photo, scale, mode, progress)
    except SisrError as error:
        raise SisrError(f"{source}: {error}") from error
    except (RuntimeError, MemoryError) as error:  # a network may have a smallest size
        raise SisrError(f"{source}: the network fails for this image ({one_line(error)}).") from error
    write_photo(upscaled, target)
    return {
        "source": str(source), "output": str(target), "height": height, "width": width, "way": way,
        "warnings": list(notes),
    }  # fmt: skip
