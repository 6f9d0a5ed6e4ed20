"""Optimal and adaptive random features, and the linear response: mean, variance and bounds, by simulation."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models import attention
from models.attention import _optimal_features as optimal
from models.attention import adaptive_enla, enla, linear_response
from models.attention._projection import draw_projection
from models.attention.nla import exact_attention


def tokens(shape: tuple[int, ...], k: float, seed: int) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(x, dim=-1) * math.sqrt(k)


def drawn(m: int, width: int, seed: int) -> Tensor:
    """Independent rows, in float64."""
    return draw_projection(m, width, False, torch.Generator().manual_seed(seed)).double()


def pixels(channels: int, seed: int, k: float = 6.0, shift: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key, value of 600 random pixels through random embeddings; `shift` moves all queries and keys one way."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(600, 16, generator=generator)
    query, key, value = (x @ torch.randn(16, n, generator=generator) / 4 for n in (channels, channels, 8))
    direction = shift * torch.eye(channels)[0]
    query, key = (F.normalize(each + direction, dim=1) * math.sqrt(k) for each in (query, key))
    return query[None], key[None], value[None]


def distance(out: Tensor, expected: Tensor) -> float:
    return ((out - expected).norm() / expected.norm()).item()


# optimal features


@pytest.mark.parametrize(("a", "cosine"), [(-0.3, 0.0), (-0.3, 0.8), (-0.1, -0.5), (0.0, 0.0)])
def test_optimal_features_have_the_mean_and_variance_of_the_closed_form(a: float, cosine: float) -> None:
    width, k, count = 5, 1.5, 400_000
    x, y = torch.zeros(2, width, dtype=torch.float64)
    x[0] = math.sqrt(k)
    y[0], y[1] = math.sqrt(k) * cosine, math.sqrt(k * (1 - cosine**2))
    one = enla.feature_map(torch.stack([x, y])[None], drawn(count, width, 1), a=a)[0] * math.sqrt(count)
    products = one[0] * one[1] / math.exp(k * cosine)
    variance = optimal.relative_variance(a, 2 * k * (1 + cosine), width)
    assert products.mean().item() == pytest.approx(1, abs=4 * math.sqrt(variance / count))
    assert products.var().item() == pytest.approx(variance, rel=0.25 if a == 0 else 0.05)


@pytest.mark.parametrize(("width", "deviation"), [(64, 9.0), (16, 2.1), (4, 0.47)])
def test_relative_deviation_of_the_kernel_at_the_papers_k_and_m(width: int, deviation: float) -> None:
    def of(a: float) -> float:
        return math.sqrt(optimal.relative_variance(a, 12.0, width) / 128)  # |q + k|² = 2·6·(1 + 0)

    assert of(0.0) == pytest.approx(35.7, abs=0.05)
    assert of((1 - optimal.closest_rho(width, 12.0)) / 8) == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize("width", [2, 4, 9, 64])
def test_a_minimises_the_first_order_error_of_the_output(width: int) -> None:
    """∫ exp(2k cos) variance(cos) over the sphere, by a sum over a fine grid of angles."""
    k = 6.0
    angle = (torch.arange(20_000, dtype=torch.float64) + 0.5) * math.pi / 20_000
    area = (width - 2) * angle.sin().log()

    def error(a: float) -> float:
        rho = 1 - 8 * a
        constant = width / 2 * math.log((1 + rho) ** 2 / (4 * rho))
        return constant + torch.logsumexp(area + 2 * k * angle.cos() + 2 * k * (1 + angle.cos()) / rho, 0).item()

    best = optimal.optimal_a(k, width)
    assert best < 0
    assert error(best) < min(error(0.98 * best), error(1.02 * best))


def test_mean_cosine_where_it_is_known() -> None:
    assert optimal.mean_cosine(1, 2.0) == pytest.approx(math.tanh(2.0), rel=1e-12)
    assert optimal.mean_cosine(3, 5.0) == pytest.approx(1 / math.tanh(5.0) - 1 / 5, rel=1e-12)
    assert optimal.mean_cosine(64, 3000.0) == pytest.approx(1 - 63 / 6000, rel=1e-3)


def test_optimal_features_halve_the_distance_of_narrow_embeddings_at_equal_cost() -> None:
    found = {}
    for features in ("positive", "optimal"):
        torch.manual_seed(0)
        module = attention.create("enla", 16, k=6, features=features)
        assert module.paper_flops(100, 4, 16)[0] == 2 * (2 * 128 * 100 * 4 + 2 * 128 * 100 * 16 + 128 * 100)
        sets = [pixels(4, seed) for seed in range(3)]
        found[features] = sum(distance(module.attend(*x, (20, 30)), module.exact(*x, (20, 30))) for x in sets)
    assert found["optimal"] < 0.6 * found["positive"]


@pytest.mark.parametrize("width", [1, 2, 4, 64])
@pytest.mark.parametrize(("k", "epsilon"), [(6.0, 1e-4), (enla.LARGEST_K_OPTIMAL, 0.0)])
def test_optimal_features_equal_the_reference_in_float64(k: float, epsilon: float, width: int) -> None:
    query, key = (tokens((2, 40, width), k, seed).float() for seed in (1, 2))
    value = tokens((2, 40, 5), 1, 3).float()
    projection = draw_projection(64, width, generator=torch.Generator().manual_seed(4))
    a = optimal.optimal_a(k, width)
    out = enla.random_feature_attention(query, key, value, projection, k, epsilon, a)
    wide = (x.double() for x in (query, key, value, projection))
    torch.testing.assert_close(out.double(), enla.reference_attention(*wide, epsilon, a), rtol=1e-3, atol=1e-4)


def test_positive_features_are_the_default() -> None:
    assert attention.create("enlca", 16).options["features"] == "positive"
    assert attention.create("enla", 16).a == 0
    with pytest.raises(ValueError, match='features must be "positive" or "optimal", not \'best\''):
        attention.create("enla", 16, features="best")
    with pytest.raises(ValueError, match="k must be at most 30 with optimal features, not 31"):
        attention.create("enla", 16, features="optimal", k=31)


# adaptive features


def test_adaptive_features_have_the_mean_and_variance_of_the_closed_form() -> None:
    k, width, count = 2.0, 4, 400_000
    query, key = tokens((1, 30, width), k, 5), tokens((1, 30, width), k, 6)
    projection = drawn(count, width, 7)
    features = adaptive_enla.fit(query, key, projection, k, 30)
    phi_query = torch.exp(query[0, :3] @ features.query[0].T + features.query_bias[0])
    phi_key = torch.exp(key[0] @ features.key[0].T + features.key_bias[0])
    products = phi_query[:, None] * phi_key  # (3, 30, count)
    means = products.mean(dim=2)
    expected = torch.exp(query[0, :3] @ key[0].T)
    # up to a factor of each query, which the normalisation cancels
    ratio = means / expected
    assert (ratio / ratio.mean(dim=1, keepdim=True) - 1).abs().max() < 0.02
    centre = query[0].mean(0)
    key_centre = torch.softmax(key[0] @ centre, 0) @ key[0]
    # L from the directions themselves: d = F L
    stretch = torch.linalg.lstsq(projection[:100], features.query[0, :100]).solution
    offset = query[0, :3, None] + key[0] - centre - key_centre
    predicted = adaptive_enla.relative_variance(stretch, offset)
    measured = products.var(dim=2) / means**2
    assert (measured / predicted - 1).abs().median() < 0.05
    assert predicted.mean() < 0.5 * math.expm1(2 * k)  # of ENLA at cos 0


def test_bias_of_the_output_is_within_the_bound() -> None:
    """|E Y − Y*| ≤ √E|Y − Y*|² · Σ w σ, for independent rows."""
    k, width, m, draws = 2.0, 4, 16, 1500
    query, key, value = tokens((1, 20, width), k, 1), tokens((1, 20, width), k, 2), tokens((1, 20, 3), 1, 3)
    outs = torch.stack(
        [adaptive_enla.adaptive_attention(query, key, value, drawn(m, width, seed), k)[0, 0] for seed in range(draws)]
    )
    weights = torch.softmax(query[0, 0] @ key[0].T, 0)
    exact = weights @ value[0]
    features = adaptive_enla.fit(query, key, drawn(100, width, 0), k, 20)
    stretch = torch.linalg.lstsq(drawn(100, width, 0), features.query[0]).solution
    centre = query[0].mean(0)
    offset = query[0, 0] + key[0] - centre - torch.softmax(key[0] @ centre, 0) @ key[0]
    deviation = weights @ (adaptive_enla.relative_variance(stretch, offset) / m).sqrt()
    squared = (outs - exact).square().sum(1).mean()
    noise = 4 * (squared / draws).sqrt()
    assert (outs.mean(0) - exact).norm() <= squared.sqrt() * deviation + noise
    spread = weights @ ((adaptive_enla.relative_variance(stretch, offset) / m).sqrt() * (value[0] - exact).norm(dim=1))
    assert squared.sqrt() <= 1.1 * spread  # the bound on the error, to first order


def test_adaptive_features_are_nearer_to_exact_attention_where_queries_are_alike() -> None:
    found = {}
    for name in ("enla", "adaptive_enla"):
        torch.manual_seed(0)
        module = attention.create(name, 32, k=6)
        sets = [pixels(8, seed, shift=3) for seed in range(3)]
        found[name] = sum(distance(module.attend(*x, (20, 30)), module.exact(*x, (20, 30))) for x in sets) / 3
    assert found["adaptive_enla"] < 0.5 * found["enla"]


def test_adaptive_features_in_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = pixels(8, 0)
    projection = draw_projection(24, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = adaptive_enla.adaptive_attention(query, key, value, projection, 6.0)
        monkeypatch.setattr(adaptive_enla, "CPU_CHUNK", 70)
        chunked = adaptive_enla.adaptive_attention(query, key, value, projection, 6.0)
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [0.01, 1e3])
def test_adaptive_features_are_a_mean_of_values_at_any_k(k: float) -> None:
    query, key, value = pixels(8, 2, k=k)
    out = adaptive_enla.adaptive_attention(query, key, value, draw_projection(24, 8), k)
    assert (out <= value.amax(1) + 1e-4).all()
    assert (out >= value.amin(1) - 1e-4).all()
    if k < 1:
        assert (out - exact_attention(query, key, value)).abs().max() < 0.05


def test_adaptive_features_refuse_a_k_whose_gradients_overflow() -> None:
    with pytest.raises(ValueError, match=r"k must be at most 1400, not 1e\+20"):
        attention.create("adaptive_enla", 16, k=1e20)


def test_adaptive_features_cost_less_than_the_papers_by_its_convention() -> None:
    flops, _ = attention.create("adaptive_enla", 256).paper_flops(10_000, 64, 64)
    moments = 2 * (10_000 * (64 * 64 + 2 * 64) + 80 * 64 * 64)
    assert flops == 2 * (4 * 80 * 10_000 * 64 + 80 * 10_000) + moments
    assert flops < 0.66e9


# linear response


def test_linear_response_is_the_derivative_of_exact_attention() -> None:
    query, key, value = tokens((1, 9, 4), 6, 1), tokens((1, 30, 4), 6, 2), tokens((1, 30, 5), 1, 3)
    centre = query[0].mean(0)

    def exact(q: Tensor) -> Tensor:
        return torch.softmax(key[0] @ q, 0) @ value[0]

    # the core takes as many keys as queries: those added leave the mean query as it is
    queries = torch.cat([query, centre.expand(1, 21, 4)], dim=1)
    out = linear_response.linear_response(queries, key, value)[0]
    for row in range(9):
        start, slope = torch.func.jvp(exact, (centre,), (query[0, row] - centre,))
        torch.testing.assert_close(out[row], start + slope)
    torch.testing.assert_close(out.mean(0), exact(centre))


def test_linear_response_is_exact_for_equal_queries_and_its_error_is_of_second_order() -> None:
    key, value = tokens((1, 40, 6), 6, 2), tokens((1, 40, 5), 1, 3)
    middle, deviation = tokens((1, 1, 6), 6, 1), tokens((1, 40, 6), 1, 4)
    deviation = deviation - deviation.mean(1, keepdim=True)
    found = []
    for size in (0.0, 0.01, 0.02):
        query = middle + size * deviation
        error = linear_response.linear_response(query, key, value) - exact_attention(query, key, value)
        found.append(error.norm().item())
        # ½ |δ|² λ_max max|v − v'|, where λ_max is at most |k|² = 6
        furthest = torch.cdist(value[0], value[0]).max()
        bound = (size * deviation[0]).square().sum(1) * 6 * furthest / 2
        assert (error[0].norm(dim=1) <= bound + 1e-12).all()
    assert found[0] < 1e-12
    assert found[2] / found[1] == pytest.approx(4, rel=0.05)


def test_linear_response_is_nearer_to_exact_attention_at_a_quarter_of_the_cost() -> None:
    torch.manual_seed(0)
    both = {name: attention.create(name, 256, k=6) for name in ("enla", "linear_response")}
    flops = {name: module.paper_flops(10_000, 64, 64)[0] for name, module in both.items()}
    assert flops["linear_response"] == 2 * (2 * 10_000 * 64 * 64 + 2 * 10_000 * 64 + 10_000 * 64)
    assert flops["linear_response"] < 0.26 * flops["enla"]
    inputs = pixels(64, 0)
    found = {
        n: distance(module.attend(*inputs, (20, 30)), module.exact(*inputs, (20, 30))) for n, module in both.items()
    }
    assert found["linear_response"] < 0.3
    assert found["enla"] > 1


def test_linear_response_in_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = pixels(8, 0)
    with torch.no_grad():
        whole = linear_response.linear_response(query, key, value)
        monkeypatch.setattr(linear_response, "CPU_CHUNK", 70)
        chunked = linear_response.linear_response(query, key, value)
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)
