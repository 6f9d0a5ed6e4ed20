"""What the analysis shows, in sentences that are computed from its tables."""

from collections.abc import Iterator
from math import sqrt

import pandas as pd

from sisr.analysis.summary import labels, mean, percent, select
from sisr.results.cells import span

ENOUGH_DRAWS = 0.2
"""A measured variance is taken at its word where its expected spread is at most this share of it."""
LARGE = 6.0
"""The paper's k."""
M = 128
FEW = 8
"""Features that `AttendedRow.few_error` keeps."""


def describe_analysis(tables: dict[str, pd.DataFrame]) -> list[str]:
    """Sentences about `kernel`, `error` and `attended`, in the order of the figure's panels."""
    return [
        *_kernel(tables["kernel"]),
        *_random(tables["error"]),
        *_trained(tables["error"]),
        *_operator(tables["attended"]),
        *_loss(tables["attended"]),
        *_amplification(tables["attended"]),
        *_limits(tables["attended"]),
    ]


def _kernel(kernel: pd.DataFrame) -> Iterator[str]:
    sure = kernel[kernel["expected_spread"] <= ENOUGH_DRAWS].drop_duplicates(["projection", "squared"])
    ratios = {
        kind: select(sure, projection=kind)["variance"] / select(sure, projection=kind)["predicted"]
        for kind in ("independent", "orthogonal")
    }
    if len(sure):
        ranges = {kind: f"{ratio.min():.2f} to {ratio.max():.2f}" for kind, ratio in ratios.items()}
        yield (
            f"**The variance where it can be measured** (|Q + K|² up to {sure['squared'].max():g}) is "
            f"{ranges['independent']} times the formula's for independent projections, and {ranges['orthogonal']} "
            "times for orthogonal ones, for which it is not meant."
        )
    small = kernel[kernel["k"] <= 1].drop_duplicates(["projection", "squared"])
    holds = (small["mean_low"] <= 1) & (small["mean_high"] >= 1)
    if len(small):
        yield (
            f"**Bias at k ≤ 1**: the mean estimate over exp(Q·K) is {small['mean'].min():.3f} to "
            f"{small['mean'].max():.3f}; its 95 % interval holds 1 in {holds.sum()} of {len(small)} cases."
        )
    large = select(kernel, k=LARGE, projection="orthogonal")
    deviations = [
        f"at cos = {row['cosine']:g} a relative deviation of {_figure(sqrt(row['predicted']))}, and half of the "
        f"estimates are below {row['median']:.2g} of the true value"
        for _, row in large[large["cosine"].isin([0, 1])].iterrows()
    ]
    if deviations:
        yield (
            f"**At k = {LARGE:g} a single estimate says next to nothing**: by the formula (m = {M}, independent), "
            f"{'; '.join(deviations)}. The mean is still right, but only through rare estimates that are far too "
            f"large: {int(large['estimates'].iloc[0]):,} of them are not enough to measure the variance."
        )


def _random(error: pd.DataFrame) -> Iterator[str]:
    part = select(error, source="random", channels=64, projection="orthogonal")
    at = select(part, m=M)
    ks = [k for k in (1.0, 2.0, 4.0, LARGE) if (at["k"] == k).any()]
    errors = [f"{_share(select(at, k=k), 'error')} at k = {k:g}" for k in ks]
    if not errors:
        return
    yield (
        f"**Random unit features, 64 channels, {int(at['tokens'].iloc[0]):,} positions, m = {M}**: ENLA's output "
        f"differs from that of exact softmax attention by {', '.join(errors)}."
    )
    large = select(at, k=LARGE)
    pooled, enla_error = mean(large, "error_of_mean").value, mean(large, "error").value
    nearer = f"{'nearer to' if pooled < enla_error else 'farther from'} exact attention than ENLA is"
    yield (
        f"**At k = {LARGE:g} that is {'no' if enla_error > 0.5 else 'a rough'} approximation of softmax attention**: "
        f"single draws lie between {percent(large['error'].min())} and {percent(large['error'].max())}; plain mean "
        f"pooling differs by {percent(pooled)}, so it is {nearer}. The correlation of what differs from query to "
        f"query is {mean(large, 'correlation_across').value:.2f}."
    )
    swept = select(part, k=LARGE)
    few, many = (select(swept, m=m) for m in (swept["m"].min(), swept["m"].max()))
    yield (
        f"**The number of random features**, k = {LARGE:g}: {_share(few, 'error')} with m = {swept['m'].min()}, "
        f"{_share(many, 'error')} with m = {swept['m'].max()}."
    )


def _trained(error: pd.DataFrame) -> Iterator[str]:
    trained = error[(error["source"] == "trained") & error["as_trained"].astype(bool)]
    names = [name for name in ("ENLA, k = 1", "ENLA, k = 6", "ENLCA, k = 6") if (trained["label"] == name).any()]
    distances = []
    for name in names:
        part = select(trained, label=name)
        distances.append(
            f"{name}: {_share(part, 'error')} (mean pooling {percent(mean(part, 'error_of_mean').value)}), "
            f"{percent(mean(part, 'error_beyond_mean').value)} of what exact attention adds to the mean"
        )
    if distances:
        channels = " or ".join(str(c) for c in sorted(set(trained["channels"])))
        yield (
            f"**Features of trained networks, {channels} channels**, each at its own k and m, distance from exact "
            f"attention: {'; '.join(distances)}."
        )


def _operator(attended: pd.DataFrame) -> Iterator[str]:
    yield (
        "**What ENLA is, at every k**: written the other way round, its output is exactly Σ_j w_j(q)·c_j. Each of "
        "the m random directions makes one landmark c_j, a softmax pooling of the values over the whole image, and a "
        "query takes a soft choice w(q) among the m landmarks. It is attention in two steps through m random "
        "landmarks, of rank at most m."
    )
    enla = select(attended, operator="ENLA", m=M)
    numbers = []
    for name in [name for name in labels(attended) if name.startswith(("random, 64", "ENLCA"))]:
        part = select(enla, label=name)
        if len(part) and part["k"].isin([1, LARGE]).all():
            numbers.append(
                f"{name}: {_figure(part['features'].mean())} carry a query's sum, and the {FEW} largest alone give the "
                f"output to within {percent(part['few_error'].mean())}"
            )
    yield f"**Effective number of random features**, of {M}. {'; '.join(numbers)}."
    trained = select(attended, source="trained", k=LARGE)
    trained = trained[(trained["m"] == M) | trained["m"].isna()]
    operators = {"ENLA": "ENLA", "exact attention on the same features": "exact"}
    parts = {name: select(trained, operator=operator) for name, operator in operators.items()}
    if all(len(part) for part in parts.values()):
        ranks = [
            f"{name} has rank {part['rank'].mean():.2g} in {int(part['sampled'].max())} queries, and the variance of "
            f"its output over queries is {percent(part['detail'].mean())} of that of the values over positions"
            for name, part in parts.items()
        ]
        kinds = parts["ENLA"]["buckets"].mean()
        yield (
            f"**In the trained networks at k = {LARGE:g}** the queries fall into {kinds:.2g} kinds by "
            "the landmarks that they use"
            + (
                ": nearly all use the same few, so ENLA is close to one pooling over the whole image along random "
                "directions, shared by all queries"
                if kinds < 2
                else ""
            )
            + f". Effective numbers: {'; '.join(ranks)}."
        )


def _loss(attended: pd.DataFrame) -> Iterator[str]:
    without, with_ = (select(attended, label=f"{name}, k = {LARGE:g}", source="trained") for name in ("ENLA", "ENLCA"))
    if without.empty or with_.empty:
        return
    exact = [select(part, operator="exact") for part in (without, with_)]
    enla = [select(part, operator="ENLA") for part in (without, with_)]
    gaps = [f"{gap.value:.2f} {span(gap.low, gap.high, 2)}".strip() for gap in (mean(part, "gap") for part in exact)]
    tops = [[mean(part, "top_share").value for part in pair] for pair in (exact, enla)]
    spread = [part["cosine_99"].mean() - part["cosine_01"].mean() for part in exact]
    yield (
        f"**The contrastive loss** (k = {LARGE:g}, without → with): the gap that it pushes above 1 goes from "
        f"{gaps[0]} to {gaps[1]}, and the span of the cosines (1 to 99 %) from "
        f"{spread[0]:.2f} to {spread[1]:.2f}. The weight that exact attention would put on the most similar 2 % goes "
        f"from {percent(tops[0][0])} to {percent(tops[0][1])}; what ENLA really puts there from "
        f"{percent(tops[1][0])} to {percent(tops[1][1])}."
    )


def _amplification(attended: pd.DataFrame) -> Iterator[str]:
    part = attended[attended["label"].str.startswith("ENLCA") & ((attended["m"] == M) | attended["m"].isna())]
    ks = sorted(set(select(part, operator="ENLA")["k"]))
    part = part[part["k"].isin(ks)]
    if len(ks) < 2:
        return
    shares = {}
    for operator in ("exact", "ENLA"):
        ends = [select(part, operator=operator, k=k) for k in (ks[0], ks[-1])]
        shares[operator] = [float((end["positions"] / end["tokens"]).mean()) for end in ends]
    yield (
        f"**Amplification**, ENLCA trained at k = {ks[0]:g} and at k = {ks[-1]:g}: the effective number of attended "
        f"positions goes from {percent(shares['exact'][0])} to {percent(shares['exact'][1])} of the image for exact "
        f"attention, and for ENLA from {percent(shares['ENLA'][0])} to {percent(shares['ENLA'][1])}."
    )


def _limits(attended: pd.DataFrame) -> Iterator[str]:
    trained = select(attended, source="trained")
    widths = sorted(set(trained["channels"]))
    if widths and max(widths) < 64:
        yield (
            f"**Limits.** Query and key of these networks have {' or '.join(map(str, widths))} channels, the paper's "
            "64, and were trained briefly on few photographs; random features of both widths differ so much that the "
            "trained figures say nothing about the paper's networks. One seed a setting unless several were given."
        )


def _share(part: pd.DataFrame, column: str) -> str:
    estimate = mean(part, column)
    return percent(estimate.value, estimate.low, estimate.high)


def _figure(value: float) -> str:
    """Two digits below 10, whole below 100,000."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}" if value < 1e5 else f"{value:.1e}"
