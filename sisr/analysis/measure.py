"""The rows of error.csv and attended.csv: random unit features first, then those of trained networks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.attention._projection import draw_projection
from sisr.analysis import landmarks
from sisr.analysis.capture import Captured, capture
from sisr.analysis.rows import AttendedRow, ErrorRow
from sisr.config import declared
from sisr.config.layout import Results
from sisr.data.pairs import Pairs
from sisr.results.cells import origin
from sisr.results.labels import PAPER_M, mechanism_label
from sisr.results.runs import Run, Setting, by_row, group

KS = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)
MS = (8, 16, 32, 64, 128, 256)
K, M = 6.0, PAPER_M
"""The paper's values, used while the other one is varied."""
TOKENS = 2304
"""Tokens of random features: as many as in a 48x48 patch."""
WIDTH = 64
DRAWS = 12
"""Sets of random features."""
ROWS = 128
"""Number of sampled queries of each image, to avoid N x N matrices."""


@dataclass(frozen=True)
class Features:
    """Queries (a sample), keys and values of one module and image; query and key have length √k, unless k is None."""

    place: dict[str, Any]
    query: Tensor
    key: Tensor
    value: Tensor
    k: float | None
    a: float = 0.0
    """A of optimal features of a network trained with them."""

    def at(self, k: float) -> "Features":
        """The same directions at another amplification factor."""
        assert self.k is not None
        factor = (k / self.k) ** 0.5
        return replace(self, query=self.query * factor, key=self.key * factor, k=k)

    def exact(self) -> Tensor:
        """Output of exact softmax attention: (queries, Cv)."""
        return landmarks.exact_weights(self.query, self.key) @ self.value


def label(run: Run) -> str:
    """Label of a run: mechanism, k, and m if it is not 128."""
    return mechanism_label(str(run.attention), run.options, run.contrastive)


def ablation(run: Run) -> bool:
    """Whether a run is part of the paper's ablation: without the loss at any k, or with it at the paper's k and m."""
    if run.options.get("features") == "optimal":
        return False
    if run.attention is None or run.attention not in (declared.paper()["WITHOUT_LOSS"], declared.paper()["MECHANISM"]):
        return False
    k, m = (float(declared.mechanisms()[run.attention].option(option, run.options)) for option in ("k", "m"))
    return m == M and (not run.contrastive or k == K)


def random_features(seed: int, channels: int, tokens: int = TOKENS, rows: int = ROWS) -> Features:
    """Query and key on the unit sphere, uniformly, and standard normal values of width 64; at k = 1."""
    generator = torch.Generator().manual_seed(seed)
    query, key = (
        torch.nn.functional.normalize(torch.randn(count, channels, generator=generator), dim=1)
        for count in (rows, tokens)
    )
    value = torch.randn(tokens, WIDTH, generator=generator)
    place = {
        "source": "random", "label": f"random, {channels} channels", "draw": seed, "tokens": tokens,
        "channels": channels, "sampled": rows,
    }  # fmt: skip
    return Features(place, query, key, value, 1.0)


def random_rows(channels: Sequence[int], draws: int) -> tuple[list[ErrorRow], list[AttendedRow]]:
    """Random unit features with 64 channels, as in the paper, and with those of the trained networks."""
    errors, attended = [], []
    for width in dict.fromkeys([WIDTH, *channels]):
        for draw in range(draws):
            features = random_features(draw, width)
            generator = torch.Generator().manual_seed(1000 + draw)
            errors += _sweep(features, generator, K, M)
            errors += [
                _error(features.at(k), draw_projection(M, width, False, generator), 0.0, "independent") for k in KS
            ]
            if draw < 4:
                for k in (1.0, K):
                    projection = draw_projection(M, width, True, generator)
                    at = features.at(k)
                    named = replace(at, place={**at.place, "label": f"{at.place['label']}, k = {k:g}"})
                    attended += _attended(named, projection, 0.0)
    return errors, attended


def trained_rows(
    runs: Sequence[Run], results: Path, pairs: Pairs
) -> Iterator[tuple[list[ErrorRow], list[AttendedRow]]]:
    """One pair of lists a run; those of the ablation (`ablation`) also at other k and m than they were trained with.

    Raises SisrError if two different settings have the same label, or weights are missing.
    """
    by_row(group(runs), lambda setting: label(setting.first))
    for run in runs:
        errors: list[ErrorRow] = []
        attended: list[AttendedRow] = []
        for index, captured in enumerate(capture(run, Results(results).weights(run.id), pairs)):
            features = _features(captured, results.name, index)
            attended += _attended(features, captured.projection, captured.epsilon)
            if captured.projection is None or captured.k is None:
                continue
            m = captured.projection.shape[0]
            errors.append(_error(features, captured.projection, captured.epsilon, "own", as_trained=True))
            generator = torch.Generator().manual_seed(index)
            if ablation(run):
                errors += _sweep(features, generator, captured.k, m, captured.epsilon)
            else:
                fresh = draw_projection(m, features.key.shape[1], True, generator)
                errors.append(_error(features, fresh, captured.epsilon, "orthogonal", as_trained=True))
        yield errors, attended


def _features(captured: Captured, preset: str, seed: int) -> Features:
    tokens, channels = captured.key.shape
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randperm(tokens, generator=generator)[:ROWS]
    place = {
        "source": "trained", "label": label(captured.run), "run": captured.run.id, "image": captured.image,
        "slot": captured.slot, "tokens": tokens, "channels": channels, "sampled": len(sample),
    }  # fmt: skip
    source = {key: text for key, text in origin(Setting((captured.run,)), preset).items() if key != "runs"}
    return Features(place | source, captured.query[sample], captured.key, captured.value, captured.k, captured.a)


def _sweep(
    features: Features, generator: torch.Generator, trained_k: float, trained_m: int, epsilon: float = 0.0
) -> list[ErrorRow]:
    """All of `KS` with trained_m features, and all of `MS` at trained_k, each with new orthogonal projections."""
    channels = features.key.shape[1]
    rows = []
    for k in sorted({*KS, trained_k}):
        at = features.at(k)
        exact = at.exact()
        for m in sorted({*MS, trained_m}) if k == trained_k else [trained_m]:
            projection = draw_projection(m, channels, True, generator)
            rows.append(_error(at, projection, epsilon, "orthogonal", exact, (k, m) == (trained_k, trained_m)))
    return rows


def _error(
    features: Features, projection: Tensor, epsilon: float, kind: str, exact: Tensor | None = None,
    as_trained: bool = False,
) -> ErrorRow:  # fmt: skip
    steps = landmarks.landmarks(features.query, features.key, projection, epsilon, features.a)
    out = steps.output(features.value)
    compared = landmarks.comparison(out, features.exact() if exact is None else exact, features.value.mean(0))
    assert features.k is not None
    trained = as_trained and features.place["source"] == "trained"
    return ErrorRow(**features.place, k=features.k, m=len(projection), projection=kind, as_trained=trained, **compared)


def _attended(features: Features, projection: Tensor | None, epsilon: float) -> list[AttendedRow]:
    """The row of exact attention, and that of ENLA if there is a projection."""
    logits = features.query @ features.key.T
    lengths = features.query.norm(dim=1, keepdim=True) * features.key.norm(dim=1)
    cosine = logits / lengths.clamp_min(1e-12)
    seen, nearest = landmarks.similarity(logits, cosine)
    exact = landmarks.spread(torch.softmax(logits, dim=1), nearest, features.value)
    rows = [AttendedRow(**features.place, k=features.k, m=None, operator="exact", **exact, **seen)]
    if projection is not None:
        steps = landmarks.landmarks(features.query, features.key, projection, epsilon, features.a)
        columns = landmarks.spread(steps.weights(), nearest, features.value)
        columns |= {**landmarks.carried(steps, features.value), **seen}
        rows.append(AttendedRow(**features.place, k=features.k, m=len(projection), operator="ENLA", **columns))
    return rows
