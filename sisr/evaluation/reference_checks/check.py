"""One check, and the published values for the checks (`results/published/checks.csv`)."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from sisr.config.layout import PUBLISHED
from sisr.utils.errors import SisrError


@dataclass(frozen=True, kw_only=True)
class Check:
    """Comparison of a measured with a published value."""

    what: str
    source: str
    """Source of the expected value."""
    unit: str = ""
    expected: float
    measured: float | None
    """None if the check was not run; `note` states the reason."""
    bound: float
    """Largest allowed deviation."""
    digits: int = 2
    """Decimals of the expected value."""
    note: str = ""

    @property
    def deviation(self) -> float | None:
        """Measured minus expected."""
        return None if self.measured is None else self.measured - self.expected

    @property
    def holds(self) -> bool | None:
        """Whether the deviation is within the bound; None if the check was not run."""
        return None if self.deviation is None else abs(self.deviation) <= self.bound


@cache
def figures(group: str) -> list[dict[str, str]]:
    """Published values of one group as printed: what, set, scale, quantity, value, bound, source."""
    path = PUBLISHED / "checks.csv"
    if not path.is_file():
        raise SisrError(f"{path} does not exist; run from a complete checkout.")
    table = pd.read_csv(path, dtype=str)
    rows: list[dict[str, str]] = table[table["group"] == group].to_dict("records")  # type: ignore[assignment]
    return rows


def against(figure: dict[str, str], what: str, measured: float | None, note: str = "") -> Check:
    """A check of a measured value against one row of `figures`."""
    return Check(
        what=f"{what}, {'PSNR' if figure['quantity'] == 'psnr' else 'SSIM'}",
        source=figure["source"],
        unit="dB" if figure["quantity"] == "psnr" else "",
        expected=float(figure["value"]),
        measured=measured,
        bound=float(figure["bound"]),
        digits=len(figure["value"].partition(".")[2]),
        note=note,
    )


def missing(path: Path, reference: Path) -> str:
    """Why a check was not run."""
    return f"{path.relative_to(reference)} does not exist"
