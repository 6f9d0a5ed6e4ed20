"""Evaluation: one row an image, one table a set. The controls `bicubic` and `hr` use the same code."""

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sisr.data.pairs import Pairs
from sisr.evaluation.metrics import psnr, ssim
from sisr.evaluation.upscalers import Method
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import atomic_write

GREYSCALE = ("as-is", "rgb")
COLUMNS = ("image", "psnr", "ssim", "height", "width", "seconds")


@dataclass(frozen=True)
class Row:
    """Metrics of one image."""

    image: str
    psnr: float
    """dB; infinite if SR equals HR within the border."""
    ssim: float
    height: int
    """Of the HR image, cropped to a multiple of the scale."""
    width: int
    seconds: float
    """Inference only, 0 for existing images."""


def same_channels(sr: NDArray[Any], hr: NDArray[np.uint8], greyscale: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Convert SR and HR to the same number of channels.

    For greyscale HR with "as-is" (the protocol), RGB SR is converted to full-range luma, so that equal channels give
    their value; HR is not changed. With "rgb", as in the code of EDSR and ENLCN, both are repeated to RGB and converted
    to Y, which reduces the range to 219 levels and adds 1.32 dB to that image. For RGB HR, greyscale SR is repeated.
    """
    from sisr.evaluation.inference import grey_of

    if hr.ndim == 2 and sr.ndim == 3:
        sr = grey_of(sr) if greyscale == "as-is" else sr
    if hr.ndim == 2 and greyscale == "rgb":
        hr = np.repeat(hr[..., None], 3, axis=2)
        if np.issubdtype(sr.dtype, np.floating):
            sr = 16.0 + sr * 219.0 / 255.0
    if hr.ndim == 3 and sr.ndim == 2 and sr.dtype == np.uint8:
        sr = np.repeat(sr[..., None], 3, axis=2)
    return sr, hr


def evaluate(
    what: Method,
    pairs: Pairs,
    scale: int,
    protocol: str = "P1",
    greyscale: str = "as-is",
    images_to: Path | None = None,
    progress: Callable[[list[str]], Iterable[str]] = iter,
) -> tuple[list[Row], dict[str, Any]]:
    """Evaluate a set image by image.

    Args:
        scale: also the width of the removed border.
        greyscale: see `same_channels`.
        images_to: folder for the SR images as PNG.
        progress: wraps the images' names, like tqdm.

    Returns the rows, and the facts for the file beside them: method, scale, protocol, how LR was made, and the images
    with another inference mode than requested.
    Raises SisrError where the images do not match, or a value is NaN.
    """
    if greyscale not in GREYSCALE:
        raise UsageError(f"greyscale must be {' or '.join(GREYSCALE)}, not {greyscale!r}.")
    if protocol == "P3" and greyscale == "rgb":
        raise UsageError("protocol P3 does not support --greyscale rgb; remove it.")
    what.check(pairs, scale)
    if not pairs.names:
        raise SisrError("there is no image to evaluate.")
    rows, ways = [], {}
    for i, name in enumerate(progress(pairs.names)):
        sr, seconds, ways[name] = what.upscale(pairs, i, scale)
        hr = pairs.hr(i)
        a, b = same_channels(sr, hr, greyscale)
        try:
            values = psnr(a, b, scale, protocol), ssim(a, b, scale, protocol)
        except SisrError as error:
            raise SisrError(f"{name}: {error}") from error
        rows.append(Row(name, *values, hr.shape[0], hr.shape[1], seconds))
        if images_to is not None:
            whole = sr if sr.dtype == np.uint8 else np.clip(np.floor(sr + 0.5), 0, 255).astype(np.uint8)
            with atomic_write(images_to / f"{name}.png") as path:
                Image.fromarray(whole).save(path)
    usual = max(set(ways.values()), key=list(ways.values()).count)
    facts = {
        "method": what.label,
        "scale": scale,
        "protocol": protocol,
        "border": scale,
        "greyscale": greyscale,
        "lr": pairs.made,
        "verified": pairs.verified,
        "images": len(rows),
        "way": usual,
        "other_ways": {name: way for name, way in ways.items() if way != usual},
        **what.facts(),
    }
    return rows, facts


def write_rows(rows: list[Row], path: Path, facts: dict[str, Any]) -> None:
    """Write the table as CSV, and the protocol as `.json`. An infinite PSNR is written as `inf`."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow(
                [row.image, f"{row.psnr:.6f}", f"{row.ssim:.8f}", row.height, row.width, f"{row.seconds:.6f}"]
            )
    with atomic_write(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")
