"""The files that a store of one's own folder of images is made from, for the workflow.

Only the standard library is used, so that the workflow can be planned without torch.
"""

import json
from pathlib import Path

from sisr.utils.files import IMAGE_SUFFIXES


def store_sources(folder: str, store: str, index: Path) -> list[str]:
    """Image files that a store is made from: an image overwritten, added or removed changes its inputs.

    Args:
        folder: `data.folders` of a preset names it.
        store: "hr", or "x4" for LR images.
        index: `index.json` of the store. A store of version 0.1, whose index lists no files, has the folder as its only
            input as long as nothing changed: other inputs would train again.
    """
    hr = _inner(Path(folder), "hr") or Path(folder)
    files = _images(hr)
    if store != "hr" and (lr := _inner(Path(folder), "lr_bicubic")) and (of_scale := _inner(lr, store)):
        files += _images(of_scale)
    return [folder] if _unchanged(index, files, len(_images(hr))) else [str(file) for file in files]


def _inner(folder: Path, name: str) -> Path | None:
    return next((path for path in sorted(folder.iterdir()) if path.name.lower() == name and path.is_dir()), None)


def _images(folder: Path) -> list[Path]:
    """As `sisr.data.image_files.list_images`."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _unchanged(index: Path, files: list[Path], images: int) -> bool:
    """Whether this is the complete store of an earlier version."""
    try:
        content = json.loads(index.read_text())
        made = index.stat().st_mtime
    except (OSError, ValueError):
        return False
    if not isinstance(content, dict) or "files" in content or len(content.get("images", [])) != images:
        return False
    return all(file.stat().st_mtime <= made for file in files)
