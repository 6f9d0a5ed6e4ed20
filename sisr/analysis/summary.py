"""Means with intervals over what the rows of the analysis repeat: draws of random features, or images and slots."""

from math import nan

import pandas as pd

from sisr.results import significance
from sisr.results.cells import span
from sisr.results.significance import Estimate


def mean(part: pd.DataFrame, column: str) -> Estimate:
    """Mean of a column with its 95 % t interval.

    Rows of one image and slot are averaged first, over runs (seeds) and projections; the sample is the images and
    slots of trained networks, or the draws of random features.
    """
    repeated = ["image", "slot", "draw"]
    values = part.groupby(repeated, sort=True)[column].mean().to_numpy(dtype=float)
    return significance.mean(values)


def labels(attended: pd.DataFrame) -> list[str]:
    """Labels in reading order: random features, exact attention, then each mechanism by k."""
    order = {"random": 0, "NLA": 1, "ENLA": 2, "ENLCA": 3}
    rows = attended.groupby("label", sort=False).agg({"channels": "first", "k": "first", "m": "max"}).fillna(0)
    rows["order"] = [order[str(label).split(",")[0].split()[0]] for label in rows.index]
    rows["channels"] *= -1
    return list(rows.sort_values(["order", "channels", "k", "m"], kind="stable").index)


def select(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Rows whose columns have these values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def percent(value: float, low: float = nan, high: float = nan) -> str:
    """A share in per cent with its interval; one decimal below 10 %."""
    digits = 0 if value >= 0.1 else 1
    return f"{100 * value:.{digits}f} %" + (f" {interval}" if (interval := span(100 * low, 100 * high, digits)) else "")
