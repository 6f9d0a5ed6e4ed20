"""HR and LR images of a test set, from a prepared set or from a folder of images."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sisr.data.image_files import image_shape, read_image
from sisr.data.prepare import crop, hr_files, lr_files, reduce, set_name
from sisr.data.store import INDEX, PairedStore
from sisr.data.verify import check_lr, check_lr_shape
from sisr.utils.errors import SisrError


class Pairs(Protocol):
    """HR and LR images of a test set."""

    @property
    def name(self) -> str:
        """The set's name."""

    @property
    def names(self) -> list[str]:
        """The images' names."""

    @property
    def made(self) -> dict[str, Any]:
        """How LR was made."""

    @property
    def verified(self) -> dict[str, Any] | None:
        """Result of the comparison with the catalogue; None: not compared."""

    def check(self, i: int) -> tuple[int, int]:
        """Height and width of HR image i as `hr` returns it, without decoding.

        Raises SisrError where a file cannot be read, or LR has another size than HR at this scale.
        """

    def hr(self, i: int) -> NDArray[np.uint8]:
        """HR image i, cropped at the right and the bottom to the size of LR times the scale."""

    def whole_hr(self, i: int) -> NDArray[np.uint8]:
        """HR image i, not cropped."""

    def lr(self, i: int) -> NDArray[np.uint8]:
        """LR image i."""


class FolderPairs:
    """Pairs from image files: the included LR images, or else HR reduced as in MATLAB.

    folder: a set's folder (`HR/*.png`, and `LR_bicubic/X4/*x4.png` if there are any), or HR images.
    boundary: border of the reduction, if LR is made here.
    """

    def __init__(self, folder: str | Path, scale: int, boundary: str = "symmetric") -> None:
        self.name, self.scale, self.boundary = set_name(folder), scale, boundary
        files = hr_files(folder)
        self.names, self._hr, self._lr = list(files), list(files.values()), lr_files(folder, scale, files)
        self._pair = lru_cache(maxsize=1)(self._read)
        self._reduced = lru_cache(maxsize=1)(lambda i: reduce(self.hr(i), scale, boundary))

    @property
    def made(self) -> dict[str, Any]:
        if self._lr is None:
            return {"from": "imresize", "boundary": self.boundary}
        return {"from": "the set's own LR_bicubic"}

    @property
    def verified(self) -> None:
        """Files are not compared with the catalogue; `prepare` does that."""
        return None

    def check(self, i: int) -> tuple[int, int]:
        hr = image_shape(self._hr[i])
        if self._lr is None:
            if min(hr[:2]) < self.scale:
                raise SisrError(f"{self._hr[i]}: an image of {hr[0]} x {hr[1]} is too small for scale {self.scale}.")
            return hr[0] // self.scale * self.scale, hr[1] // self.scale * self.scale
        path = self._lr[self.names[i]]
        lr = image_shape(path)
        check_lr_shape(lr, hr, self.scale, (path, self._hr[i]))
        return lr[0] * self.scale, lr[1] * self.scale

    def hr(self, i: int) -> NDArray[np.uint8]:
        return self._pair(i)[0]

    def whole_hr(self, i: int) -> NDArray[np.uint8]:
        return read_image(self._hr[i])

    def lr(self, i: int) -> NDArray[np.uint8]:
        lr = self._pair(i)[1]
        return self._reduced(i) if lr is None else lr

    def _read(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """HR cropped to LR's size, and the included LR after a comparison with HR."""
        hr = read_image(self._hr[i])
        if self._lr is None:
            try:
                return crop(hr, self.scale), None
            except SisrError as error:
                raise SisrError(f"{self._hr[i]}: {error}") from error
        path = self._lr[self.names[i]]
        lr = read_image(path)
        check_lr(hr, lr, self.scale, (path, self._hr[i]))
        return hr[: lr.shape[0] * self.scale, : lr.shape[1] * self.scale], lr


def open_pairs(path: str | Path, scale: int, boundary: str = "symmetric") -> Pairs:
    """Pairs of a prepared set (`hr/` and `x4/` of image stores), or of a folder of images.

    Raises SisrError where the path does not exist, or contains no image or no LR at this scale.
    """
    path = Path(path)
    if (path / "hr" / INDEX).is_file():
        if not (path / f"x{scale}" / INDEX).is_file():
            raise SisrError(
                f"{path} is not prepared at scale {scale}; run `python -m sisr prepare {path.name} "
                f"--scale {scale} --output {path / f'x{scale}'}`."
            )
        return PairedStore(path, scale)
    if not path.is_dir():
        raise SisrError(f"folder {path} does not exist; give a prepared set or a folder of HR images.")
    return FolderPairs(path, scale, boundary)
