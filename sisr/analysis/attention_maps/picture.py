"""The image whose attention is drawn, and the marked position in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sisr.data.image_files import read_image
from sisr.data.pairs import open_pairs
from sisr.data.prepare import crop, reduce
from sisr.evaluation.crops import best_window, index_of
from sisr.evaluation.metrics import luminance
from sisr.utils.errors import SisrError, UsageError

AROUND = 9
"""Side in LR pixels of the square whose contrast determines the default position."""


@dataclass(frozen=True)
class Picture:
    """An image as shown, and as the input of the networks."""

    name: str
    shown: NDArray[np.uint8]
    """(H, W) or (H, W, 3): positions are pixels of this image"""
    lr: NDArray[np.uint8]
    factor: int
    """Scale of `shown` relative to `lr`."""

    @property
    def kind(self) -> str:
        """What `shown` is: "HR" or "LR"."""
        return "LR" if self.factor == 1 else "HR"

    def position(self, x: int, y: int) -> tuple[int, int]:
        """Row and column in LR of a pixel of the shown image. Raises UsageError if it is outside."""
        height, width = self.shown.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            raise UsageError(
                f"--at {x},{y} is outside of {self.name}, whose {self.kind} image has {width} x {height} pixels "
                f"(x from 0 to {width - 1}, y from 0 to {height - 1})."
            )
        return y // self.factor, x // self.factor

    def contrast(self) -> tuple[int, int]:
        """x and y of the centre of the square of LR pixels with the strongest gradients."""
        plane = luminance(self.lr)
        size = min(AROUND, *plane.shape)
        down = np.diff(plane, axis=0, append=plane[-1:])
        right = np.diff(plane, axis=1, append=plane[:, -1:])
        x, y = best_window(down**2 + right**2, size)
        return (x + size // 2) * self.factor, (y + size // 2) * self.factor


def open_picture(what: str, scale: int, reduced: bool = False) -> Picture:
    """An image file, or SET:NAME for an image of a prepared set or of a folder; SET: alone is its first image.

    Args:
        what: for a set, HR is shown and the set's LR is the input; a file is LR unless `reduced`.
        scale: of the networks.
        reduced: a file is HR: it is cropped to a multiple of the scale and reduced as in MATLAB.

    Raises:
        SisrError: the file, set or image does not exist or is too small.
        UsageError: unknown image, or `reduced` for an image of a set.
    """
    path = Path(what)
    if path.is_file():
        image = read_image(path)
        if not reduced:
            return Picture(path.stem, image, image, 1)
        return Picture(path.stem, crop(image, scale), reduce(image, scale), scale)
    folder, colon, name = what.rpartition(":")
    if not colon:
        raise SisrError(f"image {what} does not exist; give a file, or SET:NAME such as data/prepared/Set5:butterfly.")
    if reduced:
        raise UsageError(f"{folder} is a set with LR images; remove --reduce.")
    pairs: Any = open_pairs(folder, scale)
    name = name or pairs.names[0]
    index = index_of(pairs, name)
    return Picture(name, np.array(pairs.hr(index)), np.array(pairs.lr(index)), scale)


def parse_position(text: str) -> tuple[int, int]:
    """`X,Y` as two integers. Raises UsageError."""
    try:
        x, y = (int(number) for number in text.split(","))
    except ValueError as error:
        raise UsageError(f"--at needs X,Y in pixels, for example 120,64, not {text}.") from error
    return x, y
