"""A finished comparison as it is read from a results folder, for the figures, the notebook and the page."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.config.layout import Results
from sisr.results import cells
from sisr.results.cells import number
from sisr.utils.errors import SisrError

FIGURES = ("compare_differences", "compare_pareto", "compare_cost", "compare_crops")
COST_COLUMNS = (
    "label", "height", "width", "forward_seconds", "forward_low", "forward_high", "training_seconds",
    "peak_memory_bytes", "gflops", "device",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One measured value and its 95 % interval; ends are None where there is no interval."""

    value: float
    low: float | None
    high: float | None
    at_least: str = ""
    """What a number of operations leaves out: the value is then a lower bound."""

    @property
    def bars(self) -> list[list[float]] | None:
        """Error bars as matplotlib takes them, None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return [[max(0.0, self.value - self.low)], [max(0.0, self.high - self.value)]]


@dataclass(frozen=True)
class Comparison:
    """The cells of `tables/compare.csv` (`sisr.results.cells.Cell`), looked up by row, quantity and data set."""

    table: pd.DataFrame

    @cached_property
    def labels(self) -> list[str]:
        """The mechanisms in their order, the reference among them."""
        return list(dict.fromkeys(self.table.loc[self.table["kind"] == "mechanism", "row"]))

    @cached_property
    def controls(self) -> list[str]:
        """Rows of the controls: bicubic, HR image."""
        return list(dict.fromkeys(self.table.loc[self.table["kind"] == "control", "row"]))

    @cached_property
    def reference(self) -> str:
        """The mechanism that the others are compared with."""
        rows = self.table.loc[self.table["state"] == "reference", "row"]
        if rows.empty:
            raise SisrError("tables/compare.csv does not name its reference; make it again.")
        return str(rows.iloc[0])

    @property
    def others(self) -> list[str]:
        """The mechanisms except the reference."""
        return [label for label in self.labels if label != self.reference]

    @cached_property
    def datasets(self) -> list[str]:
        """The test sets in their order."""
        return [name for name in dict.fromkeys(self.table["dataset"]) if name]

    @cached_property
    def scale(self) -> int:
        return int(self.table["scale"].dropna().iloc[0])

    @cached_property
    def preset(self) -> str:
        """The preset that the networks were trained at."""
        return " and ".join(dict.fromkeys(name for name in self.table["preset"] if name))

    @cached_property
    def _cells(self) -> dict[tuple[str, str, str], Any]:
        return {(cell["row"], cell["quantity"], cell["dataset"]): cell for _, cell in self.table.iterrows()}

    def cell(self, row: str, quantity: str, dataset: str = "") -> Any:
        """The cell with its origin (a row of the table), None where there is none."""
        return self._cells.get((row, quantity, dataset))

    def measured(self, row: str, quantity: str, dataset: str = "") -> Measured | None:
        """The figure with its interval, None where there is none."""
        cell = self.cell(row, quantity, dataset)
        value = None if cell is None else number(cell["measured"])
        return None if value is None else Measured(value, number(cell["low"]), number(cell["high"]), cell["at_least"])

    def places(self) -> Iterator[tuple[str, str]]:
        """(mechanism, data set) of everything that was compared with the reference, sets in the outer loop."""
        for dataset in self.datasets:
            for label in self.others:
                if self.measured(label, "psnr_difference", dataset) is not None:
                    yield label, dataset


def read(results: Path) -> Comparison:
    """The comparison in a results folder. Raises SisrError where there is none."""
    comparison = Comparison(cells.read(Results(results).table("compare")))
    if len(comparison.labels) < 2:
        raise SisrError(f"{results}/tables/compare.csv holds fewer than two mechanisms; compare at least two.")
    return comparison


def read_costs(results: Path) -> pd.DataFrame:
    """Time and memory over image size (`COST_COLUMNS`). Raises SisrError where they are not there."""
    command = "snakemake compare, or python -m sisr complexity --by-size,"
    texts = {"label": str, "device": str}
    return cells.read_columns(Results(results).cost_by_size, COST_COLUMNS, command, dtype=texts)
