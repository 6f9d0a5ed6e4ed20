"""How far estimates of exact attention at k = 6 are from it, and what they cost.

    python -m benchmarks.features --quick        # random pixels only
    python -m benchmarks.features --data data/prepared/Set5 --output results/reference/features \\
        --runs results/reference/laptop/runs/edsr-x2-enla-k6-*-s0-* results/reference/laptop/runs/enlcn-x2-k6-*-s0-*

The distance is |Y − Y*| / |Y*| over 128 queries of an image, Y* the exact attention of the same query, key and value,
as `python -m sisr analyse` computes it: a mean over images, attention modules and three draws of the random features,
with the 95 % interval over images and modules. Untrained: 1,024 random pixels through random 1x1 embeddings. GFLOPs
follow the paper's convention (10,000 tokens, 64 channels of query, key and value). Time and memory are measured in
turn, in one run: compare ratios.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common import arguments, compare, machine, save
from models import attention
from models.attention._optimal_features import closest_rho, optimal_a
from models.attention._projection import draw_projection
from models.attention.adaptive_enla import adaptive_attention
from models.attention.enla import random_feature_attention
from models.attention.linear_response import linear_response
from sisr.analysis.capture import LARGEST, capture
from sisr.analysis.landmarks import comparison, exact_weights
from sisr.analysis.measure import label
from sisr.cost.timing import Call
from sisr.data.pairs import open_pairs
from sisr.results.labels import run_of
from sisr.results.significance import mean
from sisr.utils.errors import UsageError

K = 6.0
ROWS = 128
DRAWS = 3
NARROW = 4
WINDOW = 7
TOKENS, WIDTH = 10_000, 64  # of the paper's GFLOPs


@dataclass(frozen=True)
class Tokens:
    """query, key (N, C), value (N, Cv) of an image of `size`, and the rows that are compared."""

    query: Tensor
    key: Tensor
    value: Tensor
    size: tuple[int, int]
    rows: Tensor

    @property
    def queries(self) -> Tensor:
        return self.query[self.rows]


Estimate = Callable[[Tokens, Tensor], Tensor]
"""The rows' outputs, from tokens and a projection."""


def pooled(key_logs: Tensor, query_logs: Tensor, value: Tensor) -> Tensor:
    """φ(Q) (φ(K)ᵀ V) / φ(Q) (φ(K)ᵀ 1) from the logarithms of the features, (N, m) and (rows, m)."""
    total = torch.logsumexp(key_logs, dim=0)
    return torch.softmax(query_logs + total, dim=1) @ (torch.exp(key_logs - total).T @ value)


def sampled(tokens: Tokens, samples: Tensor, log_weight: Tensor) -> Tensor:
    """Features exp(w_j·x) of samples w_j (m, C), each pair weighted by exp(log_weight_j)."""
    return pooled(tokens.key @ samples.T + log_weight, tokens.queries @ samples.T, tokens.value)


def fitted(tokens: Tokens, projection: Tensor, stretch: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Samples q̄ + b + L F, where L = stretch(covariance of the queries, of the keys)."""
    centre = tokens.query.mean(0)
    weights = torch.softmax(tokens.key @ centre, dim=0)
    key_centre = weights @ tokens.key
    around, keys = tokens.query - centre, tokens.key - key_centre
    L = stretch(around.T @ around / len(around), (keys.T * weights) @ keys)
    samples = centre + key_centre + projection @ L
    return sampled(tokens, samples, ((projection**2).sum(1) - (samples**2).sum(1)) / 2)


def identity(queries: Tensor, keys: Tensor) -> Tensor:
    return torch.eye(len(keys))


def isotropic(queries: Tensor, keys: Tensor) -> Tensor:
    """The closed form of optimal features around the centre."""
    rho = closest_rho(len(keys), float(queries.trace() + keys.trace()))
    return math.sqrt((1 + rho) / 2) * torch.eye(len(keys))


def by_channel(queries: Tensor, keys: Tensor) -> Tensor:
    return torch.diag((1 + 2 * (queries + keys).diagonal()).sqrt())


def root(queries: Tensor, keys: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((queries + keys).double())
    return ((vectors * (1 + 2 * values.clamp_min(0)).sqrt()) @ vectors.T).float()


def mean_pooling(tokens: Tokens, projection: Tensor) -> Tensor:
    return tokens.value.mean(0).expand(len(tokens.rows), -1)


def one_query(tokens: Tokens, projection: Tensor) -> Tensor:
    """Exact attention of the mean query, the same for all."""
    weights = torch.softmax(tokens.key @ tokens.query.mean(0), dim=0)
    return (weights @ tokens.value).expand(len(tokens.rows), -1)


def features(tokens: Tokens, projection: Tensor, a: float = 0.0) -> Tensor:
    query, key, value = (x[None] for x in (tokens.queries, tokens.key, tokens.value))
    # the core gives one output a query, and takes as many keys as there are
    padded = F.pad(query, (0, 0, 0, key.shape[1] - query.shape[1]))
    return random_feature_attention(padded, key, value, projection, K, 1e-4, a)[0, : len(tokens.rows)]


def optimal(tokens: Tokens, projection: Tensor) -> Tensor:
    return features(tokens, projection, optimal_a(K, projection.shape[1]))


def adaptive(tokens: Tokens, projection: Tensor) -> Tensor:
    out = adaptive_attention(tokens.query[None], tokens.key[None], tokens.value[None], projection, K)
    return out[0, tokens.rows]


def response(tokens: Tokens, projection: Tensor) -> Tensor:
    return linear_response(tokens.query[None], tokens.key[None], tokens.value[None])[0, tokens.rows]


def second_order(tokens: Tokens, projection: Tensor) -> Tensor:
    """`linear_response` with the next term, half the third cumulant (q − q̄, q − q̄, v)."""
    base, x = about_the_mean_query(tokens)
    return base * (1 + x + (x**2 - (x**2 @ base)[:, None]) / 2) @ tokens.value


def about_the_mean_query(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Weights of the mean query on the positions, (N,), and (q − q̄)·(k − b), (rows, N)."""
    centre = tokens.query.mean(0)
    base = torch.softmax(tokens.key @ centre, dim=0)
    return base, (tokens.queries - centre) @ (tokens.key - base @ tokens.key).T


def mixture(tokens: Tokens, projection: Tensor) -> Tensor:
    """Samples around q + k of random pairs, weighted by their mixture density (Zheng et al. 2022, arXiv 2204.04667)."""
    generator = torch.Generator().manual_seed(0)
    m = len(projection)
    weights = torch.softmax(tokens.key @ tokens.query.mean(0), dim=0)
    chosen = torch.randint(len(tokens.query), (m,), generator=generator)
    keys = torch.multinomial(weights, m, replacement=True, generator=generator)
    centres = tokens.query[chosen] + tokens.key[keys]
    samples = centres + projection
    density = torch.logsumexp(-(torch.cdist(samples, centres) ** 2) / 2, dim=1)
    return sampled(tokens, samples, -(samples**2).sum(1) / 2 - density)


def quadratic(tokens: Tokens, projection: Tensor) -> Tensor:
    """Positive weights exp(q̄·k) (1 + x + x²/2), x = (q − q̄)·(k − b), whose factors are polynomials."""
    base, x = about_the_mean_query(tokens)
    weights = base * (1 + x + x**2 / 2)
    return weights / weights.sum(1, keepdim=True) @ tokens.value


def nystrom(tokens: Tokens, projection: Tensor) -> Tensor:
    """Means of consecutive tokens as landmarks (Xiong et al., AAAI 2021, arXiv 2102.03902), with the pseudo-inverse."""
    queries, keys = (
        torch.stack([part.mean(0) for part in x.tensor_split(len(projection))]) for x in (tokens.query, tokens.key)
    )
    middle = torch.linalg.pinv(torch.softmax(queries @ keys.T, dim=1).double()).float()
    right = torch.softmax(queries @ tokens.key.T, dim=1) @ tokens.value
    return torch.softmax(tokens.queries @ keys.T, dim=1) @ (middle @ right)


def local(tokens: Tokens, projection: Tensor) -> Tensor:
    """Random features, with the exact weights in a window around each query in the place of their estimates."""
    a = optimal_a(K, projection.shape[1])
    stretched, bias = math.sqrt(1 - 4 * a) * projection, 2 * a * (projection**2).sum(1)
    height, width = tokens.size
    places = torch.arange(height * width)
    y, x = places // width, places % width
    logs = tokens.key @ stretched.T + bias  # (N, m)
    top = logs.amax(0)
    constant = projection.shape[1] / 2 * math.log(1 - 4 * a) - math.log(len(projection)) - K
    estimate = torch.exp(tokens.queries @ stretched.T + top + constant) @ torch.exp(logs - top).T
    near = ((y[tokens.rows, None] - y).abs() <= WINDOW // 2) & ((x[tokens.rows, None] - x).abs() <= WINDOW // 2)
    weights = torch.where(near, torch.exp(tokens.queries @ tokens.key.T), estimate)
    return weights / weights.sum(1, keepdim=True) @ tokens.value


def learned(tokens: Tokens, other: Tokens, m: int, steps: int = 60) -> Tensor:
    """Samples and weights fitted by gradient descent to the same module's tokens of another image."""
    generator = torch.Generator().manual_seed(0)
    keys = torch.randperm(len(other.key), generator=generator)[:2048]
    samples = draw_projection(m, other.key.shape[1], True, generator).requires_grad_()
    log_weight = torch.zeros(m, requires_grad=True)
    part = Tokens(other.queries, other.key[keys], other.value[keys], (1, len(keys)), torch.arange(len(other.rows)))
    expected = exact_weights(part.query, part.key) @ part.value
    optimiser = torch.optim.Adam([samples, log_weight], lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        (sampled(part, samples, log_weight) - expected).square().sum().backward()
        optimiser.step()
    with torch.no_grad():
        return sampled(tokens, samples, log_weight)


def core(m: float, extra: float = 0.0, width: int = WIDTH) -> float:
    """GFLOPs of m features by the paper's convention, and `extra` multiply-adds a token."""
    return 2 * TOKENS * (2 * m * width + 2 * m * WIDTH + m + extra) / 1e9


SQUARE, MEANS = WIDTH**2, 2 * WIDTH
POLYNOMIALS = 1 + WIDTH + WIDTH * (WIDTH + 1) // 2  # of degree 2
CANDIDATES: dict[str, tuple[Estimate, int, float]] = {
    "mean pooling": (mean_pooling, 0, 0.0),
    "one shared query (exact for the mean query)": (one_query, 0, core(0, 2 * WIDTH)),
    "positive features (ENLA)": (features, 128, core(128)),
    "optimal features": (optimal, 128, core(128)),
    "optimal features, exact in a 7x7 window": (local, 96, core(96, WINDOW**2 * 2 * WIDTH)),
    "centred": (lambda t, F: fitted(t, F, identity), 120, core(120, MEANS)),
    "centred, optimal A of the image": (lambda t, F: fitted(t, F, isotropic), 120, core(120, 2 * MEANS)),
    "centred, each channel scaled": (lambda t, F: fitted(t, F, by_channel), 120, core(120, 2 * MEANS)),
    "centred, both covariances": (lambda t, F: fitted(t, F, root), 80, core(80, 2 * SQUARE + MEANS)),
    "adaptive_enla": (adaptive, 80, core(80, SQUARE + MEANS)),
    "mixture of pairs": (mixture, 96, core(96, MEANS)),
    "linear_response": (response, 0, core(0, 2 * SQUARE + 3 * WIDTH)),
    "second order about the mean query": (second_order, 0, core(POLYNOMIALS, MEANS)),
    "quadratic weights about the mean query": (quadratic, 0, core(POLYNOMIALS, MEANS)),
    "Nyström, means of segments": (nystrom, 128, core(128)),
}
"""Estimate, number of features, GFLOPs."""
LEARNED = "learned projection (from another image)"


def untrained(channels: int, draw: int) -> Tokens:
    """1,024 random pixels of 4·channels channels through random embeddings."""
    generator = torch.Generator().manual_seed(draw)
    x = torch.randn(1024, 4 * channels, generator=generator)
    query, key, value = (x @ torch.randn(4 * channels, n, generator=generator) for n in (channels, channels, 64))
    query, key = (F.normalize(tokens, dim=1) * math.sqrt(K) for tokens in (query, key))
    return Tokens(query, key, value, (32, 32), torch.randperm(1024, generator=generator)[:ROWS])


def trained(folder: Path, data: Path) -> Iterator[tuple[str, str, Tokens]]:
    """Label, module and tokens of a trained network for each image and module."""
    run = run_of(folder)
    if run is None or run.config["network"]["attention_options"].get("k") != K:
        raise UsageError(f"{folder} is not a run with k = {K:g}.")
    name = label(run) if run.attention in ("enla", "enlca") else f"{run.attention}, k = {K:g}"
    pairs = open_pairs(data, run.scale)
    sizes = {image: tuple(min(side, LARGEST) for side in pairs.lr(i).shape[:2]) for i, image in enumerate(pairs.names)}
    for index, captured in enumerate(capture(run, folder / "weights.safetensors", pairs)):
        rows = torch.randperm(len(captured.key), generator=torch.Generator().manual_seed(index))[:ROWS]
        height, width = sizes[captured.image]
        yield name, captured.slot, Tokens(captured.query, captured.key, captured.value, (height, width), rows)


def distances(name: str, channels: int, cases: list[tuple[str, Tokens]], learn: bool) -> Iterator[dict[str, object]]:
    """One row a candidate, for cases of a module's name and tokens."""
    exact = [exact_weights(tokens.queries, tokens.key) @ tokens.value for _, tokens in cases]

    def distance(case: int, out: Tensor) -> float:
        return float(comparison(out, exact[case], cases[case][1].value.mean(0))["error"])

    def row(candidate: str, m: int, gflops: float, values: Iterable[float]) -> dict[str, object]:
        values = list(values)
        average = mean(torch.tensor(values, dtype=torch.float64).numpy())
        print(f"{name:34s} {candidate:44s} {average.value:.3f} [{average.low:.3f}, {average.high:.3f}]", flush=True)
        return {
            "features": name, "channels": channels, "candidate": candidate, "m": m, "gflops": gflops,
            "distance": average.value, "low": average.low, "high": average.high, "worst": max(values),
        }  # fmt: skip

    candidates = dict(CANDIDATES)
    if channels == NARROW:
        for estimate, text in ((features, "positive features"), (optimal, "optimal features")):
            candidates[f"{text}, narrow: 4 channels and m = 240"] = (estimate, 240, core(240, width=NARROW))
    for candidate, (estimate, m, gflops) in candidates.items():
        draws = DRAWS if m else 1
        values = []
        for case, (_, tokens) in enumerate(cases):
            outs = (
                estimate(
                    tokens, draw_projection(max(m, 1), channels, True, torch.Generator().manual_seed(100 * case + i))
                )
                for i in range(draws)
            )
            values.append(sum(distance(case, out) for out in outs) / draws)
        yield row(candidate, m, gflops, values)
    if learn:
        others = [next(t for s, t in [*cases[case + 1 :], *cases] if s == slot) for case, (slot, _) in enumerate(cases)]
        with torch.enable_grad():
            outs = [learned(tokens, other, 128) for (_, tokens), other in zip(cases, others, strict=True)]
        yield row(LEARNED, 128, core(128), [distance(case, out) for case, out in enumerate(outs)])


def costs(tokens: int, device: torch.device) -> dict[str, Call]:
    """Those that are registered, on random tokens of 64 channels."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, tokens, WIDTH, generator=generator).to(device) for _ in range(3))
    query, key = (F.normalize(x, dim=-1) * math.sqrt(K) for x in (query, key))
    size = (1, tokens)
    modules = {
        "ENLA, positive features": attention.create("enla", 4 * WIDTH, k=K),
        "ENLA, optimal features": attention.create("enla", 4 * WIDTH, k=K, features="optimal"),
        "adaptive_enla": attention.create("adaptive_enla", 4 * WIDTH, k=K),
        "linear_response": attention.create("linear_response", 4 * WIDTH, k=K),
    }
    modules = {name: module.to(device).eval() for name, module in modules.items()}
    return {name: lambda module=module: module.attend(query, key, value, size) for name, module in modules.items()}


def main() -> None:
    parser = arguments(__doc__, repeats=30)
    parser.add_argument("--quick", action="store_true", help="one draw of untrained features, small sizes")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], metavar="FOLDER", help="trained runs with k = 6")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="images, for the trained runs")
    args = parser.parse_args()
    description = machine(args.device, args.threads)
    print(description)
    found: list[dict[str, object]] = []
    with torch.no_grad():
        for channels in (NARROW,) if args.quick else (NARROW, 8, 16, 64):
            cases = [("", untrained(channels, draw)) for draw in range(2 if args.quick else 4)]
            found += distances(f"untrained, {channels} channels", channels, cases, False)
        for folder in args.runs:
            named = list(trained(folder, args.data))
            cases = [(slot, tokens) for _, slot, tokens in named]
            found += distances(f"trained, {named[0][0]}", cases[0][1].key.shape[1], cases, True)
        measured = []
        for tokens in (1024,) if args.quick else (1024, 2304, 10_000, 57_600):
            timed = compare(f"{tokens:,} tokens", costs(tokens, args.device), args.device, args.repeats)
            measured.append(timed.assign(tokens=tokens, device=description))
    if args.output:
        save(pd.DataFrame(found).round(4), args.output / "candidates.csv")
        save(pd.concat(measured), args.output / "cost.csv")


if __name__ == "__main__":
    main()
