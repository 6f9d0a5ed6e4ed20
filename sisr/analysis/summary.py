"""Means with intervals over what the rows of the analysis repeat: draws of random features, or images and slots."""

import pandas as pd

from sisr.results import significance
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
    first = attended.drop_duplicates("label")
    order = {"random": 0, "NLA": 1, "ENLA": 2, "ENLCA": 3}

    def place(row: tuple[str, int, float, float]) -> tuple[int, int, float, float]:
        name, channels, k, m = row
        return order[name.split(",")[0].split()[0]], -channels, k if k == k else 0.0, m if m == m else 0.0

    rows = {}
    for _, cell in first.iterrows():
        m = attended.loc[attended["label"] == cell["label"], "m"].max()
        rows[str(cell["label"])] = (str(cell["label"]), int(cell["channels"]), float(cell["k"]), float(m))
    return sorted(rows, key=lambda label: place(rows[label]))


def select(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Rows whose columns have these values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table
