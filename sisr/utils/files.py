"""Atomic writing, checksums, JSON files of a run."""

import glob
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from sisr.utils.errors import SisrError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed, on error removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(path.parent, path.stem)
    # keep the suffix: pandas, numpy and matplotlib choose the format by it
    handle, name = tempfile.mkstemp(prefix=_prefix(path.stem), suffix=path.suffix, dir=path.parent)
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


@contextmanager
def temporary_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which is removed at the end."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(path.parent, path.name)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(path.name), dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_over(folder: Path, name: str) -> None:
    """Remove temporary files and folders for `name` that processes of this machine left when they were killed."""
    for path in folder.glob(f"{glob.escape(_prefix(name, ''))}*"):
        owner = path.name.removeprefix(_prefix(name, "")).partition(".")[0]
        if not owner.isdecimal() or int(owner) == os.getpid():
            continue
        with suppress(OSError, psutil.Error):
            if psutil.pid_exists(int(owner)) and psutil.Process(int(owner)).create_time() <= path.stat().st_mtime:
                continue  # still running; a younger process only has the same number
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _prefix(name: str, process: str | None = None) -> str:
    """Beginning of the names of temporary files: it contains the machine and the process."""
    machine = re.sub(r"[^A-Za-z0-9]", "", platform.node())[:20]
    return f".{name}.{machine}-" + (f"{os.getpid()}." if process is None else process)


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


def image_paths(folder: Path) -> list[Path]:
    """Image files directly in a folder, sorted by name, without hidden files."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def is_file(path: Path) -> bool:
    """Whether a path is a file; False, too, for a name that the file system cannot hold or does not show."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a path is a folder that can be listed."""
    try:
        return path.is_dir() and os.access(path, os.R_OK | os.X_OK)
    except (OSError, ValueError):
        return False


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_run_json(file: Path, kind: type = dict) -> Any:
    """A run's configuration or provenance. Raises SisrError where the file is missing, or not JSON of this kind."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SisrError(f"{file} does not exist; train this run first, or leave it out.") from error
    except ValueError as error:
        raise SisrError(f"{file} is not JSON ({error}); train this run again.") from error
    if not isinstance(content, kind):
        raise SisrError(f"{file} holds no record of a run; train this run again.")
    return content
