"""Whether the sources of image sets answer, without downloading them."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests

from sisr.data.catalog import Dataset, Source

TIMEOUT = (5.0, 10.0)
"""Seconds to connect, and seconds without an answer, after which a source counts as silent."""
_AT_ONCE = 8
_NO_HEAD = (403, 405, 501)
"""How servers refuse HEAD although they would send the file."""


@dataclass(frozen=True)
class Answer:
    """What one address of one source of a set answered."""

    dataset: str
    source: Source
    address: str
    bytes: int | None
    """Size that the server states; it states none for archives that it makes on demand."""
    error: str
    """Why it cannot be used; empty if it can."""

    @property
    def works(self) -> bool:
        """Whether the address answers, with the size that is known."""
        return not self.error

    def __str__(self) -> str:
        size = "" if self.bytes is None else f", {self.bytes / 1e6:,.1f} MB"
        state = f"answers{size}" if self.works else f"does not answer: {self.error}"
        expected = f" (reported dead: {self.source.dead})" if self.source.dead else ""
        return f"{self.dataset:<13} {self.address}  {state}{expected}"


def ask(datasets: Iterable[Dataset], timeout: tuple[float, float] = TIMEOUT) -> list[Answer]:
    """Ask every address of these sets for its header, several at once, each address once; in the catalogue's order."""
    wanted = [
        (dataset.name, source, address)
        for dataset in datasets
        for source in (*dataset.sources, *dataset.lr_sources.values())
        for address in source.addresses
    ]
    addresses = list(dict.fromkeys(address for _, _, address in wanted))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = dict(zip(addresses, pool.map(lambda address: _header(address, timeout), addresses), strict=True))
    answers = []
    for name, source, address in wanted:
        size, error = found[address]
        if not error and source.bytes and size is not None and size != source.bytes:
            error = f"it has {size:,} bytes instead of {source.bytes:,}"
        answers.append(Answer(name, source, address, size, error))
    return answers


def _header(address: str, timeout: tuple[float, float]) -> tuple[int | None, str]:
    """Size of a file as its server states it, and why it cannot be had (empty if it can)."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "sisr"}
    try:
        with requests.head(address, headers=headers, timeout=timeout, allow_redirects=True) as answer:
            status, reason, length = answer.status_code, answer.reason, answer.headers.get("Content-Length", "")
        if status in _NO_HEAD:
            with requests.get(address, headers=headers, timeout=timeout, stream=True) as answer:  # its body is not read
                status, reason, length = answer.status_code, answer.reason, answer.headers.get("Content-Length", "")
    except requests.exceptions.RequestException as error:
        cause = getattr(error.args[0] if error.args else None, "reason", error)
        return None, type(cause).__name__
    if status >= 400:
        return None, f"{status} {reason}"
    return int(length) if length.isdigit() and int(length) else None, ""
