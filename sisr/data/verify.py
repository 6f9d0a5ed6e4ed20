"""Verification of image sets: comparison with the catalogue by pixels, not by file names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sisr.data.catalog import Dataset
from sisr.data.image_files import pixel_hash, plain_name, read_image
from sisr.data.imresize import BOUNDARIES, imresize
from sisr.utils.errors import SisrError

_SHOWN = 5
_LARGEST_MULTIPLE = 12  # that published HR images are cropped to
_LEAST_CORRELATION = 0.5
_LARGEST_SHIFT = 64  # of the mean, in grey levels


@dataclass(frozen=True)
class Found:
    """A file that was identified as an image of the set."""

    path: Path
    crop: int = 1
    """Multiple that the file's image is cropped to; 1 for the whole image."""
    grey_as_rgb: bool = False
    """A greyscale image stored with three equal channels."""
    by_name: bool = False
    """Identified by its name only, since the catalogue has no hash of it."""


@dataclass
class Report:
    """Result of the comparison of files with a set."""

    dataset: Dataset
    found: dict[str, Found] = field(default_factory=dict)
    """By the image's name in the catalogue."""
    missing: list[str] = field(default_factory=list)
    altered: dict[str, str] = field(default_factory=dict)
    """Images with the right name and other pixels, and the difference."""
    extra: list[str] = field(default_factory=list)
    """Files that are not images of the set."""
    notes: list[str] = field(default_factory=list)
    """Known problems of this copy."""

    @property
    def complete(self) -> bool:
        """Every image is present with the right pixels (or with the right name, if no hash is known)."""
        return not self.missing and not self.altered and len(self.found) == self.dataset.images

    @property
    def checked(self) -> int:
        """Number of images identified by their pixels."""
        return sum(not image.by_name for image in self.found.values())

    def __str__(self) -> str:
        name, total = self.dataset.name, self.dataset.images
        if self.complete:
            extra = f"; unexpected files: {_some(self.extra)}" if self.extra else ""
            return f"{name}: all {total} images, {self.checked} of them verified by their pixels{extra}"
        parts = []
        if self.missing:
            parts.append(f"{len(self.missing)} missing ({_some(self.missing)})")
        if self.altered:
            parts.append(
                f"{len(self.altered)} altered ({_some([f'{key}: {how}' for key, how in self.altered.items()])})"
            )
        if self.extra:
            parts.append(f"{len(self.extra)} unexpected ({_some(self.extra)})")
        if not parts:
            parts.append(f"{len(self.found)} images instead of {total}")
        notes = f"; {'; '.join(self.notes)}" if self.notes else ""
        return f"{name} has {len(self.found)} of its {total} images, {', '.join(parts)}{notes}"


def check(files: Mapping[str, Path] | Iterable[Path], dataset: Dataset) -> Report:
    """Compare image files with a set of the catalogue.

    files: the files, or a mapping with the files as values. Names are used only if there are no hashes.
    Raises SisrError where a file cannot be read as an image.
    """
    paths = list(files.values() if isinstance(files, Mapping) else files)
    report = Report(dataset)
    by_pixels = _index(dataset)
    unknown: list[tuple[Path, tuple[int, ...]]] = []
    for path in paths:
        named = _called(path, dataset)
        if not dataset.fingerprints or (named in dataset.names and named not in dataset.fingerprints):
            if not dataset.names or (named in dataset.names and named not in report.found):
                report.found[named if dataset.names else path.stem] = Found(path, by_name=True)
            else:
                report.extra.append(path.name)
            continue
        image = read_image(path)
        name, found = _recognise(image, path, by_pixels)
        if name is None:
            unknown.append((path, image.shape))
        elif name in report.found and report.found[name].crop <= found.crop:
            report.extra.append(path.name)
        else:
            report.found[name] = found
    for path, shape in unknown:
        named = _called(path, dataset)
        if named in dataset.fingerprints and named not in report.found:
            report.altered[named] = _difference(shape, dataset, named)
        else:
            report.extra.append(path.name)
    report.missing = [name for name in dataset.names if name not in report.found and name not in report.altered]
    report.notes = _notes(report, unknown)
    return report


def _index(dataset: Dataset) -> dict[str, tuple[str, int]]:
    """Hash to (name, crop); whole images take precedence."""
    index = {}
    for name, print_ in dataset.fingerprints.items():
        for multiple, value in sorted(print_.crops.items(), reverse=True):
            index[value] = (name, multiple)
        index[print_.sha256] = (name, 1)
    return index


def _recognise(image: NDArray[np.uint8], path: Path, index: Mapping[str, tuple[str, int]]) -> tuple[str | None, Found]:
    name, crop = index.get(pixel_hash(image), (None, 1))
    if name is None and image.ndim == 3 and (image == image[..., :1]).all():
        name, crop = index.get(pixel_hash(image[..., 0]), (None, 1))
        return name, Found(path, crop, grey_as_rgb=True)
    return name, Found(path, crop)


def _called(path: Path, dataset: Dataset) -> str:
    """The catalogue's name for a file name: "img_001_SRF_4_HR" is "img001", "0001x4" is "0001"."""
    stem = plain_name(path.stem)
    if stem in dataset.names or path.stem in dataset.names:
        return path.stem if path.stem in dataset.names else stem
    squeezed = stem.replace("_", "").lower()
    return next((name for name in dataset.names if name.lower() == squeezed), stem)


def _difference(shape: tuple[int, ...], dataset: Dataset, name: str) -> str:
    expected = dataset.fingerprints[name]
    if shape[:2] != (expected.height, expected.width):
        return f"{shape[0]} x {shape[1]} instead of {expected.height} x {expected.width}"
    channels = 1 if len(shape) == 2 else 3
    if channels != expected.channels:
        return "RGB instead of greyscale" if channels == 3 else "greyscale instead of RGB"
    return "other pixels"


def _notes(report: Report, unknown: list[tuple[Path, tuple[int, ...]]]) -> list[str]:
    """Describe known problems."""
    dataset, notes = report.dataset, []
    grey = sorted(name for name, image in report.found.items() if image.grey_as_rgb)
    if grey:
        notes.append(f"{_some(grey)} is greyscale but stored as RGB here; it is treated as greyscale")
    crops = sorted({image.crop for image in report.found.values()} - {1})
    if crops:
        number = sum(image.crop > 1 for image in report.found.values())
        notes.append(
            f"{number} images are cropped to a multiple of {' or '.join(map(str, crops))}: results differ from "
            "those of whole images at scales that need less cropping"
        )
    halves = sum(
        abs(2 * shape[0] - expected.height) <= 2 and abs(2 * shape[1] - expected.width) <= 2
        for path, shape in unknown
        if (expected := dataset.fingerprints.get(_called(path, dataset)))
    )
    if halves > len(unknown) // 2:
        notes.append(
            f"{halves} images have half the expected size, as in the x2 folder of the original release of "
            "Urban100; take HR from its x4 folder"
        )
    elif len(unknown) + len(report.found) == dataset.images and len(unknown) > dataset.images // 10:
        notes.append(
            f"only {len(report.found)} of these {dataset.images} images are those of {dataset.name}: this is another "
            "set of the same name, or its images were compressed or resized"
        )
    return notes


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


@dataclass
class LrOrigin:
    """Comparison of included LR images with HR reduced by `imresize`."""

    images: int = 0
    matches: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BOUNDARIES, 0))
    """Number of images that equal HR reduced with each border, bit for bit."""
    differing: float = 0.0
    """Mean share of pixel values that differ from current MATLAB."""
    largest: int = 0
    """Largest such difference."""
    library: str = ""
    """Another library that reproduces these images exactly."""

    @property
    def boundary(self) -> str | None:
        """The border that all images match, or None."""
        return next((border for border, number in self.matches.items() if 0 < number == self.images), None)

    def __str__(self) -> str:
        if self.boundary == "symmetric":
            return "equal to today's MATLAB (symmetric border)"
        if self.boundary == "replicate":
            return "equal to older MATLAB (replicate border)"
        if self.library:
            return f"made by {self.library}, not by MATLAB ({self.differing:.1%} of values differ)"
        best = max(self.matches, key=lambda border: self.matches[border])
        some = f"{self.matches[best]} of {self.images} equal MATLAB's {best} border, " if self.matches[best] else ""
        return f"{some}{self.differing:.1%} of values differ from MATLAB's, by up to {self.largest}"

    def facts(self) -> dict[str, Any]:
        """Entries for the index of a prepared set."""
        return {
            "matches": self.boundary or self.library or None,
            "differing": round(self.differing, 6),
            "largest_difference": self.largest,
            "says": str(self),
        }

    def add(self, hr: NDArray[np.uint8], lr: NDArray[np.uint8], scale: int) -> None:
        """Add a pair; HR is cropped to LR's size times the scale."""
        hr = hr[: lr.shape[0] * scale, : lr.shape[1] * scale]
        self.images += 1
        for border in BOUNDARIES:
            made = imresize(hr, Fraction(1, scale), border)
            same = made.shape == lr.shape and bool(np.array_equal(made, lr))
            self.matches[border] += same
            if border == BOUNDARIES[0]:
                share, most = 1.0, 255
                if made.shape == lr.shape:
                    difference = np.abs(made.astype(np.int16) - lr)
                    share, most = float((difference > 0).mean()), int(difference.max())
                self.differing += (share - self.differing) / self.images
                self.largest = max(self.largest, most)
        if not any(self.matches.values()):
            self.library = _library(hr, lr) if self.images == 1 or self.library else ""


def _library(hr: NDArray[np.uint8], lr: NDArray[np.uint8]) -> str:
    """Common library whose reduction gives these pixels, or ""."""
    size = (lr.shape[1], lr.shape[0])
    filters = {"bicubic": Image.Resampling.BICUBIC, "Lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}
    for name, resampling in filters.items():
        if np.array_equal(np.asarray(Image.fromarray(hr).resize(size, resampling)), lr):
            return f"PIL ({name})"
    unrounded = imresize(hr.astype(np.float64), Fraction(size[0], hr.shape[1]))
    if unrounded.shape == lr.shape and np.array_equal(np.clip(np.floor(unrounded + 0.5), 0, 255), lr):
        return "a port of imresize that does not round between its two passes"
    return ""


def lr_problem(lr: Sequence[int], hr: Sequence[int], scale: int) -> str:
    """Why an LR image has not the size and the channels of its HR image at a scale, or "".

    HR may be larger by a margin: published LR images are made from HR cropped to a multiple of the scale or of 12.

    lr, hr: height, width, channels.
    """
    sides = list(zip(lr[:2], hr[:2], strict=True))
    if any(small * scale > large for small, large in sides):
        return "it is too large for HR"
    if any(large - small * scale >= max(scale, min(_LARGEST_MULTIPLE, large / 4)) for small, large in sides):
        return f"it seems to be x{hr[0] / lr[0]:.3g}"
    if lr[2] != hr[2]:
        kinds = {1: "greyscale", 3: "RGB"}
        return f"it is {kinds[lr[2]]} but HR is {kinds[hr[2]]}; store both in the same way"
    return ""


def check_lr_shape(lr: Sequence[int], hr: Sequence[int], scale: int, paths: tuple[Path, Path]) -> None:
    """Raise SisrError for a `lr_problem`. paths: of LR and HR, for the message."""
    if problem := lr_problem(lr, hr, scale):
        raise SisrError(
            f"{paths[0]} is {lr[0]} x {lr[1]}, which is not its HR image {paths[1]} of {hr[0]} x {hr[1]} at x{scale}: "
            f"{problem}."
        )


def check_lr(hr: NDArray[np.uint8], lr: NDArray[np.uint8], scale: int, paths: tuple[Path, Path]) -> None:
    """Raise SisrError unless an LR image is a reduction of its HR image, by any method.

    Border, kernel, rounding, noise and compression may differ; the correlation with MATLAB's reduction must be above
    1/2, and the mean within a quarter of the range.

    paths: of LR and HR, for messages.
    """
    check_lr_shape((*lr.shape, 1)[:3], (*hr.shape, 1)[:3], scale, paths)
    expected = imresize(hr[: lr.shape[0] * scale, : lr.shape[1] * scale], Fraction(1, scale)).astype(np.float64)
    given = lr.astype(np.float64)
    means = expected.mean(), given.mean()
    # one grey level of noise correlates two flat images
    spread = np.sqrt((expected.var() + 1) * (given.var() + 1))
    correlation = (((expected - means[0]) * (given - means[1])).mean() + 1) / spread
    if correlation < _LEAST_CORRELATION or abs(means[0] - means[1]) > _LARGEST_SHIFT:
        raise SisrError(
            f"{paths[0]} is not a reduction of its HR image {paths[1]} at x{scale}: the correlation is "
            f"{correlation:.2f}, the mean {means[1]:.0f} instead of {means[0]:.0f}; replace or remove the LR images."
        )
