"""Atomic writing, checksums, JSON files of a run."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sisr.utils.errors import SisrError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


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


def check_writable(path: str | Path, *, folder: bool = False) -> None:
    """Raise SisrError unless a file can be written to `path`, or files into it if it is a `folder`.

    For the beginning of a long computation. Nothing is left behind, and missing folders are not created.
    """
    path = Path(path)
    try:
        if not folder and path.is_dir():
            raise SisrError(f"{path} is a folder; name a file in it.")
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()  # fails for a name that is too long
        parent = path if folder else path.parent
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent
        if not parent.is_dir():
            raise SisrError(f"{path} cannot be written: {parent} is not a folder.")
        with tempfile.TemporaryFile(dir=parent) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        raise SisrError(f"{path} cannot be written ({error.strerror or error}); choose another output.") from error


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
