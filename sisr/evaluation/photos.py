"""Upscaling of photographs: colours by the network, alpha by bicubic interpolation."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sisr.data.image_files import list_images
from sisr.data.imresize import imresize
from sisr.data.photo_files import Photo, read_photo, write_photo
from sisr.evaluation.inference import Mode, Progress, grey_of, upscale_float, upscale_with_mode
from sisr.utils.errors import SisrError, UsageError


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


def plan(sources: list[Path], output: Path | None, scale: int) -> list[tuple[Path, Path]]:
    """Pairs of source and target: `<name>_x4.png` (or `output`) for a file; images of a folder go to `output`.

    Raises:
        SisrError: a source is missing or a folder without images.
        UsageError: several images for one output file, or an output that equals its source.
    """
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = list_images(source)
            if not inside:
                raise SisrError(f"there are no images in {source}.")
            files += inside
        elif source.is_file():
            files.append(source)
        else:
            raise SisrError(f"{source} does not exist.")
    several = len(files) > 1 or any(source.is_dir() for source in sources)
    if output is not None and not several and not output.is_dir():
        pairs = [(files[0], output)]
    elif output is None and any(source.is_dir() for source in sources):
        raise UsageError("give the folder for the upscaled images with -o.")
    elif output is not None and output.is_file():
        raise UsageError(f"{output} is a file, but there are {len(files)} images to upscale; give a folder.")
    else:
        pairs = [(file, (output or file.parent) / f"{file.stem}_x{scale}.png") for file in files]
    targets = [target.resolve() for _, target in pairs]
    for file, target in pairs:
        if target.resolve() == file.resolve():
            raise UsageError(f"{file} would overwrite itself; choose another output.")
        if targets.count(target.resolve()) > 1:
            raise UsageError(f"two images would become {target}; upscale them into two folders.")
    return pairs


def upscale_file(
    model: nn.Module | None,
    source: Path,
    target: Path,
    scale: int,
    mode: Mode | None = None,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Upscale one file; returns a summary."""
    photo = read_photo(source)
    upscaled, way = upscale_photo(model, photo, scale, mode, progress)
    write_photo(upscaled, target)
    height, width = upscaled.pixels.shape[:2]
    return {"source": str(source), "output": str(target), "height": height, "width": width, "way": way}
