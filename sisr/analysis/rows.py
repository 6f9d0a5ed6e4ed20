"""The three tidy tables of the analysis: meaning of their columns, writing and reading."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.results.cells import read_typed
from sisr.utils.files import atomic_write


@dataclass(frozen=True, kw_only=True)
class KernelRow:
    """One query and key, and φ(Q)·φ(K) over many projections. All values are divided by exp(Q·K), variances by its
    square, so that an exact estimate has mean 1 and variance 0."""

    projection: str
    """`independent` or `orthogonal`."""
    channels: int
    m: int
    """Random features of one estimate."""
    k: float
    cosine: float
    squared: float
    """|Q + K|² = 2k(1 + cosine), the only variable of the formula."""
    draws: int
    """Projections drawn."""
    estimates: int
    """Estimates: one for each projection and axis of Q + K."""
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
    """Relative standard deviation of the sample variance of this number of independent estimates, by the formula. If it
    is far above 0, the measured variance is nearly always too small, because the draws rarely contain the large
    estimates that dominate it."""
    median: float
    low: float
    high: float
    """5 % and 95 % quantiles of the estimates."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Origin of queries, keys and values."""

    source: str
    """`random` (unit features, standard normal values) or `trained`."""
    label: str
    """Label: `ENLCA, k = 6`, `random, 64 channels`."""
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
    """Number of sampled queries."""
    git_commit: str = ""
    weights_sha256: str = ""
    hardware: str = ""
    torch: str = ""
    preset: str = ""
    training: str = ""
    comparable: str = ""


@dataclass(frozen=True, kw_only=True)
class ErrorRow(Place):
    """ENLA's output compared with exact softmax attention of the same query, key, value and k."""

    k: float
    m: int
    projection: str
    """`orthogonal`, `independent`, or `own`: the projection in the network's weights."""
    as_trained: bool
    """Whether k and m are those that the network was trained with."""
    error: float
    """|Y − Y*| / |Y*| over the sampled queries, Y* exact."""
    error_of_mean: float
    """The same for plain mean pooling, whose output is the mean value everywhere."""
    error_beyond_mean: float
    """|Y − Y*| / |Y* − mean value|: above 1, mean pooling is closer to exact attention than ENLA."""
    correlation: float
    """Of Y − mean value with Y* − mean value, over queries and channels."""
    correlation_across: float
    """The same for the variation over queries: each without its mean over the queries."""


@dataclass(frozen=True, kw_only=True)
class AttendedRow(Place):
    """Distribution of the weights of one operator; means over the sampled queries."""

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
    """Share of the squared distance of outputs to the mean value that is common to all queries: 1 if all outputs are
    equal."""
    features: float | None = None
    """ENLA: effective number (exp of entropy) of random features that contribute to a query's sum."""
    few_error: float | None = None
    """ENLA: |Y' − Y| / |Y| if each query uses only the 8 largest of its m features."""
    buckets: float | None = None
    """ENLA: exp of the mutual information of query and feature, the effective number of buckets of queries; 1 to m."""
    landmark: float | None = None
    """ENLA: effective number (1 / Σ weight²) of positions that one random feature pools."""
    cosine_01: float
    cosine_25: float
    cosine_50: float
    cosine_75: float
    cosine_99: float
    """Quantiles of the cosine of query and key."""
    gap: float
    """The quantity that the contrastive loss increases above its margin, 1: log of the mean of exp(Q·K) over ranks 0 to
    2 %, minus the same over ranks 8 to 10 %."""


TABLES: dict[str, type] = {"kernel": KernelRow, "error": ErrorRow, "attended": AttendedRow}


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
    """Read a table. Raises SisrError if the file or a column is missing."""
    return read_typed(folder / f"{name}.csv", TABLES[name], f"python -m sisr analyse --output {folder}")
