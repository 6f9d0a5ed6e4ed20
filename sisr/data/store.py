"""Decoded images in one memory-mapped file, since PNG decoding would take longer than training.

A store is a folder: `pixels.bin` contains the uint8 pixels of all images one after another, each row by row as (H, W,
C); `index.json` contains their names, sizes, offsets and origin, how LR was made, and the SHA-256 of the pixels.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sisr.data.verify import lr_problem
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write, check_writable, temporary_folder

SCHEMA = 1
PIXELS, INDEX = "pixels.bin", "index.json"


class ImageStore:
    """Images of one set at one size, read without decoding; cheap to pickle (worker processes map the file again).

    Raises SisrError where the folder was not written by `write`, or a part of it is missing or truncated.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.index: dict[str, Any] = json.loads((self.path / INDEX).read_text(encoding="utf-8"))
            images = self.index["images"]
            if self.index["schema"] != SCHEMA:
                raise SisrError(f"{self.path} has format {self.index['schema']}, expected {SCHEMA}; prepare it again.")
            self.names: list[str] = [image["name"] for image in images]
            self.shapes: list[tuple[int, int, int]] = [
                (image["height"], image["width"], image["channels"]) for image in images
            ]
            self._offsets: list[int] = [image["offset"] for image in images]
        except FileNotFoundError as error:
            raise SisrError(f"{self.path} contains no prepared images; run `python -m sisr prepare`.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise SisrError(f"{self.path / INDEX} is damaged; prepare the set again.") from error
        expected = sum(h * w * c for h, w, c in self.shapes)
        pixels = self.path / PIXELS
        size = pixels.stat().st_size if pixels.is_file() else 0
        if size != expected:
            raise SisrError(f"{pixels} has {size} bytes instead of {expected}; prepare the set again.")

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_pixels"}

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        return np.memmap(self.path / PIXELS, dtype=np.uint8, mode="r")

    def read(self, i: int) -> NDArray[np.uint8]:
        """Image i as a read-only view of the file: (H, W) for greyscale, else (H, W, 3)."""
        height, width, channels = self.shapes[i]
        start = self._offsets[i]
        view = self._pixels[start : start + height * width * channels]
        return view.reshape((height, width) if channels == 1 else (height, width, channels))

    def verify(self) -> None:
        """Raise SisrError where the pixels' SHA-256 is not that of the index."""
        with (self.path / PIXELS).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.index["sha256"]:
            raise SisrError(f"{self.path / PIXELS} was changed after it was prepared; prepare the set again.")


def write(
    path: str | Path,
    images: Iterable[tuple[str, NDArray[np.uint8]]],
    facts: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
) -> ImageStore:
    """Write images to a new store, with one image in memory at a time; an existing store is replaced at the end.

    Args:
        images: (name, uint8 (H, W) or (H, W, 3)), in the order of the store.
        facts: other entries of the index (source, how LR was made); a function is called after the last image.

    Raises SisrError where there is no image, an image is not uint8, or the disk is full; nothing is stored then.
    """
    check_writable(path, folder=True)
    with temporary_folder(path) as temporary:
        return _write(temporary, Path(path), images, facts)


def _write(
    temporary: Path,
    path: Path,
    images: Iterable[tuple[str, NDArray[np.uint8]]],
    facts: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
) -> ImageStore:
    try:
        entries, offset, digest = [], 0, hashlib.sha256()
        with atomic_write(temporary / PIXELS) as target, target.open("wb") as file:
            for name, image in images:
                if image.dtype != np.uint8 or image.ndim not in (2, 3):
                    raise SisrError(f"a store needs uint8 images, but {name} is {image.dtype} {image.shape}.")
                data = np.ascontiguousarray(image)
                size = dict(zip(("height", "width", "channels"), (*data.shape, 1), strict=False))
                entries.append({"name": name, **size, "offset": offset})
                file.write(data.data)
                digest.update(data.data)
                offset += data.nbytes
        if not entries:
            raise SisrError(f"there is no image to write to {path}.")
        if callable(facts):
            facts = facts()
        index = {"schema": SCHEMA, **facts, "sha256": digest.hexdigest(), "images": entries}
        with atomic_write(temporary / INDEX) as target:
            target.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        replace_folder(temporary, path)
    except OSError as error:
        raise SisrError(f"{path} cannot be written ({error.strerror or error}).") from error
    return ImageStore(path)


def replace_folder(new: Path, path: Path) -> None:
    """Move folder `new` to `path`; an existing folder is moved aside first and deleted last."""
    new.chmod(0o755)  # mkdtemp creates folders that only their owner can enter
    if not path.exists():
        new.rename(path)
        return
    with temporary_folder(path) as aside:
        path.rename(aside / "old")
        new.rename(path)


class PairedStore:
    """HR and LR images of one prepared set, such as data/prepared/Set5: `root/hr` and `root/x<scale>`.

    Raises SisrError where a store is missing, or the two do not match.
    """

    def __init__(self, root: str | Path, scale: int) -> None:
        self.root, self.scale = Path(root), scale
        self._hr, self._lr = ImageStore(self.root / "hr"), ImageStore(self.root / f"x{scale}")
        if self._hr.names != self._lr.names:
            raise SisrError(f"hr and x{scale} of {self.root} contain different images; prepare both again.")
        for name, hr, lr in zip(self._hr.names, self._hr.shapes, self._lr.shapes, strict=True):
            if problem := lr_problem(lr, hr, scale):
                raise SisrError(
                    f"LR of {name} is {lr} and HR is {hr}, which is not scale {scale} ({problem}); "
                    f"prepare {self.root} again."
                )

    def __len__(self) -> int:
        return len(self._hr)

    @property
    def name(self) -> str:
        """The set's name, which is the name of its folder."""
        return self.root.resolve().name

    @property
    def names(self) -> list[str]:
        """The images' names without suffix, e.g. "baby"."""
        return self._hr.names

    @property
    def made(self) -> dict[str, Any]:
        """How LR was made, from the LR index."""
        return dict(self._lr.index.get("lr") or {})

    @property
    def verified(self) -> dict[str, Any] | None:
        """Result of the comparison with the catalogue, from the HR index; None if the set is not in it."""
        return self._hr.index.get("verified")

    def check(self, i: int) -> tuple[int, int]:
        """Height and width of HR image i as `hr` returns it; that they fit is checked when the stores are opened."""
        height, width, _ = self._lr.shapes[i]
        return height * self.scale, width * self.scale

    def hr(self, i: int) -> NDArray[np.uint8]:
        height, width, _ = self._lr.shapes[i]
        return self.whole_hr(i)[: height * self.scale, : width * self.scale]

    def whole_hr(self, i: int) -> NDArray[np.uint8]:
        """HR image i, not cropped."""
        return self._hr.read(i)

    def lr(self, i: int) -> NDArray[np.uint8]:
        return self._lr.read(i)
