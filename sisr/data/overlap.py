"""Test images among the training images, found by their pixels: other names and formats hide them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sisr.data.image_files import pixel_hash
from sisr.data.store import INDEX, ImageStore
from sisr.utils.errors import SisrError

_MULTIPLE = 12  # published copies are cropped to a multiple of 2, 3, 4 or 12: what is left of all is the same


def shared_images(train: ImageStore, test: ImageStore) -> list[str]:
    """Names of the test images that are also training images, in the order of the test set.

    Copies that are cropped to a multiple of 2, 3, 4 or 12, and greyscale images stored as RGB, are recognised. Only
    images of a size that both sets contain are hashed.
    """
    sizes = {_cropped(*shape[:2]) for shape in train.shapes} & {_cropped(*shape[:2]) for shape in test.shapes}
    known = {
        _hash(train.read(i), size) for i, shape in enumerate(train.shapes) if (size := _cropped(*shape[:2])) in sizes
    }
    return [
        name
        for i, (name, shape) in enumerate(zip(test.names, test.shapes, strict=True))
        if (size := _cropped(*shape[:2])) in sizes and _hash(test.read(i), size) in known
    ]


def shared_sets(train: Iterable[str], test: Iterable[str], data: Path) -> dict[tuple[str, str], list[str]]:
    """`shared_images` by training and test set, of those that are prepared below `data` and share any."""
    train, test = ([name for name in names if (data / name / "hr" / INDEX).is_file()] for names in (train, test))
    pairs = {
        (one, other): shared_images(ImageStore(data / one / "hr"), ImageStore(data / other / "hr"))
        for one in train
        for other in test
    }
    return {pair: names for pair, names in pairs.items() if names}


def check_apart(train: Sequence[str], test: Sequence[str], data: Path) -> None:
    """Raise SisrError if the training sets contain images of the test sets. Sets that are not prepared are left out.

    data: folder of the prepared sets.
    """
    if shared := shared_sets(train, test, data):
        raise SisrError(
            f"{describe(shared)}; remove them from one of the two, or set data.overlap_allowed: true in the preset."
        )


def describe(shared: dict[tuple[str, str], list[str]]) -> str:
    """One line that names the sets and counts the images."""
    parts = [
        f"{len(names)} {'image' if len(names) == 1 else 'images'} of the test set {test} ({', '.join(names[:3])}"
        f"{' …' if len(names) > 3 else ''}) {'is' if len(names) == 1 else 'are'} also in the training set {train}"
        for (train, test), names in shared.items()
    ]
    return "; ".join(parts)


def _cropped(height: int, width: int) -> tuple[int, int]:
    return height - height % _MULTIPLE or height, width - width % _MULTIPLE or width


def _hash(image: NDArray[np.uint8], size: tuple[int, int]) -> str:
    part = image[: size[0], : size[1]]
    if part.ndim == 3 and (part == part[..., :1]).all():
        part = part[..., 0]
    return pixel_hash(part)
