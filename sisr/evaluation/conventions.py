"""Conventions of scoring that differ between publications, each against the protocol of the paper (P1).

The protocol: Y not rounded, a border of `scale` pixels removed, peak 255, HR cropped at the right and the bottom,
greyscale images as they are. A convention that departs from it is described by words that continue each other:
"RGB", "without a border", "with values from 0 to 255 and peak 1".
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sisr.evaluation.evaluate import same_channels
from sisr.evaluation.metrics import check_size, luminance, psnr

Array = NDArray[Any]


class Convention(NamedTuple):
    """How a value was computed, in words; blank where it follows the protocol."""

    colour: str = ""
    border: str = ""
    other: str = ""
    """Alignment, greyscale, peak, or the origin of SR; one of them at a time."""

    @property
    def changes(self) -> int:
        """Number of departures from the protocol."""
        return sum(map(bool, self))

    def __str__(self) -> str:
        if not self.changes:
            return "the protocol of the paper"
        return " ".join(filter(None, (self.colour or "Y", " and ".join(filter(None, (self.border, self.other))))))


PROTOCOL = Convention()


def _y(image: Array, protocol: str = "P1") -> Array:
    return image if image.dtype == np.uint8 and image.ndim == 2 else luminance(image, protocol)


def _rgb(image: Array) -> Array:
    """The three channels below one another, so that the error is the mean over all of them."""
    return image if image.ndim == 2 else np.concatenate([image[..., i] for i in range(3)])


def _grey(image: Array) -> Array:
    return image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L"))


def _swapped(image: Array) -> Array:
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])


COLOURS: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "": lambda sr, hr: (_y(sr), _y(hr)),
    "rounded Y": lambda sr, hr: (_y(sr, "P2"), _y(hr, "P2")),
    "RGB": lambda sr, hr: (_rgb(sr), _rgb(hr)),
    "full-range luma (Pillow, OpenCV)": lambda sr, hr: (_grey(sr), _grey(hr)),
    "Y of BGR in SR and HR": lambda sr, hr: (_y(_swapped(sr)), _y(_swapped(hr))),
    "Y of SR in BGR and HR in RGB": lambda sr, hr: (_y(_swapped(sr)), _y(hr)),
    "RGB of SR in BGR and HR in RGB": lambda sr, hr: (_rgb(_swapped(sr)), _rgb(hr)),
}
"""What is compared: SR and HR, uint8 RGB or greyscale, to two planes."""
_NEED_RGB = [name for name in COLOURS if name not in ("", "rounded Y")]
PEAKS: dict[str, Callable[[Array], float]] = {
    "with values in [0, 1] and peak 255": lambda hr: 255.0 * 255.0,
    "with values from 0 to 255 and peak 1": lambda hr: 1.0,
    "with values in [−1, 1] and peak 1": lambda hr: 127.5,
    "with the largest value of HR as peak": lambda hr: float(hr.max()),
    "with the largest minus the smallest value of HR as peak": lambda hr: float(hr.max()) - float(hr.min()),
}
"""Value ranges: the peak, for values from 0 to 255, by the compared plane of HR."""
GREY_AS_RGB = "with greyscale images as RGB"


def borders(scale: int) -> dict[str, int]:
    """Widths of the removed border."""
    return {"": scale, "without a border": 0, f"with a border of {scale + 6} pixels (scale + 6)": scale + 6}


def alignments(sr: Array, hr: Array) -> Iterator[tuple[str, Array, Array]]:
    """SR and HR of one size: cropped at the right and the bottom, or, where sizes differ, in another way."""
    height, width = (min(pair) for pair in zip(sr.shape[:2], hr.shape[:2], strict=True))
    yield "", sr[:height, :width], hr[:height, :width]
    if sr.shape[:2] == hr.shape[:2]:
        return
    y, x = (hr.shape[0] - height) // 2, (hr.shape[1] - width) // 2
    yield "with HR cropped at the centre", sr[:height, :width], hr[y : y + height, x : x + width]
    if sr.dtype == np.uint8:
        yield "with SR resized to the uncropped HR", _resized(sr, hr), hr
    yield "with the uncropped HR resized to SR", sr, _resized(hr, sr)


def _resized(image: Array, like: Array) -> Array:
    size = (like.shape[1], like.shape[0])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def scores(sr: Array, hr: Array, scale: int, origin: str = "") -> Iterator[tuple[Convention, float]]:
    """PSNR of one image by each convention, or combination of conventions.

    Colour and border are combined with each other and with one other departure.

    Args:
        sr: uint8 (h, w) or (h, w, 3), or floating-point Y; of another size than HR where HR is not cropped.
        hr: uint8 (H, W) or (H, W, 3), not cropped.
        scale: width of the protocol's border.
        origin: words for SR that was not made as usual; conventions other than colour and border are then left out.

    Raises SisrError where the image is too small for the protocol's border.
    """
    check_size(min(len(sr), len(hr)), min(sr.shape[1], hr.shape[1]), scale)
    for alignment, a, b in alignments(sr, hr):
        if alignment and origin:
            return
        yield from _scores(*same_channels(a, b, "as-is"), scale, origin or alignment, peaks=not (origin or alignment))
        if b.ndim == 2 and not (origin or alignment):
            yield from _scores(*same_channels(a, b, "rgb"), scale, GREY_AS_RGB, peaks=False)


def _scores(sr: Array, hr: Array, scale: int, other: str, peaks: bool) -> Iterator[tuple[Convention, float]]:
    for colour, planes in COLOURS.items():
        if colour in _NEED_RGB and sr.dtype != np.uint8:
            continue
        a, b = planes(sr, hr)
        channels = len(a) // len(sr)
        for border, width in borders(scale).items():
            if min(sr.shape[:2]) <= 2 * width:
                continue
            cut_a, cut_b = (_without_border(plane, width, channels) for plane in (a, b))
            value = psnr(cut_a, cut_b, 0)
            yield Convention(colour, border, other), value
            for words, peak in PEAKS.items() if peaks else ():
                if (largest := peak(cut_b)) > 0:
                    yield Convention(colour, border, words), value + 20 * float(np.log10(largest / 255.0))


def _without_border(plane: Array, width: int, channels: int) -> Array:
    """Remove the border of each of the channels that are below one another."""
    height, wide = len(plane) // channels, plane.shape[1]
    cut = plane.reshape(channels, height, wide)[:, width : height - width, width : wide - width]
    return cut.reshape(-1, cut.shape[2])
