"""Atomic writing, checksums, JSON files of a run."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sisr.utils.errors import SisrError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_PROBE = 64 << 10  # bytes that are written to see whether a disk is full


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed, on error removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # keep the suffix: pandas, numpy and matplotlib choose the format by it
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp creates files that only their owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path, size: int = 0) -> None:
    """Raise SisrError if a file or folder cannot be written, before anything is computed; nothing is left behind.

    path: an output, which need not exist, nor the folders above it. size: bytes that will be written, if known.
    """
    path = Path(path)
    try:
        folder = path.absolute()
        while not folder.exists() or (folder.is_file() and folder == path.absolute()):
            folder = folder.parent
        if not folder.is_dir():
            raise SisrError(f"{path} cannot be written: {folder} is a file, not a folder.")
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise SisrError(f"{path} cannot be written ({error.strerror or error}); choose another output.") from error
    if free < size:
        raise SisrError(
            f"{path} needs {size / 1e6:,.0f} MB, but {folder} has {free / 1e6:,.0f} MB free; "
            "choose another output or free space."
        )


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_run_json(file: Path) -> dict[str, Any]:
    """A run's configuration or provenance. Raises SisrError where the file is missing or not JSON."""
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise SisrError(f"{file} does not exist; train this run first, or remove it from --runs.") from error
    except ValueError as error:
        raise SisrError(f"{file} is not JSON ({error}); train this run again.") from error
    return content
