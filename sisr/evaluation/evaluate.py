"""Evaluation: one row an image, one table a set. The controls `bicubic` and `hr` use the same code."""

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sisr import __version__
from sisr.data.image_files import pixel_hash
from sisr.data.pairs import Pairs
from sisr.evaluation.metrics import check_size, psnr, ssim
from sisr.evaluation.partial import Partial, Row
from sisr.evaluation.upscalers import Method
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import atomic_write
from sisr.utils.provenance import provenance

GREYSCALE = ("as-is", "rgb")
_SHOWN = 3
COLUMNS = ("image", "psnr", "ssim", "height", "width", "seconds")


class NotMeasuredError(SisrError):
    """Some images of a set could not be measured; the others are in the file of partial rows."""


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
    partial: Path | None = None,
) -> tuple[list[Row], dict[str, Any]]:
    """Evaluate a set image by image.

    Args:
        scale: also the width of the removed border.
        greyscale: see `same_channels`.
        images_to: folder for the SR images as PNG.
        progress: wraps the images' names, like tqdm.
        partial: file that keeps the rows while the evaluation is not finished. A call with the same method, protocol
            and code continues from it, image by image, where the pixels are the same.

    Returns the rows, and the facts for the file beside them: method, scale, protocol, how LR was made, and the images
    with another inference mode than requested.
    Raises NotMeasuredError, after all other images are measured, where an image cannot be read or is too small, or its
    LR or SR does not match; SisrError where that is known of the whole set.
    """
    if greyscale not in GREYSCALE:
        raise UsageError(f"greyscale must be {' or '.join(GREYSCALE)}, not {greyscale!r}.")
    if protocol == "P3" and greyscale == "rgb":
        raise UsageError("protocol P3 does not support --greyscale rgb; remove it.")
    what.check(pairs, scale)
    if not pairs.names:
        raise SisrError("there is no image to evaluate.")
    rows, ways, failures = [], {}, {}
    kept = Partial(partial, _identity(what, pairs, scale, protocol, greyscale)) if partial else None
    try:
        for i, name in enumerate(progress(pairs.names)):
            target = images_to / f"{name}.png" if images_to else None
            try:
                check_size(*pairs.check(i), scale)
                pixels = _pixels(what, pairs, i) if kept else ""
                measured = kept.get(name, pixels) if kept and (target is None or target.is_file()) else None
                row, ways[name] = measured or _measure(what, pairs, i, scale, protocol, greyscale, target)
                rows.append(row)
                if kept and not measured:
                    kept.add(row, ways[name], pixels)
            except UsageError:
                raise
            except SisrError as error:
                failures[name] = str(error).rstrip(".")
    except BaseException:
        if kept:
            kept.write()  # after an interruption, too
        raise
    if failures:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(failures.items())[:_SHOWN])
        more = f" and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        told = f"{len(failures)} of {len(pairs.names)} images of {pairs.name} are not measured ({reasons}{more})"
        if kept and kept.write():
            told += f"; the rows of the others are in {kept.path}, and the next call continues from them"
        raise NotMeasuredError(f"{told}.")
    if kept:
        kept.write()
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


def _measure(
    what: Method, pairs: Pairs, i: int, scale: int, protocol: str, greyscale: str, target: Path | None
) -> tuple[Row, str]:
    """Upscale and measure one image; `target` is the file for SR."""
    sr, seconds, way = what.upscale(pairs, i, scale)
    hr = pairs.hr(i)
    a, b = same_channels(sr, hr, greyscale)
    row = Row(
        pairs.names[i], psnr(a, b, scale, protocol), ssim(a, b, scale, protocol), hr.shape[0], hr.shape[1], seconds
    )
    if target is not None:
        whole = sr if sr.dtype == np.uint8 else np.clip(np.floor(sr + 0.5), 0, 255).astype(np.uint8)
        try:
            with atomic_write(target) as path:
                Image.fromarray(whole).save(path)
        except OSError as error:
            raise SisrError(f"{target} cannot be written ({error.strerror or error}).") from error
    return row, way


def _identity(what: Method, pairs: Pairs, scale: int, protocol: str, greyscale: str) -> dict[str, Any]:
    """What all rows of a set depend on, without the paths."""
    import torch

    facts = {key: value for key, value in what.facts().items() if key not in ("weights", "folder")}
    code = provenance(torch.device("cpu"))["git_commit"]
    return {
        "method": type(what).__name__, **facts, "scale": scale, "protocol": protocol, "greyscale": greyscale,
        "lr": pairs.made, "sisr": __version__, "git_commit": code,
    }  # fmt: skip


def _pixels(what: Method, pairs: Pairs, i: int) -> str:
    """What the row of one image depends on."""
    return " ".join([pixel_hash(pairs.hr(i)), pixel_hash(pairs.lr(i)), what.source(pairs, i)])


def write_rows(rows: list[Row], path: Path, facts: dict[str, Any]) -> None:
    """Write the table as CSV, and the protocol as `.json`. An infinite PSNR is written as `inf`.

    Raises SisrError where the disk is full.
    """
    try:
        with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for row in rows:
                table.writerow(
                    [row.image, f"{row.psnr:.6f}", f"{row.ssim:.8f}", row.height, row.width, f"{row.seconds:.6f}"]
                )
        with atomic_write(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise SisrError(f"{path} cannot be written ({error.strerror or error}).") from error
