"""Reading, listing and naming image files."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sisr.data.decode import open_image
from sisr.utils.errors import SisrError
from sisr.utils.files import IMAGE_SUFFIXES


def list_images(folder: str | Path) -> list[Path]:
    """Image files directly in a folder, sorted by name, without hidden files. Raises SisrError without the folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise SisrError(f"there is no folder {folder}.")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


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

    "baby", "babyx4", "baby_x4_SR" and "baby_RCAN_x4" are an SR of "baby" at x4; "baby_x2", "babylon" are not.
    """
    fitting = [
        name
        for name in names
        if stem.startswith(name) and re.fullmatch(r"|[_\-. ].*|x\d+([_\-. ].*)?", stem[len(name) :], re.IGNORECASE)
    ]
    if not fitting:
        return None
    name = max(fitting, key=len)
    scales = re.findall(r"(?:^|[_\-. ])(?:x|SRF_)(\d+)(?![^_\-. ])", stem[len(name) :], re.IGNORECASE)
    return name if all(int(number) == scale for number in scales) else None
