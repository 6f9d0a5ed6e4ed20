"""Folder layouts of published image sets: Set5/HR, Set5/original, GTmod12, image_SRF_4/*_HR.png, flat …"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sisr.data.catalog import Dataset
from sisr.data.image_files import plain_name
from sisr.utils.files import image_paths

_LR_FOLDER = re.compile(r"lr.*|.*_lr(_.*)?|x\d+", re.IGNORECASE)
_OUTPUT = re.compile(r".*_SRF_\d+_(?!HR$|LR$)\w+", re.IGNORECASE)  # results of methods in Huang's archives
_RANKS = {"hr": 0, "original": 0, "gt": 1, "gtmod12": 4}


@dataclass(frozen=True)
class Group:
    """Images of one folder that belong together."""

    folder: Path
    files: tuple[Path, ...]
    scale: int | None
    """Of LR images; None for HR."""
    rank: int
    """Groups of a lower rank are more likely the whole HR images."""


def groups(root: Path, dataset: Dataset) -> list[Group]:
    """HR and LR groups below a folder, those of this set if its name appears in any path, best ranked first."""
    folders = {folder: paths for folder in _folders(root) if (paths := image_paths(folder))}
    all_groups = [group for folder, paths in folders.items() for group in _split(folder, paths, root)]
    of_set = [group for group in all_groups if _mentions(group.folder, root, dataset)]
    return sorted(of_set or all_groups, key=lambda group: (group.rank, str(group.folder)))


def _folders(root: Path) -> Iterator[Path]:
    """A folder and all below it, by links as well; each folder once, so that a circle of links ends."""
    visited = set()
    for name, below, _ in os.walk(root, followlinks=True):
        if (real := os.path.realpath(name)) in visited:
            below.clear()
            continue
        visited.add(real)
        below.sort()
        yield Path(name)


def _mentions(folder: Path, root: Path, dataset: Dataset) -> bool:
    return any(part.lower() in dataset.calls for part in folder.relative_to(root).parts)


def _split(folder: Path, paths: list[Path], root: Path) -> list[Group]:
    """Split the images of one folder into HR and LR."""
    parts = folder.relative_to(root).parts or (folder.name,)
    marked = {mark: [p for p in paths if p.stem.upper().endswith(f"_{mark}")] for mark in ("HR", "LR")}
    if marked["HR"] and marked["LR"]:
        scale = _scale(parts) or _scale(tuple(paths[0].stem.split("_HR")[0].rsplit("_", 1)))
        result = [Group(folder, tuple(marked["HR"]), None, 2 + (10 - min(scale or 0, 9)))]
        return [*result, Group(folder, tuple(marked["LR"]), scale, 0)] if scale else result
    plain = tuple(path for path in paths if not _OUTPUT.fullmatch(path.stem))
    if not plain:
        return []
    if any(_LR_FOLDER.fullmatch(part) for part in parts) or marked["LR"]:
        scale = _scale(parts) or _scale_of_names(plain)
        return [Group(folder, plain, scale, 0)] if scale else []
    last = parts[-1].lower()
    rank = _RANKS.get(last, 0 if last.endswith("_hr") else 2)
    if srf := _scale(parts):
        rank = 2 + (10 - srf)  # HR beside an LR of this scale is cropped to its multiple: x4 before x3 before x2
    return [Group(folder, plain, None, rank)]


def _scale(parts: tuple[str, ...]) -> int | None:
    for part in reversed(parts):
        if match := re.fullmatch(r"(?:.*[_-])?(?:x|srf_?|lrbicx)(\d)|x(\d)", part, re.IGNORECASE):
            return int(match[1] or match[2])
    return None


def _scale_of_names(paths: tuple[Path, ...]) -> int | None:
    """The scale that all file names end in, as babyx4.png."""
    scales = {match[1] if (match := re.search(r"x(\d)$", path.stem, re.IGNORECASE)) else None for path in paths}
    scale = scales.pop() if len(scales) == 1 else None
    return int(scale) if scale else None


def key(path: Path) -> str:
    """The common part of the names of HR and LR of one image."""
    return re.sub(r"[_-]?SRF[_-]?\d$", "", plain_name(path.stem), flags=re.IGNORECASE).lower()
