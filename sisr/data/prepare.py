"""From image files to image stores: decodes images once and creates LR images."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sisr.data.catalog import Dataset
from sisr.data.image_files import list_images, plain_name, read_image
from sisr.data.imresize import imresize
from sisr.data.store import ImageStore, write
from sisr.data.verify import LrOrigin, check
from sisr.utils.errors import SisrError


def hr_files(folder: str | Path) -> dict[str, Path]:
    """HR image files of a set's folder by name: those in its `HR` folder, or else in the folder itself.

    A suffix of all files (baby_HR.png, bird_HR.png …) is not part of their names. Raises SisrError without images.
    """
    folder = Path(folder)
    inner = folder / "HR" if (folder / "HR").is_dir() else folder
    files = list_images(inner)
    if not files:
        raise SisrError(f"there are no images in {inner}.")
    plain = [plain_name(path.stem) for path in files]
    marked = len(set(plain)) == len(files) and all(name != path.stem for name, path in zip(plain, files, strict=True))
    names = plain if marked else [path.stem for path in files]
    if len(set(names)) < len(names):
        raise SisrError(f"{inner} contains {max(names, key=names.count)} in two file formats; keep one.")
    return dict(zip(names, files, strict=True))


def lr_files(folder: str | Path, scale: int, names: Iterable[str]) -> dict[str, Path] | None:
    """The included LR images by plain name (`LR_bicubic/X4/babyx4.png` is "baby"), or None.

    Raises SisrError where only some of the images with these names have one.
    """
    inner = Path(folder) / "LR_bicubic" / f"X{scale}"
    if not inner.is_dir():
        return None
    files = {plain_name(path.stem, scale): path for path in list_images(inner)}
    if missing := [name for name in names if name not in files]:
        raise SisrError(
            f"{folder} includes LR images for x{scale}, but not for {', '.join(missing[:5])}; "
            f"complete or remove LR_bicubic/X{scale}."
        )
    return files


def crop(image: NDArray[Any], scale: int) -> NDArray[Any]:
    """Crop an image at the right and the bottom to a multiple of the scale. Raises SisrError if nothing is left."""
    height, width = (side - side % scale for side in image.shape[:2])
    if not height or not width:
        raise SisrError(f"an image of {image.shape[0]} x {image.shape[1]} is too small for scale {scale}.")
    return image[:height, :width]


def reduce(hr: NDArray[np.uint8], scale: int, boundary: str = "symmetric") -> NDArray[np.uint8]:
    """LR of an HR image: cropped to a multiple of the scale, then reduced as in MATLAB."""
    return imresize(crop(hr, scale), Fraction(1, scale), boundary)


def prepare_hr(folder: str | Path, output: str | Path, dataset: Dataset | None = None) -> ImageStore:
    """Decode a set's HR images (`hr_files`) into a store, one at a time, after comparing them with the catalogue's set.

    Raises SisrError where there are no images, one cannot be read, or they are not those of the set.
    """
    files = hr_files(folder)
    facts = {"source": str(folder), "kind": "hr", "verified": _verify(files, dataset)}
    return write(output, ((name, read_image(path)) for name, path in files.items()), facts)


def prepare_lr(
    folder: str | Path,
    scale: int,
    output: str | Path,
    boundary: str = "symmetric",
    dataset: Dataset | None = None,
) -> ImageStore:
    """Write a set's LR images to a store: the included ones (`lr_files`), else reduced HR; one image at a time.

    The entry "lr" of the store's index states the origin of LR; for included LR also whether all of it equals HR
    reduced by MATLAB, and with which border. boundary: border of `imresize`, if LR is made here.
    """
    files = hr_files(folder)
    included = lr_files(folder, scale, files)
    verified = _verify(files, dataset)
    origin = LrOrigin()

    def images() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for name, path in files.items():
            hr = read_image(path)
            if included is None:
                try:
                    yield name, reduce(hr, scale, boundary)
                except SisrError as error:
                    raise SisrError(f"{path}: {error}") from error
                continue
            lr = read_image(included[name])
            if lr.shape[0] * scale > hr.shape[0] or lr.shape[1] * scale > hr.shape[1] or lr.ndim != hr.ndim:
                raise SisrError(f"{included[name]} is {lr.shape}, which is not its HR image {hr.shape} at x{scale}.")
            origin.add(hr, lr, scale)
            yield name, lr

    def facts() -> dict[str, Any]:
        made: dict[str, Any] = {"from": "imresize", "boundary": boundary}
        if included is not None:
            made = {"from": "the set's own LR_bicubic", **origin.facts()}
        return {"source": str(folder), "kind": f"x{scale}", "scale": scale, "lr": made, "verified": verified}

    return write(output, images(), facts)


def _verify(files: dict[str, Path], dataset: Dataset | None) -> dict[str, Any] | None:
    """Compare with the catalogue: by pixels if it has hashes, else by names or number."""
    if dataset is None:
        return None
    report = check(files, dataset)
    if not report.complete:
        raise SisrError(f"{report}; fetch it again, or rename the folder if it is another set.")
    return {"set": dataset.name, "images": len(report.found), "checked": report.checked, "notes": report.notes}
