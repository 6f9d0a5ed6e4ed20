"""Download of a file from one of several addresses, with resume, retries and verification."""

import errno
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import requests
from filelock import FileLock
from tqdm import tqdm

from sisr.data.archives import check_space
from sisr.utils.errors import SisrError

ATTEMPTS = 5
TIMEOUT = (15.0, 60.0)
"""Seconds to connect, and seconds without a byte, after which an attempt is given up."""
_CHUNK = 1 << 16
_GONE = (400, 401, 403, 404, 405, 410, 451)
"""Permanent HTTP errors."""


class _NextAddressError(Exception):
    """This address does not work."""


class _AgainError(Exception):
    """This attempt failed; another may succeed."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def download(
    addresses: Sequence[str],
    target: str | Path,
    md5: str | None = None,
    *,
    quiet: bool = False,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Download a file, unless it exists with the right checksum.

    An incomplete download is called `<target>.part` and is resumed by the next call. If several processes request the
    same file, one downloads it and the others wait.

    Args:
        addresses: http(s) addresses of the same file, best first.
        md5: checksum of the whole file, if known.
        attempts: for each address; the waiting time, spent in `sleep`, doubles from one second.

    Raises SisrError where no address gave the file, with the reason for each, or the disk is full.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.is_file() and (md5 is None or md5_of(target) == md5):
            return target
        reasons = []
        for address in addresses:
            try:
                _from_address(address, target, md5, quiet, attempts, sleep)
                return target
            except _NextAddressError as error:
                reasons.append(f"{address}: {error}")
    raise SisrError(f"{target.name} could not be downloaded ({'; '.join(reasons)}).")


def md5_of(path: Path) -> str:
    """MD5 of a file, as 32 hexadecimal digits; for comparison with published checksums only."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _from_address(
    address: str, target: Path, md5: str | None, quiet: bool, attempts: int, sleep: Callable[[float], None]
) -> None:
    part = target.with_name(target.name + ".part")
    last = ""
    for attempt in range(attempts):
        try:
            _receive(address, part, quiet)
            if md5 is not None and md5_of(part) != md5:
                part.unlink()
                raise _AgainError("the checksum differs from the published one")
            part.replace(target)
            return
        except _AgainError as error:
            last = str(error)
            if attempt + 1 < attempts:
                wait = max(error.wait, 2.0**attempt)
                if not quiet:
                    tqdm.write(f"{target.name}: {last}; trying again in {wait:.0f} s", file=sys.stderr)
                sleep(wait)
    raise _NextAddressError(last if attempts == 1 else f"{last}, {attempts} times")


def _receive(address: str, part: Path, quiet: bool) -> None:
    """One attempt; appends to an existing part if the server supports it."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "sisr"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # no further bytes: complete, or another file
                total = answer.headers.get("Content-Range", "").rpartition("/")[2]
                if total == str(have):
                    return
                part.unlink()
                raise _AgainError("the existing part does not match")
            _check_status(answer)
            begins = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            resumed = answer.status_code == 206 and begins == str(have)
            if answer.status_code == 206 and not resumed:
                part.unlink(missing_ok=True)
                raise _AgainError("the server resumed at the wrong position")
            length = answer.headers.get("Content-Length", "")
            remaining = int(length) if length.isdigit() else None
            check_space(part.parent, remaining or 0, f"to download {part.stem}")
            start = have if resumed else 0
            total_size = None if remaining is None else start + remaining
            with (
                part.open("ab" if resumed else "wb") as file,
                tqdm(
                    total=total_size,
                    initial=start,
                    unit="B",
                    unit_scale=True,
                    desc=part.stem,
                    disable=True if quiet else None,
                ) as bar,
            ):
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            if total_size is not None and part.stat().st_size != total_size:
                raise _AgainError(f"the connection broke off at {part.stat().st_size} of {total_size} bytes")
    except (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
    ) as error:
        raise _NextAddressError("it is not an address") from error
    except requests.exceptions.RequestException as error:
        reason = getattr(error.args[0] if error.args else None, "reason", error)
        raise _AgainError(f"the connection failed ({type(reason).__name__})") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SisrError(
                f"the disk is full; {part} is kept, free some space and rerun the command to resume."
            ) from error
        raise SisrError(f"{part} cannot be written ({error.strerror}).") from error


def _check_status(answer: requests.Response) -> None:
    status = answer.status_code
    if status in (200, 206):
        return
    if status in _GONE:
        raise _NextAddressError(f"the server returned {status} {answer.reason}")
    wait = answer.headers.get("Retry-After", "")
    raise _AgainError(
        f"the server returned {status} {answer.reason}", min(float(wait), 120.0) if wait.isdigit() else 0.0
    )
