"""What ENLA computes: the estimator's mean and variance, the two ways of writing it, and what is said of it."""

from math import exp, expm1, sqrt
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from models.attention._projection import draw_projection
from models.attention.enla import reference_attention
from sisr.analysis import capture, findings, kernel_noise, landmarks, measure, rows
from sisr.analysis.summary import labels, mean
from sisr.cli import main
from sisr.data.store import write
from sisr.utils.errors import SisrError, UsageError
from tests.helpers import results_folder

SOURCE = Path(__file__).parents[2] / "notebooks" / "what_enla_computes.ipynb"


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize(("k", "cosine"), [(0.5, 0.0), (1.0, -0.5), (1.0, 0.0), (1.0, 0.5)])
def test_the_estimate_is_unbiased_at_small_k(k: float, cosine: float, orthogonal: bool) -> None:
    """Written out: φ(Q)·φ(K) = (1/m) Σ exp(F_j·Q − k/2) exp(F_j·K − k/2), mean over projections = exp(k·cos)."""
    C, m, draws = 16, 32, 600
    query = torch.zeros(C, dtype=torch.float64)
    query[0] = sqrt(k)
    key = torch.zeros(C, dtype=torch.float64)
    key[0], key[1] = sqrt(k) * cosine, sqrt(k * (1 - cosine**2))
    generator = torch.Generator().manual_seed(3)
    values = []
    for _ in range(draws):
        F = draw_projection(m, C, orthogonal, generator).double()
        phi_query, phi_key = torch.exp(F @ query - k / 2), torch.exp(F @ key - k / 2)
        values.append((phi_query @ phi_key / m).item())
    # by the formula, for independent rows; orthogonal ones have less
    deviation = exp(k * cosine) * sqrt(expm1(2 * k * (1 + cosine)) / m / draws)
    assert abs(np.mean(values) - exp(k * cosine)) < 4 * deviation


def test_one_column_of_a_projection_is_an_estimate() -> None:
    """`estimates` along axis 0 against the feature maps written out, with Q + K along axis 0."""
    F = draw_projection(24, 8, True, torch.Generator().manual_seed(1))
    k, cosine = 2.0, 0.3
    half = np.arccos(cosine) / 2
    query, key = torch.zeros(8), torch.zeros(8)
    query[0] = key[0] = sqrt(k) * np.cos(half)
    query[1], key[1] = sqrt(k) * np.sin(half), -sqrt(k) * np.sin(half)
    assert float(query @ key) == pytest.approx(k * cosine, rel=1e-5)
    expected = (torch.exp(F @ query - k / 2) * torch.exp(F @ key - k / 2)).mean().item() / exp(k * cosine)
    assert kernel_noise.estimates(F[None], 2 * k * (1 + cosine))[0, 0].item() == pytest.approx(expected, rel=1e-5)


def test_measured_variance_follows_the_formula_and_orthogonal_rows_lower_it() -> None:
    found = rows.frame(kernel_noise.kernel_rows(channels=32, m=32, draws=200, batch=50))
    # k = 0.25, cos = 1: |Q + K|² = 2 · 0.25 · 2 = 1, so the variance is (e − 1) / 32 = 0.05370
    place = found[(found["k"] == 0.25) & (found["cosine"] == 1)].set_index("projection")
    assert place["predicted"].tolist() == pytest.approx([0.0536963] * 2, rel=1e-5)
    independent, orthogonal = (place.loc[name, "variance"] for name in ("independent", "orthogonal"))
    assert independent == pytest.approx(0.05370, rel=0.1)
    assert orthogonal < 0.9 * independent
    assert (found["mean_low"] <= found["mean"]).all()
    assert (found["mean"] <= found["mean_high"]).all()
    # k = 6, cos = 1: half of the estimates are far below what they estimate, and the variance is out of reach
    large = found[(found["k"] == 6) & (found["cosine"] == 1)]
    assert (large["median"] < 0.2).all()
    assert (large["variance"] < 0.01 * large["predicted"]).all()
    assert (large["expected_spread"] > 1e6).all()


def test_expected_spread_is_that_of_a_normal_variance_where_nothing_is_skewed() -> None:
    # |Q + K|² → 0: the log-normal becomes normal, whose sample variance has relative variance 2 / n
    assert kernel_noise.expected_spread(1e-9, 128, 800) == pytest.approx(sqrt(2 / 800), rel=1e-4)
    assert kernel_noise.expected_spread(1000.0, 128, 800) == float("inf")


@settings(max_examples=25)
@given(
    tokens=st.integers(1, 40), channels=st.integers(1, 9), m=st.integers(1, 20), k=st.floats(0.1, 12),
    epsilon=st.sampled_from([0.0, 1e-4]), a=st.sampled_from([0.0, -0.3]),
)  # fmt: skip
def test_landmarks_are_enla_written_the_other_way_round(
    tokens: int, channels: int, m: int, k: float, epsilon: float, a: float
) -> None:
    query, key = (k**0.5 * unit(tokens, channels, seed=seed) for seed in (1, 2))
    value = unit(tokens, 5, seed=3)
    F = draw_projection(m, channels, generator=torch.Generator().manual_seed(4)).double()
    steps = landmarks.landmarks(query, key, F, epsilon, a)
    expected = reference_attention(query[None], key[None], value[None], F, epsilon, a)[0]
    torch.testing.assert_close(steps.output(value), expected, rtol=1e-8, atol=1e-9)
    weights = steps.weights()
    torch.testing.assert_close(weights @ value, expected, rtol=1e-8, atol=1e-9)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(tokens, dtype=torch.float64))
    assert torch.linalg.matrix_rank(weights) <= m


def test_landmarks_neither_overflow_nor_vanish() -> None:
    key = 1e3 * unit(50, 4)  # exponents of thousands
    steps = landmarks.landmarks(key[:5].float(), key.float(), draw_projection(8, 4).float())
    assert torch.isfinite(steps.weights()).all()
    assert steps.choice.sum(1).tolist() == pytest.approx([1] * 5)


def test_effective_numbers_of_weights_that_are_known() -> None:
    N = 100
    value = unit(N, 3)
    nearest = torch.zeros(4, 2, dtype=torch.int64)
    nearest[:, 1] = 1
    even = landmarks.spread(torch.full((4, N), 1 / N, dtype=torch.float64), nearest, value)
    assert even["positions"] == pytest.approx(N)
    assert even["participation"] == pytest.approx(N)
    assert even["top_share"] == pytest.approx(0.02)
    assert even["rank"] == pytest.approx(1)
    assert even["detail"] == pytest.approx(0, abs=1e-12)
    single = landmarks.spread(torch.eye(4, N, dtype=torch.float64), nearest, value)
    assert single["positions"] == pytest.approx(1)
    assert single["rank"] == pytest.approx(4)
    assert single["top_share"] == pytest.approx(0.5)  # queries 0 and 1 look at positions 0 and 1


def test_carried_counts_features_and_what_tells_queries_apart() -> None:
    pooling = torch.full((4, 10), 0.1, dtype=torch.float64)
    value = unit(10, 3)
    apart = landmarks.carried(landmarks.Landmarks(torch.eye(4, dtype=torch.float64), pooling), value)
    # each query uses one feature, and all four features are used by a query of their own
    assert (apart["features"], apart["buckets"]) == (pytest.approx(1), pytest.approx(4))
    assert apart["landmark"] == pytest.approx(10)
    shared = landmarks.carried(landmarks.Landmarks(torch.full((6, 4), 0.25).double(), pooling), value)
    assert (shared["features"], shared["buckets"]) == (pytest.approx(4), pytest.approx(1))
    assert shared["few_error"] == pytest.approx(0, abs=1e-12)


def test_comparison_of_outputs_that_are_known() -> None:
    average = torch.tensor([1.0, 0.0])
    exact = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    same = landmarks.comparison(exact, exact, average)
    assert (same["error"], same["correlation"]) == (0, pytest.approx(1))
    # |mean − Y*|² = 1 + 1, |Y*|² = 4
    assert same["error_of_mean"] == pytest.approx(sqrt(0.5))
    mirrored = landmarks.comparison(2 * average - exact, exact, average)
    assert mirrored["error_beyond_mean"] == pytest.approx(2)
    assert mirrored["correlation_across"] == pytest.approx(-1)


def test_gap_and_quantiles_of_similarities_that_are_known() -> None:
    logits = torch.arange(99.0, -1, -1).repeat(3, 1)  # rank r has logit 99 − r
    told, nearest = landmarks.similarity(logits, logits / 99)
    # relevant: ranks 0, 1; irrelevant: ranks 8, 9; both pairs have the same shape, eight apart
    assert told["gap"] == pytest.approx(8, rel=1e-5)
    assert sorted(nearest[0].tolist()) == [0, 1]
    assert told["cosine_50"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("k", [1.0, 2.0])
def test_random_features_attend_to_as_many_positions_as_derived(k: float) -> None:
    """Cosines of random unit vectors are about N(0, 1/c), so Σ a² ≈ exp(k²/c) / N for exact attention."""
    features = measure.random_features(0, 64).at(k)
    weights = landmarks.exact_weights(features.query, features.key)
    assert (1 / (weights**2).sum(1)).mean().item() == pytest.approx(2304 * exp(-(k**2) / 64), rel=0.02)


def test_error_on_random_features_is_what_the_weights_say() -> None:
    """With independent standard normal values, E|Y − Y*|² = C · Σ (a − a*)²: the error needs no values at all."""
    features = measure.random_features(1, 64).at(4.0)
    F = draw_projection(128, 64, True, torch.Generator().manual_seed(0))
    steps = landmarks.landmarks(features.query, features.key, F)
    exact = landmarks.exact_weights(features.query, features.key)
    expected = ((steps.weights() - exact).norm() / exact.norm()).item()
    value = torch.randn(2304, 3000, generator=torch.Generator().manual_seed(5))
    compared = landmarks.comparison(steps.output(value), exact @ value, value.mean(0))
    assert compared["error"] == pytest.approx(expected, rel=0.03)


def test_at_k_6_mean_pooling_is_nearer_to_exact_attention_than_enla_is() -> None:
    errors, attended = measure.random_rows([], draws=3)
    table = rows.frame(errors)
    at = table[(table["m"] == 128) & (table["projection"] == "orthogonal")].groupby("k")[["error", "error_of_mean"]]
    found = at.mean()
    assert 0.12 < found.loc[1.0, "error"] < 0.25
    assert found.loc[6.0, "error"] > 2
    assert found.loc[6.0, "error_of_mean"] < 0.8
    # by the weights: |mean − Y*|² / |Y*|² = 1 − 1 / (N Σ a*²) = 1 − exp(−k²/c) with k²/c = 36/64
    assert found.loc[6.0, "error_of_mean"] == pytest.approx(sqrt(1 - exp(-36 / 64)), rel=0.06)
    assert {row.label for row in attended} == {"random, 64 channels, k = 1", "random, 64 channels, k = 6"}


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A results folder with small untrained networks, analysed by the command."""
    root = tmp_path_factory.mktemp("analysis")
    results = root / "quick"
    ids = []
    for name, attention, options in (
        ("edsr", "enla", {"k": 1.0, "m": 128}),
        ("edsr", "enla", {"k": 6.0, "m": 128}),
        ("enlcn", "enlca", {"k": 6.0, "m": 128}),
        ("enlcn", "enlca", {"k": 1.0, "m": 16}),
        ("edsr", "nla", {}),
        ("edsr", None, {}),
    ):
        run = results_folder.run(name, 4, attention, **options)
        results_folder.add(results, run)
        torch.manual_seed(0)
        model = models.create(
            name, 4, blocks=4, channels=32, attention=attention, attention_options=options, slots=(0, 4)
        )
        models.save(model, results / "runs" / run.id / "weights.safetensors")
        ids.append(run.id)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 80, 3), dtype=np.uint8)
    write(root / "set" / "hr", [("one", pixels[0]), ("two", pixels[1])], {})
    write(
        root / "set" / "x4", [("one", pixels[0, ::4, ::4]), ("two", pixels[1, ::4, ::4])], {"lr": {"from": "imresize"}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "DRAWS", 3)
        patch.setattr(kernel_noise, "DRAWS", 60)
        words = ["analyse", "--results", results, "--runs", *ids, "--data", root / "set", "--scale", "4"]
        assert main([str(word) for word in words]) == 0
    return results, ids


def tables(results: Path) -> dict[str, pd.DataFrame]:
    return {name: rows.read(name, results / "analysis") for name in rows.TABLES}


def test_the_command_writes_tables_and_figure(analysed: tuple[Path, list[str]]) -> None:
    results, ids = analysed
    found = tables(results)
    trained = found["attended"][found["attended"]["source"] == "trained"]
    assert set(trained["run"]) == set(ids[:5])  # the baseline has no attention to look into
    assert len(trained) == 2 * 2 * (4 * 2 + 1)  # images, slots; exact and ENLA, and exact alone for NLA
    assert set(trained["channels"]) == {8}
    assert set(trained["tokens"]) == {24 * 20}
    assert trained["positions"].between(1, 480.001).all()
    assert trained["buckets"].dropna().between(0.999, 128).all()
    own = found["error"][found["error"]["as_trained"]]
    assert set(zip(own["label"], own["k"], own["m"], strict=True)) == {
        ("ENLA, k = 1", 1, 128), ("ENLA, k = 6", 6, 128), ("ENLCA, k = 6", 6, 128), ("ENLCA, k = 1, m = 16", 1, 16),
    }  # fmt: skip
    png, svg = (results / "figures" / f"what_enla_computes.{ending}" for ending in ("png", "svg"))
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "Not comparable" in svg.read_text()
    order = labels(found["attended"])
    assert order[0] == "random, 64 channels, k = 1"
    assert order[-1] == "ENLCA, k = 6"


def test_captured_features_reproduce_the_networks_own_attention(analysed: tuple[Path, list[str]]) -> None:
    results, ids = analysed
    (run,) = capture.find_runs(results, ids[2:3], 4)
    weights = results / "runs" / run.id / "weights.safetensors"
    from sisr.data.pairs import open_pairs

    seen = list(capture.capture(run, weights, open_pairs(results.parent / "set", 4)))
    assert [(each.image, each.slot) for each in seen] == [("one", "0"), ("one", "4"), ("two", "0"), ("two", "4")]
    module: Any = models.load(weights).attention["0"]  # type: ignore[union-attr, index]
    first = seen[0]
    with torch.no_grad():
        expected = module.attend(first.query[None], first.key[None], first.value[None], (24, 20))[0]
    assert first.projection is not None
    own = landmarks.landmarks(first.query, first.key, first.projection, first.epsilon).output(first.value)
    torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-4)
    assert first.query.norm(dim=1).numpy() == pytest.approx(sqrt(6), rel=1e-4)


def test_findings_are_computed_from_the_tables(analysed: tuple[Path, list[str]]) -> None:
    found = tables(analysed[0])
    said = " ".join(findings.describe_analysis(found))
    part = found["error"]
    part = part[(part["source"] == "random") & (part["channels"] == 64) & (part["projection"] == "orthogonal")]
    at = mean(part[(part["m"] == 128) & (part["k"] == 6)], "error")
    assert f"{100 * at.value:.0f} % [{100 * at.low:.0f}, {100 * at.high:.0f}] at k = 6" in said
    assert "no approximation of softmax attention" in said
    assert "8 channels, the paper's 64" in said
    # were the errors small, the sentence would say so
    near = found | {"error": found["error"].assign(error=0.01)}
    told = " ".join(findings.describe_analysis(near))
    assert "a rough approximation" in told
    assert "farther from exact attention than ENLA is" in told


def test_notebook_shows_findings_figure_and_origin(analysed: tuple[Path, list[str]], tmp_path: Path) -> None:
    from sisr.report.notebooks import execute

    source = nbformat.read(SOURCE, as_version=4)
    nbformat.validate(source)
    codes = [cell for cell in source.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in codes)
    assert all(len(cell.source) < 100 for cell in codes), "a notebook shows, and computes nothing"
    page = tmp_path / "page.html"
    execute(SOURCE, tmp_path / "executed.ipynb", {"results": str(analysed[0])}, page)
    html = page.read_text()
    for part in ("Findings", "data:image/png;base64,", "0123abcd", "no approximation", analysed[1][2]):
        assert part in html


def test_calls_that_cannot_work_are_one_sentence(analysed: tuple[Path, list[str]], tmp_path: Path) -> None:
    results, ids = analysed
    with pytest.raises(SisrError, match="train this run first"):
        capture.find_runs(results, ["enlcn-x4-nowhere"], 4)
    with pytest.raises(UsageError, match="upscales x4, not x2"):
        capture.find_runs(results, ids[:1], 2)
    with pytest.raises(UsageError, match="none of --runs has the attention"):
        capture.find_runs(results, ids[5:], 4)
    with pytest.raises(SisrError, match="run python -m sisr analyse"):
        rows.read("kernel", tmp_path)
    (results / "analysis" / "kernel.csv").rename(tmp_path / "kernel.csv")
    try:
        pd.read_csv(tmp_path / "kernel.csv").drop(columns="median").to_csv(results / "analysis" / "kernel.csv")
        with pytest.raises(SisrError, match="lacks the column median"):
            rows.read("kernel", results / "analysis")
    finally:
        (tmp_path / "kernel.csv").replace(results / "analysis" / "kernel.csv")
