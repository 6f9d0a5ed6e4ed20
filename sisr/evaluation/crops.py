"""Selection of crops, and their upscaled versions by several methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sisr.data.pairs import Pairs
from sisr.evaluation.metrics import luminance, psnr, ssim
from sisr.evaluation.upscalers import Bicubic, Method, Network, method
from sisr.results import labels as sources
from sisr.results.runs import Run
from sisr.utils.errors import SisrError, UsageError

SIZE = 80
"""Side of a crop in HR pixels, as in the paper's Figure 5."""
PAPER = {
    "img048": (231, 344),
    "img093": (241, 59),
    "img092": (603, 293),
    "img074": (244, 150),
    "img046": (250, 290),
    "img024": (564, 359),
}
"""Images of Urban100 in the paper's Figure 5, and the top-left corners of its crops at x4; found by matching."""


@dataclass(frozen=True)
class Place:
    """A crop: number of the image in its set, x and y of the top-left corner in HR pixels, and how it was chosen."""

    index: int
    x: int
    y: int
    how: str = ""


@dataclass(frozen=True)
class Panel:
    """One crop, and how the method did; figures that are None are not written."""

    label: str
    pixels: NDArray[np.uint8]
    """(h, w) or (h, w, 3)"""
    psnr: float | None = None
    ssim: float | None = None
    """Of the whole image."""
    crop_psnr: float | None = None
    crop_ssim: float | None = None
    """Of the crop alone."""


@dataclass(frozen=True)
class Row:
    """One image: the whole of it with a box around the crop, and the crop by every method."""

    image: str
    whole: NDArray[np.uint8]
    """HR, (H, W) or (H, W, 3)"""
    box: tuple[int, int, int, int]
    """x, y of the top-left corner, width, height; in pixels of HR"""
    panels: list[Panel]
    caption: str = ""
    """A second line above the row, such as why this place was chosen."""


def best_window(values: NDArray[Any], size: int, border: int = 0) -> tuple[int, int]:
    """The square with the largest sum of `values` (H, W): x and y of its top-left corner.

    Squares keep a distance of `border` pixels from the edge; the first of several equal squares is taken, row by row.
    Raises SisrError where the image is smaller than a square.
    """
    height, width = (side - 2 * border for side in values.shape)
    if min(height, width) < size:
        raise SisrError(
            f"a crop of {size} pixels does not fit into {values.shape[0]} x {values.shape[1]}"
            + (f" with a border of {border}." if border else ".")
        )
    inner = np.asarray(values, np.float64)[border : border + height, border : border + width]
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = inner.cumsum(0).cumsum(1)
    squares = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    y, x = np.unravel_index(int(squares.argmax()), squares.shape)
    return int(x) + border, int(y) + border


def fitting(pairs: Pairs, scale: int) -> int:
    """Side of a crop in HR pixels: the paper's, or the largest that fits within the border of the largest image.

    Raises SisrError where nothing fits.
    """
    most = max(min(pairs.hr(index).shape[:2]) for index in range(len(pairs.names))) - 2 * scale
    if most < 1:
        raise SisrError(f"the images of {pairs.name} are too small for a crop within a border of {scale}.")
    return min(SIZE, most)


def hardest(pairs: Pairs, scale: int, count: int, size: int = SIZE) -> list[Place]:
    """The crops with the largest error of bicubic interpolation, one an image: at most `count`, in the set's order.

    Images that are too small for a crop are skipped. Raises SisrError where all are.
    """
    candidates = []
    bicubic = Bicubic()
    for index in range(len(pairs.names)):
        hr = pairs.hr(index)
        if min(hr.shape[:2]) < size + 2 * scale:
            continue
        error = (luminance(bicubic.upscale(pairs, index, scale)[0]) - luminance(hr)) ** 2
        x, y = best_window(error, size, scale)
        candidates.append(
            (float(error[y : y + size, x : x + size].mean()), Place(index, x, y, "largest error of bicubic"))
        )
    if not candidates:
        raise SisrError(f"no image of {pairs.name} is large enough for a crop of {size} pixels; give a smaller --size.")
    most = sorted(candidates, key=lambda item: -item[0])[:count]
    return sorted((place for _, place in most), key=lambda place: place.index)


def chosen(pairs: Pairs, words: Sequence[str], size: int = SIZE) -> list[Place]:
    """Places given as `image:x,y`, the top-left corner of the crop in HR pixels.

    Raises UsageError for invalid notation, an unknown image, or a crop that is not inside its image.
    """
    places = []
    for word in words:
        name, _, numbers = word.rpartition(":")
        try:
            x, y = (int(number) for number in numbers.split(","))
        except ValueError as error:
            raise UsageError(f"--at needs image:x,y with integers, for example img048:231,344, not {word}.") from error
        index = index_of(pairs, name)
        height, width = pairs.hr(index).shape[:2]
        if not (0 <= x <= width - size and 0 <= y <= height - size):
            raise UsageError(f"a crop of {size} pixels at {x},{y} is not inside {name}, which is {width} x {height}.")
        places.append(Place(index, x, y))
    return places


def index_of(pairs: Pairs, name: str) -> int:
    """Number of an image in its set. Raises UsageError if the name is unknown."""
    if name not in pairs.names:
        some = ", ".join(pairs.names[:5]) + (" …" if len(pairs.names) > 5 else "")
        raise UsageError(f"there is no image {name!r} in {pairs.name}; it has {some}.")
    return pairs.names.index(name)


def of_paper(pairs: Pairs, scale: int, size: int = SIZE) -> list[Place]:
    """The crops of the paper's Figure 5 if the set is Urban100 at x4, else none."""
    if pairs.name != "Urban100" or scale != 4 or size > SIZE:
        return []
    how = "as in the paper's Figure 5"
    plain = [name.replace("_", "") for name in pairs.names]  # some copies use img_048
    return [Place(plain.index(name), *at, how) for name, at in PAPER.items() if name in plain]


def open_methods(words: Sequence[str], scale: int, device: str = "auto") -> tuple[dict[str, Method], list[Run | None]]:
    """Methods of the command line by label, bicubic first; and their runs.

    Networks that declare `unrounded_lr` get unrounded LR, as in their authors' evaluation.
    Raises SisrError where a method does not exist, UsageError where two have the same label.
    """
    by_label: dict[str, Method] = {"bicubic": Bicubic()}
    opened = [sources.labelled(word) for word in words if word != "bicubic"]
    methods = [method(what, scale, device=device) for _, what in opened]
    runs = [sources.run_of(each.weights) if isinstance(each, Network) else None for each in methods]
    labels = []
    for (label, what), each, run in zip(opened, methods, runs, strict=True):
        if isinstance(each, Network):
            each.unrounded_lr = getattr(each.model, "unrounded_lr", False)
            label = label or sources.network_label(each.model.config, run)
        labels.append(label or Path(what).name)
    for label, each in zip(sources.unique(labels, runs), methods, strict=True):
        if label in ("HR", *by_label):
            raise UsageError(f"two methods are called {label}; name one with LABEL=WHAT.")
        by_label[label] = each
    return by_label, runs


def collect(
    pairs: Pairs, scale: int, methods: Mapping[str, Method], places: Sequence[Place], size: int = SIZE
) -> list[Row]:
    """HR and the crop of every method at every place, with PSNR and SSIM (P1) of the whole image and of the crop.

    Metrics of a crop use the whole square, without a border.
    Raises SisrError where a method does not support these images.
    """
    some = Chosen(pairs, [place.index for place in places])
    for each in methods.values():
        each.check(some, scale)
    rows = []
    for number, place in enumerate(places):
        hr = some.hr(number)
        part = (slice(place.y, place.y + size), slice(place.x, place.x + size))
        panels = [Panel("HR", hr[part])]
        for label, each in methods.items():
            sr = each.upscale(some, number, scale)[0]
            shown = sr if sr.dtype == np.uint8 else in_colour(each, some.lr(number), sr)
            panels.append(
                Panel(
                    label, shown[part], psnr(sr, hr, scale), ssim(sr, hr, scale),
                    psnr(sr[part], hr[part], 0), ssim(sr[part], hr[part], 0) if size >= 11 else None,
                )
            )  # fmt: skip
        rows.append(Row(some.names[number], np.asarray(hr), (place.x, place.y, size, size), panels, place.how))
    return rows


def in_colour(method: Method, lr: NDArray[np.uint8], sr: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour image of a luma-only network, with chroma by bicubic interpolation."""
    from sisr.evaluation import inference

    model = getattr(method, "model", None)
    if model is None:
        return np.clip(np.floor(sr + 0.5), 0, 255).astype(np.uint8)
    return inference.upscale_array(model, np.array(lr))


class Chosen:
    """Selected images of a set in a given order; an image can occur twice."""

    def __init__(self, pairs: Pairs, indices: Sequence[int]) -> None:
        self._pairs, self._indices = pairs, list(indices)
        self.name, self.made, self.verified = pairs.name, pairs.made, pairs.verified
        self.names = [pairs.names[index] for index in self._indices]

    def check(self, i: int) -> tuple[int, int]:
        return self._pairs.check(self._indices[i])

    def hr(self, i: int) -> NDArray[np.uint8]:
        return self._pairs.hr(self._indices[i])

    def whole_hr(self, i: int) -> NDArray[np.uint8]:
        return self._pairs.whole_hr(self._indices[i])

    def lr(self, i: int) -> NDArray[np.uint8]:
        return self._pairs.lr(self._indices[i])
