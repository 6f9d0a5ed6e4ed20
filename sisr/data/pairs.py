"""HR and LR images of a test set, from a prepared set or from a folder of images."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sisr.data.image_files import read_image
from sisr.data.prepare import hr_files, lr_files, reduce
from sisr.data.store import INDEX, PairedStore
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

    def hr(self, i: int) -> NDArray[np.uint8]:
        """HR image i, cropped at the right and the bottom to the size of LR times the scale."""

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
        self._read = lru_cache(maxsize=1)(read_image)

    @property
    def made(self) -> dict[str, Any]:
        if self._lr is None:
            return {"from": "imresize", "boundary": self.boundary}
        return {"from": "the set's own LR_bicubic"}

    @property
    def verified(self) -> None:
        """Files are not compared with the catalogue; `prepare` does that."""
        return None

    def hr(self, i: int) -> NDArray[np.uint8]:
        hr = self._read(self._hr[i])
        height, width = (side // self.scale for side in hr.shape[:2]) if self._lr is None else self.lr(i).shape[:2]
        if hr.shape[0] < height * self.scale or hr.shape[1] < width * self.scale:
            raise SisrError(
                f"LR of {self.names[i]} is {height} x {width}, too large for HR {hr.shape[0]} x {hr.shape[1]} "
                f"at scale {self.scale}."
            )
        return hr[: height * self.scale, : width * self.scale]

    def lr(self, i: int) -> NDArray[np.uint8]:
        if self._lr is None:
            hr = self._read(self._hr[i])
            try:
                return reduce(hr, self.scale, self.boundary)
            except SisrError as error:
                raise SisrError(f"{self._hr[i]}: {error}") from error
        return read_image(self._lr[self.names[i]])


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


def set_name(path: str | Path) -> str:
    """Name of a set in file names: its folder's name, or the parent's if the folder is "HR"."""
    path = Path(path).resolve()
    return path.parent.name if path.name.lower() in ("hr", "original") else path.name
