"""Where the code of a mechanism lies that is not registered here, found without importing it."""

import sys
from pathlib import Path


def source(attention: str | None, root: Path = Path()) -> Path | None:
    """The file that holds the class of `package.module:Class` or `file.py:Class`, relative to `root` where it is below.

    None for a registered name and for a module that is nowhere on the path. Nothing is imported.
    """
    location, colon, _ = (attention or "").rpartition(":")
    if not colon:
        return None
    if location.endswith(".py"):
        return Path(location)
    parts = location.split(".")
    for folder in (root, *map(Path, sys.path)):
        for file in (folder.joinpath(*parts).with_suffix(".py"), folder.joinpath(*parts, "__init__.py")):
            if file.is_file():
                return file.relative_to(root) if folder == root else file
    return None
