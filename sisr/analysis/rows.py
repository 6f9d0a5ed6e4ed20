"""The three tidy tables of the analysis: what their columns mean, writing and reading."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write


@dataclass(frozen=True, kw_only=True)
class KernelRow:
    """One query and key, and φ(Q)·φ(K) over many projections. All figures are divided by exp(Q·K), variances by its
    square, so that an exact estimate has mean 1 and variance 0."""

    projection: str
    """`independent` or `orthogonal`."""
    channels: int
    m: int
    """Random features of one estimate."""
    k: float
    cosine: float
    squared: float
    """|Q + K|² = 2k(1 + cosine), all that the formula depends on."""
    draws: int
    """Projections drawn."""
    estimates: int
    """Estimates: in each projection one for each axis that Q + K may lie along."""
    mean: float
    mean_low: float
    mean_high: float
    """Ends of the 95 % interval (percentile bootstrap over projections)."""
    variance: float
    variance_low: float
    variance_high: float
    predicted: float
    """(exp(|Q + K|²) − 1) / m, the paper's formula."""
    expected_spread: float
    """Relative standard deviation that a sample variance of so many independent estimates has about its expectation,
    were the formula exact. Far above 0, the measured variance nearly always falls short, because the rare large
    estimates that make it up are not among the draws."""
    median: float
    low: float
    high: float
    """5 % and 95 % quantiles of the estimates."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which queries, keys and values something was measured on, and where they come from."""

    source: str
    """`random` (unit features, standard normal values) or `trained`."""
    label: str
    """What readers call it: `ENLCA, k = 6`, `random, 64 channels`."""
    run: str = ""
    image: str = ""
    slot: str = ""
    """Residual blocks before the attention."""
    draw: int = 0
    tokens: int
    """N, positions attended to."""
    channels: int
    """Of query and key."""
    sampled: int
    """Queries looked at."""
    git_commit: str = ""
    weights_sha256: str = ""
    hardware: str = ""
    torch: str = ""
    preset: str = ""
    training: str = ""
    comparable: str = ""


@dataclass(frozen=True, kw_only=True)
class ErrorRow(Place):
    """ENLA's output against that of exact softmax attention with the same query, key, value and k."""

    k: float
    m: int
    projection: str
    """`orthogonal`, `independent`, or `own`: the one in the network's file."""
    as_trained: bool
    """Whether k and m are those that the network was trained with."""
    error: float
    """|Y − Y*| / |Y*| over the sampled queries, Y* exact."""
    error_of_mean: float
    """The same for plain mean pooling, whose output is the mean value everywhere."""
    error_beyond_mean: float
    """|Y − Y*| / |Y* − mean value|: above 1, mean pooling is nearer to exact attention than ENLA is."""
    correlation: float
    """Of Y − mean value with Y* − mean value, over queries and channels."""
    correlation_across: float
    """The same of what differs from query to query: each without its own mean over the queries."""


@dataclass(frozen=True, kw_only=True)
class AttendedRow(Place):
    """Where one operator puts its weight; means over the sampled queries."""

    k: float | None
    """None: query and key are not normalised."""
    m: int | None
    operator: str
    """`exact` (softmax) or `ENLA` (its effective, non-negative weights)."""
    positions: float
    """exp of the entropy of a row of weights: effective number of attended positions."""
    participation: float
    """1 / Σ weight²: the same, more sensitive to large weights."""
    top_share: float
    """Share of the weight on the 2 % most similar positions."""
    rank: float
    """Participation ratio of the squared singular values of the sampled rows: effective number of different rows."""
    detail: float
    """Variance of the output over queries, divided by that of the values over positions: 0 for mean pooling."""
    common: float
    """Of the squared distance of outputs to the mean value, the share that is the same for all queries: 1 where every
    query gets one and the same vector."""
    features: float | None = None
    """ENLA: effective number (exp of entropy) of random features that carry a query's sum."""
    few_error: float | None = None
    """ENLA: |Y' − Y| / |Y| where each query keeps the 8 largest of its m features only."""
    buckets: float | None = None
    """ENLA: exp of the mutual information of query and feature, how many buckets the queries fall into; 1 to m."""
    landmark: float | None = None
    """ENLA: effective number (1 / Σ weight²) of positions that one random feature pools."""
    cosine_01: float
    cosine_25: float
    cosine_50: float
    cosine_75: float
    cosine_99: float
    """Quantiles of the cosine of query and key."""
    gap: float
    """What the contrastive loss pushes above its margin, 1: log of the mean of exp(Q·K) over ranks 0 to 2 %, minus
    the same over ranks 8 to 10 %."""


TABLES: dict[str, type] = {"kernel": KernelRow, "error": ErrorRow, "attended": AttendedRow}
_NUMBERS = {"int", "float", "bool", "int | None", "float | None"}


def frame(rows: Iterable[Any]) -> pd.DataFrame:
    """Rows of one kind as a table."""
    return pd.DataFrame([asdict(row) for row in rows])


def write(name: str, table: pd.DataFrame, folder: Path) -> Path:
    """Write `kernel`, `error` or `attended` into a folder."""
    path = folder / f"{name}.csv"
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    return path


def read(name: str, folder: Path) -> pd.DataFrame:
    """Read what `write` wrote. Raises SisrError where there is none, or a column is missing."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise SisrError(f"there is no {path}; run python -m sisr analyse --output {folder} first.")
    texts = {field.name: str for field in fields(TABLES[name]) if _kind(field.type) not in _NUMBERS}
    table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={name: [""] for name in ("k", *_OPTIONAL)})
    if missing := {field.name for field in fields(TABLES[name])} - set(table.columns):
        raise SisrError(f"{path} lacks the column {min(missing)}; make it again with python -m sisr analyse.")
    return table


_OPTIONAL = ("m", "features", "few_error", "buckets", "landmark")


def _kind(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
