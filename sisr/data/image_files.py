"""Reading, listing and naming image files."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sisr.data.decode import open_image
from sisr.utils.errors import SisrError
from sisr.utils.files import image_paths


def list_images(folder: str | Path) -> list[Path]:
    """Image files directly in a folder, sorted by name, without hidden files. Raises SisrError without the folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise SisrError(f"there is no folder {folder}.")
    return image_paths(folder)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Decode an image to uint8: (H, W) if the file is greyscale, else (H, W, 3) RGB.

    Palettes are resolved, EXIF orientation is applied, an alpha channel is dropped.

    Raises:
        SisrError: the file is missing, damaged or not an image, has more than 8 bits a channel, or several pages.
    """
    with open_image(path) as image:
        if image.bits > 8:
            raise SisrError(
                f"{path} has {image.bits} bits a channel ({image.mode}); training and evaluation need 8, "
                "convert it to 8 bits first."
            )
        if image.frames > 1:
            raise SisrError(f"{path} has {image.frames} pages or frames; save the one to use as a file of its own.")
        return image.decode().pixels


def image_shape(path: str | Path) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) that `read_image` will return, from the file's header.

    Raises SisrError where the file is missing or not an image.
    """
    with open_image(path) as image:
        return image.shape


def pixel_hash(image: NDArray[Any]) -> str:
    """SHA-256 over an image's size and pixels, independent of the file format.

    The input is the ASCII text "HxWxC" (C = 1 for greyscale), followed by the uint8 pixels row by row.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}x{channels}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def subfolder(folder: str | Path, name: str) -> Path | None:
    """A folder's folder of this name in any case (`LR_bicubic`, `X4` or `x4`), or None. Raises SisrError for two."""
    fitting = [path for path in sorted(Path(folder).iterdir()) if path.name.lower() == name.lower() and path.is_dir()]
    if len(fitting) > 1:
        raise SisrError(f"{fitting[0]} and {fitting[1]} differ only in case; keep one.")
    return fitting[0] if fitting else None


def plain_name(stem: str, scale: int | None = None) -> str:
    """An image's name without the suffixes of LR and SR files: "babyx4", "baby_x4_SR", "baby_RCAN_x4" give "baby".

    scale: if given, only suffixes of this scale are removed.
    """
    number = r"\d" if scale is None else str(scale)
    mark = rf"(?:[_-]?x{number}|[_-](?:SR|HR|LR|GT|out|bicubic|SRF_{number})|_x{number}[_-]\w+)$"
    while (shorter := re.sub(mark, "", stem, flags=re.IGNORECASE)) not in (stem, ""):
        stem = shorter
    return stem


def match_name(stem: str, names: Iterable[str], scale: int) -> str | None:
    """Name of the image of which a file is an SR (or LR): the longest prefix, followed by nothing or by known suffixes.

    "baby", "babyx4", "baby_x4_SR", "baby_RCAN_x4" and "baby_bicLRx4" are an SR or LR of "baby" at x4; "baby_x2",
    "babylon" are not.
    """
    return max((name for name in names if _belongs(stem, name, scale)), key=len, default=None)


def match_files(files: Iterable[Path], names: Sequence[str], scale: int, kind: str) -> dict[str, Path]:
    """Files by the name of the image of which they are an SR or LR; other files and other scales are left out.

    A suffix that every image has a file with decides: for `size` and `size_x4`, files with `_SR` or with `_x4`. Without
    one, each file belongs to the image of `match_name`.

    kind: "SR" or "LR", for messages.
    Raises SisrError where two files are of one image, or a file may be of two.
    """
    fitting = {path: fits for path in files if (fits := [name for name in names if _belongs(path.stem, name, scale)])}
    stems = {path.stem for path in fitting}
    shared = {stem[len(names[0]) :] for stem in stems if _belongs(stem, names[0], scale)} if names else set()
    for name in names:
        shared = {suffix for suffix in shared if name + suffix in stems}
    # with a suffix of all images, a file is of the image that it completes
    completed = {name + suffix: name for suffix in shared for name in names} if len(shared) == 1 else {}
    found: dict[str, Path] = {}
    for path, fits in fitting.items():
        name = completed.get(path.stem) or max(fits, key=len)  # as match_name
        if name in found:
            raise SisrError(
                f"{found[name].name} and {path.name} in {path.parent} are both an {kind} of {name} at x{scale}; "
                "keep one."
            )
        found[name] = path
    for name, path in found.items():
        if missing := next((other for other in fitting[path] if other not in found), None):
            raise SisrError(
                f"{path.parent} has no {kind} of {missing} at x{scale}, unless it is {path.name}, which is taken as "
                f"{name} with {_suffix(path, name)} but could be {missing} with {_suffix(path, missing)}; "
                "give all files one suffix."
            )
    return found


def _suffix(path: Path, name: str) -> str:
    suffix = path.stem[len(name) :]
    return f"the suffix {suffix}" if suffix else "no suffix"


def _belongs(stem: str, name: str, scale: int) -> bool:
    """Whether a file name is an image's name with nothing or a known suffix after it, and no other scale."""
    suffix = stem[len(name) :]
    if not stem.startswith(name) or not re.fullmatch(r"|[_\-. ].*|[xX]\d+([_\-. ].*)?", suffix, re.DOTALL):
        return False
    # x4, SRF_4, and RCANx4 or bicLRx4, but not max4
    marks = re.findall(r"(?:(?:^|[_\-. ])(?:[xX]|SRF_)|(?<=[A-Z])x)(\d+)(?![^_\-. ])", suffix)
    return all(int(number) == scale for number in marks)
