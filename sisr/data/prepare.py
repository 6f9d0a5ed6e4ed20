"""From image files to image stores: decodes images once and creates LR images."""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from sisr.data.catalog import Dataset
from sisr.data.image_files import image_shape, list_images, match_files, plain_name, read_image, subfolder
from sisr.data.imresize import imresize
from sisr.data.store import INDEX, ImageStore, write
from sisr.data.verify import LrOrigin, check, check_lr, check_lr_shape
from sisr.utils.errors import SisrError
from sisr.utils.files import check_writable

_HR_MARKS = re.compile(r"(?:[_-]?x\d|[_-](?:HR|GT|SRF_\d))+", re.IGNORECASE)


def hr_files(folder: str | Path) -> dict[str, Path]:
    """HR image files of a set's folder by name: those in its `HR` folder, or else in the folder itself.

    A suffix of all files (baby_HR.png, bird_HR.png …) is not part of their names. Raises SisrError without images.
    """
    if not Path(folder).is_dir():
        raise SisrError(f"there is no folder {folder}.")
    inner = subfolder(folder, "HR") or Path(folder)
    files = list_images(inner)
    if not files:
        raise SisrError(f"there are no images in {inner}.")
    marks = {path.stem[len(plain_name(path.stem)) :] for path in files}
    mark = marks.pop() if len(marks) == 1 else ""
    # a single file called size_x4 may be an image of this name
    if not _HR_MARKS.fullmatch(mark) or (len(files) == 1 and not re.search("HR|GT", mark, re.IGNORECASE)):
        mark = ""
    names = [path.stem.removesuffix(mark) for path in files]
    if len(set(names)) < len(names):
        raise SisrError(f"{inner} contains {max(names, key=names.count)} in two file formats; keep one.")
    return dict(zip(names, files, strict=True))


def lr_files(folder: str | Path, scale: int, names: Iterable[str]) -> dict[str, Path] | None:
    """The included LR images by name (`LR_bicubic/X4/babyx4.png` is "baby"), or None without a folder of this scale.

    Raises SisrError where an image has no LR or two, or a file may be of two images.
    """
    outer = subfolder(folder, "LR_bicubic")
    inner = subfolder(outer, f"X{scale}") if outer else None
    if inner is None:
        return None
    names = list(names)
    files = match_files(list_images(inner), names, scale, "LR")
    if missing := [name for name in names if name not in files]:
        raise SisrError(
            f"{folder} includes LR images for x{scale}, but not for {', '.join(missing[:5])}; "
            f"complete or remove {inner.parent.name}/{inner.name}."
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
    _check_output(output, sum(prod(image_shape(path)) for path in files.values()))
    names = [path.name for path in files.values()]
    facts = {"source": str(folder), "kind": "hr", "files": names, "verified": _verify(files, dataset)}
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
    # what the headers show is checked before anything is decoded
    shapes = {name: image_shape(path) for name, path in files.items()}
    for name, path in files.items():
        if included is not None:
            check_lr_shape(image_shape(included[name]), shapes[name], scale, (included[name], path))
        elif min(shapes[name][:2]) < scale:
            raise SisrError(
                f"{path}: an image of {shapes[name][0]} x {shapes[name][1]} is too small for scale {scale}."
            )
    _check_output(output, sum(prod(shape) for shape in shapes.values()) // scale**2)
    verified = _verify(files, dataset)
    origin = LrOrigin()

    def images() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for name, path in files.items():
            hr = read_image(path)
            if included is None:
                yield name, reduce(hr, scale, boundary)
                continue
            lr = read_image(included[name])
            check_lr(hr, lr, scale, (included[name], path))
            origin.add(hr, lr, scale)
            yield name, lr

    def facts() -> dict[str, Any]:
        made: dict[str, Any] = {"from": "imresize", "boundary": boundary}
        if included is not None:
            made = {"from": "the set's own LR_bicubic", **origin.facts()}
        names = [path.name for path in files.values()]
        return {
            "source": str(folder), "kind": f"x{scale}", "scale": scale, "files": names, "lr": made,
            "verified": verified,
        }  # fmt: skip

    return write(output, images(), facts)


def prepare_missing(folder: str | Path, scale: int, prepared: Path) -> str:
    """Prepare a folder of images for training where that is not done yet, or where an image was changed since.

    The stores `<prepared>/<name>/hr` and `/x<scale>` are those of `prepare_hr` and `prepare_lr`; several processes may
    call this at once. prepared: folder of the prepared sets.

    Returns the set's name, which is that of the folder.
    Raises SisrError where there are no images, one cannot be read, or another folder's images have this name.
    """
    name = set_name(folder)
    output = prepared / name
    check_writable(output, folder=True)
    output.mkdir(parents=True, exist_ok=True)
    with FileLock(output / ".lock"):
        for store, prepare in (
            ("hr", lambda path: prepare_hr(folder, path)),
            (f"x{scale}", lambda path: prepare_lr(folder, scale, path)),
        ):
            if not _is_current(folder, output / store, scale):
                prepare(output / store)
    return name


def _is_current(folder: str | Path, store: Path, scale: int) -> bool:
    """Whether a store was made from these images as they are now. Raises SisrError where it is another folder's."""
    try:
        index = json.loads((store / INDEX).read_text())
        made = (store / INDEX).stat().st_mtime
    except (OSError, ValueError):
        return False
    if Path(index.get("source", "")).resolve() != Path(folder).resolve():
        raise SisrError(
            f"{store} was prepared from {index.get('source')}, not from {folder}; rename the folder, or choose another "
            "folder for the prepared sets."
        )
    files = hr_files(folder)
    if store.name != "hr":
        files = files | {f"{name} LR": path for name, path in (lr_files(folder, scale, files) or {}).items()}
    names = [path.name for path in hr_files(folder).values()]
    return index.get("files") == names and all(path.stat().st_mtime <= made for path in files.values())


def set_name(path: str | Path) -> str:
    """Name of a set in file names: its folder's name, or the parent's if the folder is "HR"."""
    path = Path(path).resolve()
    return path.parent.name if path.name.lower() in ("hr", "original") else path.name


def _check_output(output: str | Path, size: int) -> None:
    """Raise SisrError if a store of this many bytes cannot be written, before anything is decoded."""
    check_writable(output, folder=True)
    folder = next(each for each in Path(output).absolute().parents if each.exists())
    if (free := shutil.disk_usage(folder).free) < size:
        raise SisrError(
            f"{output} needs {size / 1e6:,.1f} MB, but {folder} has {free / 1e6:,.1f} MB free; "
            "free space or choose another output."
        )


def _verify(files: dict[str, Path], dataset: Dataset | None) -> dict[str, Any] | None:
    """Compare with the catalogue: by pixels if it has hashes, else by names or number."""
    if dataset is None:
        return None
    report = check(files, dataset)
    if not report.complete:
        raise SisrError(f"{report}; fetch it again, or rename the folder if it is another set.")
    return {"set": dataset.name, "images": len(report.found), "checked": report.checked, "notes": report.notes}
