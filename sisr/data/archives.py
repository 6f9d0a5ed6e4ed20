"""Safe unpacking of untrusted archives."""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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

_BOMB = 1 << 30
"""Unpacked bytes from which on the compression is compared with that of images."""
_COMPRESSION = 200


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
    (absolute, "..", a drive letter). After an error, what was written is removed.

    archive: a file with one of the suffixes `ENDINGS`. wanted: selects images by their path in the archive.
    Returns the files written, in the archive's order.
    Raises SisrError where the archive is damaged, unsafe, not an archive, or larger than the free disk space.
    """
    archive, folder = Path(archive), Path(folder)
    with _removed_on_error(folder) as written:
        try:
            _unpack(archive, folder, wanted, quiet, written)
        except SisrError:
            raise
        except FileNotFoundError as error:
            if archive.is_file():
                raise SisrError(f"{folder} does not exist.") from error
            raise SisrError(f"there is no file {archive}.") from error
        except Exception as error:  # the libraries raise almost anything for a malformed archive
            if isinstance(error, OSError) and error.errno is not None:
                raise SisrError(f"{archive} cannot be unpacked into {folder} ({error.strerror or error}).") from error
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise SisrError(f"{archive} is damaged or not an archive ({reason}).") from error
    return written


def _unpack(
    archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool], quiet: bool, written: list[Path]
) -> None:
    with _members(archive) as members:
        chosen: list[tuple[PurePosixPath, _Member]] = []
        for member in members:
            path = PurePosixPath(member.name)
            if member.folder or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            _check(member, archive)
            if not _is_clutter(path) and wanted(path):
                chosen.append((path, member))
        size = sum(member.size for _, member in chosen)
        if size > max(_BOMB, _COMPRESSION * archive.stat().st_size):
            raise SisrError(f"{archive} was not unpacked: its images would take {size / 1e6:,.0f} MB.")
        check_space(folder, size, f"to unpack {archive.name}")
        bar = tqdm(chosen, desc=f"unpack {archive.name}", unit="image", leave=False, disable=quiet or None)
        for path, member in bar:
            target = folder.joinpath(*path.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            written.append(target)
            with member.open() as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            if target.stat().st_size != member.size:
                raise SisrError(f"{archive} is damaged: {member.name} is truncated.")


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[list[Path]]:
    """A list of files, which are removed after an error, with their folders if these are empty."""
    written: list[Path] = []
    try:
        yield written
    except BaseException:
        for path in written:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        for path in written:
            for parent in path.parents:
                if parent == folder:
                    break
                with suppress(OSError):  # not empty, or removed already
                    parent.rmdir()
        raise


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
            # check the stored name: ZipFile cuts `filename` at a null byte. Some programs for Windows write backslashes
            yield [
                _Member(
                    entry.orig_filename.replace("\\", "/"),
                    entry.file_size,
                    stat.S_ISLNK(entry.external_attr >> 16),
                    entry.is_dir(),
                    partial(file.open, entry),
                )
                for entry in file.infolist()
            ]
    else:
        with tarfile.open(archive, tarinfo=_WholeTar) as tar:
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


class _WholeTar(tarfile.TarInfo):
    """Refuses a tar archive without its end mark: one that is cut between two members looks whole otherwise."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_WholeTar":
        if not buf:
            raise tarfile.ReadError("its end is missing")
        return super().frombuf(buf, encoding, errors)


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
