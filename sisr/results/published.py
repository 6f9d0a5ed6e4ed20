"""The paper's numbers (`results/published/`): printed, derived from printed ones, or unknown."""

from dataclasses import dataclass
from functools import cache

import pandas as pd

from sisr.config.layout import PUBLISHED
from sisr.utils.errors import SisrError

SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
"""Data sets of Table 1, in the paper's order."""


@dataclass(frozen=True)
class Figure:
    """One published figure."""

    value: float | None
    """None where there is no such number; `note` has the reason."""
    status: str
    """`paper` (printed there), `derived` (computed by us, never shown as the paper's) or `unknown`."""
    note: str = ""
    """Why it is blank, or what is odd about it."""


@cache
def _read(name: str) -> pd.DataFrame:
    path = PUBLISHED / f"{name}.csv"
    if not path.is_file():
        raise SisrError(f"there are no published figures at {path}; run from a complete checkout.")
    return pd.read_csv(path, dtype={"note": str, "source": str}).fillna({"note": "", "source": ""})


def table1() -> pd.DataFrame:
    """Table 1: columns method, scale, dataset, psnr (dB), ssim, source, note; NaN where none is printed."""
    return _read("table1").copy()


def methods() -> list[str]:
    """The methods of Table 1 in the paper's order."""
    return list(dict.fromkeys(_read("table1")["method"]))


def rows(name: str) -> pd.DataFrame:
    """`table2`, `table4` or `k_sweep`: columns row, setting, quantity, unit, value, status, source, note."""
    return _read(name).copy()


def table1_figure(method: str, scale: int, dataset: str, quantity: str) -> Figure:
    """PSNR or SSIM (`quantity`: `psnr`, `ssim`) of one cell of Table 1."""
    table = _read("table1")
    cell = table[(table["method"] == method) & (table["scale"] == scale) & (table["dataset"] == dataset)]
    if cell.empty:
        absent = method if method not in methods() else dataset if dataset not in SETS else f"x{scale}"
        return Figure(None, "unknown", f"{absent} is not in the paper's table")
    value, note = cell[quantity].iloc[0], str(cell["note"].iloc[0])
    return Figure(None, "unknown", note) if pd.isna(value) else Figure(float(value), "paper", note)


def figure(name: str, row: str, quantity: str) -> Figure:
    """One figure of `table2`, `table4` or `k_sweep`."""
    table = _read(name)
    cell = table[(table["row"] == row) & (table["quantity"] == quantity)]
    if cell.empty:
        return Figure(None, "unknown", f"{row} is not in the paper's table")
    value, status, note = cell[["value", "status", "note"]].iloc[0]
    return Figure(None if pd.isna(value) else float(value), str(status), str(note))
