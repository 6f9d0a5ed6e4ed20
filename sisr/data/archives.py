"""Safe unpacking of untrusted archives."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from sisr.utils.errors import SisrError
from sisr.utils.files import IMAGE_SUFFIXES

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
RESERVE = 64 << 20
"""Free disk space to keep, in bytes."""

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    link: bool
    folder: bool
    open: Callable[[], Any]


def is_archive(path: Path) -> bool:
    """Whether a file name has the suffix of a supported archive."""
    return path.name.lower().endswith(ENDINGS)


def unpack(
    archive: str | Path,
    folder: str | Path,
    wanted: Callable[[PurePosixPath], bool] = lambda _: True,
    quiet: bool = True,
) -> list[Path]:
    """Unpack the images of a zip or tar archive into a folder.

    Other files are skipped. Nothing is written if any image is a link or device or has a name outside of the folder
    (absolute, "..", a drive letter).

    archive: a file with one of the suffixes `ENDINGS`. wanted: selects images by their path in the archive.
    Returns the files written, in the archive's order.
    Raises SisrError where the archive is damaged, unsafe, not an archive, or larger than the free disk space.
    """
    archive, folder = Path(archive), Path(folder)
    written = []
    try:
        with _members(archive) as members:
            chosen: list[tuple[PurePosixPath, _Member]] = []
            for member in members:
                path = PurePosixPath(member.name)
                if member.folder or path.suffix.lower() not in IMAGE_SUFFIXES:
                    continue
                _check(member, archive)
                if not _is_clutter(path) and wanted(path):
                    chosen.append((path, member))
            check_space(folder, sum(member.size for _, member in chosen), f"to unpack {archive.name}")
            bar = tqdm(chosen, desc=f"unpack {archive.name}", unit="image", leave=False, disable=quiet or None)
            for path, member in bar:
                target = folder.joinpath(*path.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                if target.stat().st_size != member.size:
                    raise SisrError(f"{archive} is damaged: {member.name} is truncated.")
                written.append(target)
    except _DAMAGE as error:
        raise SisrError(f"{archive} is damaged or not an archive ({error}).") from error
    except FileNotFoundError as error:
        raise SisrError(f"there is no file {archive}.") from error
    except OSError as error:
        raise SisrError(f"{archive} cannot be unpacked into {folder} ({error.strerror or error}).") from error
    return written


def check_space(folder: Path, size: int, purpose: str) -> None:
    """Raise SisrError if the disk of a folder has less than `size` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size + RESERVE:
        raise SisrError(
            f"the disk of {folder} has {free / 1e6:,.0f} MB free, "
            f"but {(size + RESERVE) / 1e6:,.0f} MB are needed {purpose}."
        )


@contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            # check the stored name: ZipFile replaces backslashes and null bytes in `filename`
            yield [
                _Member(
                    entry.orig_filename,
                    entry.file_size,
                    stat.S_ISLNK(entry.external_attr >> 16),
                    entry.is_dir(),
                    partial(file.open, entry),
                )
                for entry in file.infolist()
            ]
    else:
        with tarfile.open(archive) as tar:
            yield [
                _Member(
                    entry.name,
                    entry.size,
                    not (entry.isreg() or entry.isdir()),
                    entry.isdir(),
                    partial(tar.extractfile, entry),
                )
                for entry in tar.getmembers()
            ]


def _is_clutter(path: PurePosixPath) -> bool:
    """Whether a file is metadata of macOS or of an editor."""
    return "__MACOSX" in path.parts or path.name.startswith(".")


def _check(member: _Member, archive: Path) -> None:
    name = member.name
    parts = PurePosixPath(name.replace("\\", "/")).parts
    unsafe = member.link or name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name
    if unsafe or "\\" in name:
        kind = "is a link or device" if member.link else "is outside of its folder"
        raise SisrError(f"{archive} is unsafe and was not unpacked: {name!r} {kind}.")
