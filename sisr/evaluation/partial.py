"""Rows of an evaluation that is not finished, for the next call: they survive a failed image and a killed process."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sisr.utils.files import atomic_write

_EVERY = 10.0  # seconds between two writes


@dataclass(frozen=True)
class Row:
    """Metrics of one image."""

    image: str
    psnr: float
    """dB; infinite if SR equals HR within the border."""
    ssim: float
    height: int
    """Of the HR image, cropped to a multiple of the scale."""
    width: int
    seconds: float
    """Inference only, 0 for existing images."""


class Partial:
    """Measured rows by image, in `<set>_x<scale>.partial.json` beside the table.

    Snakemake deletes the outputs of a failed job, so that they cannot stay in the table itself.

    Args:
        path: the file; rows that an earlier call left in it are read.
        identity: what the rows depend on (weights, protocol, code …), as JSON; rows of another one are not used.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._rows: dict[str, dict[str, Any]] = {}
        self._written = time.monotonic()
        with suppress(OSError, ValueError, TypeError, KeyError):  # without a readable file, everything is measured
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["identity"] == self._identity:
                self._rows = {row["row"]["image"]: row for row in content["rows"] if Row(**row["row"])}

    def get(self, name: str, pixels: str) -> tuple[Row, str] | None:
        """The row and the inference mode of an image, if it was measured on these pixels."""
        entry = self._rows.get(name)
        return (Row(**entry["row"]), entry["way"]) if entry and entry["pixels"] == pixels else None

    def add(self, row: Row, way: str, pixels: str) -> None:
        """Keep a row. pixels: hash of the images it was measured on."""
        self._rows[row.image] = {"row": asdict(row), "way": way, "pixels": pixels}
        if time.monotonic() - self._written > _EVERY:
            self.write()

    def write(self) -> bool:
        """Write the rows, if there are any; whether they are in the file. A full disk does not stop the evaluation."""
        if not self._rows:
            return False
        self._written = time.monotonic()
        with suppress(OSError), atomic_write(self.path) as temporary:
            content = {"identity": self._identity, "rows": list(self._rows.values())}
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return self.path.is_file()
