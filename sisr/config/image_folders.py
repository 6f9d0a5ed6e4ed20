"""The files that a store of one's own folder of images is made from, for the workflow.

Only the standard library is used, so that the workflow can be planned without torch.
"""

import json
from pathlib import Path

from sisr.utils.files import image_paths


def store_sources(folder: str, store: str, index: Path) -> list[str]:
    """Image files that a store is made from: an image overwritten, added or removed changes its inputs.

    Args:
        folder: `data.folders` of a preset names it.
        store: "hr", or "x4" for LR images.
        index: `index.json` of the store. A store of version 0.1, whose index lists no files, has the folder as its only
            input as long as nothing changed: other inputs would train again.
    """
    hr = _inner(Path(folder), "hr") or Path(folder)
    files = images = image_paths(hr)
    if store != "hr" and (lr := _inner(Path(folder), "lr_bicubic")) and (of_scale := _inner(lr, store)):
        files = images + image_paths(of_scale)
    return [folder] if _unchanged(index, files, len(images)) else [str(file) for file in files]


def _inner(folder: Path, name: str) -> Path | None:
    return next((path for path in sorted(folder.iterdir()) if path.name.lower() == name and path.is_dir()), None)


def _unchanged(index: Path, files: list[Path], images: int) -> bool:
    """Whether this is the complete store of an earlier version."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        made = index.stat().st_mtime
    except (OSError, ValueError):
        return False
    if not isinstance(content, dict) or "files" in content or len(content.get("images", [])) != images:
        return False
    return all(file.stat().st_mtime <= made for file in files)
