"""From finished runs to the table of a comparison."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sisr.comparison import select_runs
from sisr.comparison import table as compare
from sisr.config.mechanisms import REFERENCE
from sisr.config.schema import nearest
from sisr.utils.errors import UsageError


def table(
    results: Path,
    method: Sequence[str] | None = None,
    runs: Sequence[str] | None = None,
    reference: str | None = None,
    costs: Path | None = None,
) -> pd.DataFrame:
    """The tidy table of a comparison.

    results: folder of a preset. method: `LABEL=RUN[,RUN…]` words; or runs: ids, all that were evaluated where neither
    is given. reference: label that the others are compared with; `enlca`, or the first, where None.
    costs: file of `python -m sisr complexity --label`.
    Raises UsageError for a wrong call and SisrError where something is missing or does not fit together.
    """
    if method and runs:
        raise UsageError("give the runs by --method or by --runs, not by both.")
    names = select_runs.parse(method) if method else select_runs.named(results, runs)
    if reference is not None and reference not in names:
        raise UsageError(f"the reference {reference!r} is not in the comparison; {nearest(reference, list(names))}")
    found, controls = select_runs.read(results, names)
    chosen = reference or (REFERENCE if REFERENCE in names else next(iter(names)))
    return compare.build(found, controls, chosen, results.name, costs)
