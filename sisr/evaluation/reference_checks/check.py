"""One check, and the outside figures that checks compare with (`results/published/checks.csv`)."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from sisr.config.layout import PUBLISHED
from sisr.utils.errors import SisrError


@dataclass(frozen=True, kw_only=True)
class Check:
    """One figure compared with one from outside."""

    what: str
    source: str
    """Where the expected figure comes from."""
    unit: str = ""
    expected: float
    measured: float | None
    """None where the check was not done; `note` then says why."""
    bound: float
    """Largest deviation that is allowed."""
    digits: int = 2
    """Decimals of the expected figure."""
    note: str = ""

    @property
    def deviation(self) -> float | None:
        """Measured minus expected."""
        return None if self.measured is None else self.measured - self.expected

    @property
    def holds(self) -> bool | None:
        """Whether the deviation is within the bound; None where the check was not done."""
        return None if self.deviation is None else abs(self.deviation) <= self.bound


@cache
def figures(group: str) -> list[dict[str, str]]:
    """Outside figures of one group, as they are printed: what, set, scale, quantity, value, bound, source."""
    path = PUBLISHED / "checks.csv"
    if not path.is_file():
        raise SisrError(f"there are no figures to check against at {path}; run from a complete checkout.")
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
    """Why a check was not done."""
    return f"{path.relative_to(reference)} is not there"
