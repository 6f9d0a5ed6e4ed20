"""Export of the weights for custom analyses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sisr.analysis.attention_maps.layout import name
from sisr.analysis.attention_maps.maps import Map
from sisr.utils.errors import UsageError
from sisr.utils.files import atomic_write


def write(maps: Sequence[Map], path: Path) -> Path:
    """Write the weights: `.npy` an array (maps, H, W) of float32 in the order of the figure, `.csv` one row a position
    with map, run, slot, k, row, column, weight.

    Raises UsageError for another suffix.
    """
    check(path)
    with atomic_write(path) as temporary:
        if path.suffix == ".npy":
            np.save(temporary, np.stack([each.weights for each in maps]))
        else:
            pd.concat([_rows(each) for each in maps]).to_csv(temporary, index=False)
    return path


def check(path: Path) -> None:
    """Raise UsageError if `write` does not support the suffix."""
    if path.suffix not in (".npy", ".csv"):
        raise UsageError(f"--raw writes .npy or .csv, not {path.name}.")


def _rows(each: Map) -> pd.DataFrame:
    rows, columns = np.indices(each.weights.shape)
    return pd.DataFrame(
        {
            "map": name(each), "run": str(each.source.path), "slot": each.slot, "k": each.k, "row": rows.ravel(),
            "column": columns.ravel(), "weight": each.weights.ravel(),
        }
    )  # fmt: skip
