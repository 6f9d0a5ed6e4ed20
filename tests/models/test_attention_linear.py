"""Mechanisms whose time and memory grow with N: hand-made cases, what their papers promise, and what they hold."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from models import attention
from models.attention.linear import kernel_attention
from models.attention.nla import exact_attention
from models.attention.nystrom import _segment_means

CHANNELS = 8


def mechanism(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return attention.create(name, CHANNELS, **options).double().eval()


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Largest(TorchDispatchMode):
    """Remembers the entries of the largest tensor that an operator made."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor):
                self.entries = max(self.entries, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("name", "growth"),
    [(name, 4) for name in ("linear", "efficient", "nystrom", "agent", "focused_linear", "global_learnable")]
    + [("criss_cross", 8), ("pyramid", 4)],
)
def test_no_tensor_grows_with_the_square_of_the_tokens(name: str, growth: int, training: bool) -> None:
    """With four times the tokens, all are four times as large; criss-cross has N(H + W) scores."""
    module, largest = attention.create(name, CHANNELS).train(training), []
    side = 12 if name == "pyramid" else 40
    for sides in (side, 2 * side):
        x = torch.randn(1, CHANNELS, sides, sides, requires_grad=training)
        with Largest() as made, torch.set_grad_enabled(training):
            out = module(x)
            if training:
                out.square().sum().backward()
        largest.append(made.entries)
    assert largest[1] <= 1.1 * growth * largest[0]


@pytest.mark.parametrize(
    ("spec", "runs", "scaled"),
    [
        ("linear", 1, 0), ("efficient", 1, 0), ("nystrom:landmarks=16", 1, 0), ("nystrom:landmarks=200", 1, 0),
        ("agent:heads=2", 1, 0), ("global_learnable:chunk=20", 1, 0), ("global_learnable", 1, 0), ("pyramid", 1, 0),
        ("criss_cross", 2, 0),
        ("focused_linear:heads=4", 1, 100 * 16),  # keys are scaled and summed, which is counted as a product
    ],
)  # fmt: skip
def test_operations_are_those_of_the_formula(spec: str, runs: int, scaled: int) -> None:
    measure = pytest.importorskip("sisr.cost.measure")
    subject = measure.build(spec, 16, (10, 10), 16, torch.device("cpu"))
    counted, c, c_out = measure._core(subject, measure.Operations(0, "", "", None, {}, {}, {}))
    formula = measure.paper_gflops(subject, c, c_out)
    products = sum(counted.products.values()) - scaled  # without interpolation, which is free
    assert formula[0] == pytest.approx(2e-9 * runs * products)
    assert "not the paper's" in formula[1]


# linear


def test_linear_attention_by_hand() -> None:
    """φ(0) = 1, φ(1) = 2, φ(−1) = 1/e: a query (0) and two keys (1), (−1) have the weights 2 and 1/e."""
    query, key = torch.zeros(1, 2, 1).double(), torch.tensor([[[1.0], [-1.0]]]).double()
    value = torch.tensor([[[1.0, 0], [0, 1]]]).double()
    out = mechanism("linear", epsilon=0.0).attend(query, key, value, (1, 2))
    expected = torch.tensor([2, 1 / math.e]).double() / (2 + 1 / math.e)
    torch.testing.assert_close(out[0], expected.expand(2, 2))


def test_products_in_any_order_and_parts_are_the_same() -> None:
    """Associativity: (Q Kᵀ) V = Q (Kᵀ V); and sums over keys are sums of those of their parts."""
    query, key, value = tokens(2, 40, 5).exp(), tokens(2, 40, 5, seed=1).exp(), tokens(2, 40, 7, seed=2)
    similarity = query @ key.transpose(1, 2)
    expected = similarity @ value / similarity.sum(-1, keepdim=True)
    torch.testing.assert_close(kernel_attention(query, key, value, 0.0), expected)
    order = torch.randperm(40)
    torch.testing.assert_close(kernel_attention(query, key[:, order], value[:, order], 0.0), expected)


# efficient


def test_efficient_attention_normalises_queries_over_channels_and_keys_over_positions() -> None:
    module = mechanism("efficient")
    query, key, value = tokens(2, 12, 4), tokens(2, 12, 4, seed=1), tokens(2, 12, 6, seed=2)
    out = module.attend(query, key, value, (3, 4))
    moved = module.attend(query + tokens(2, 12, 1, seed=3), key + tokens(2, 1, 4, seed=4), value, (3, 4))
    torch.testing.assert_close(moved, out)
    assert not torch.allclose(module.attend(query + tokens(2, 1, 4, seed=4), key, value, (3, 4)), out)
    assert not torch.allclose(module.attend(query, key + tokens(2, 12, 1, seed=3), value, (3, 4)), out)
    # a query of one channel only gets that channel's map of the values
    one = torch.full((2, 12, 4), -1e3).double()
    one[..., 2] = 0
    expected = torch.softmax(key[..., 2], dim=1)[:, None] @ value
    torch.testing.assert_close(module.attend(one, key, value, (3, 4)), expected.expand(2, 12, 6))


# focused linear


@pytest.mark.parametrize("power", [1.0, 3.0, 60.0, 1e4])
def test_focusing_keeps_lengths_and_turns_to_the_largest_entry(power: float) -> None:
    module = mechanism("focused_linear", power=power)
    x = tokens(1, 50, CHANNELS)
    x[0, 0] = -1  # nothing positive
    before = (torch.relu(x) + 1e-6) / math.log(2)  # softplus(0)
    after = module._focus(x)
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1))
    share = [(y.amax(-1) / y.norm(dim=-1))[0] for y in (before, after)]
    assert (share[1] >= share[0] - 1e-12).all()
    if power == 1:
        torch.testing.assert_close(after, before)
    if power >= 60:
        assert share[1][1:].median() > 0.999


def test_the_local_convolution_is_the_same_in_every_head() -> None:
    module = mechanism("focused_linear", heads=2)
    nn.init.eye_(module.projection.weight)
    nn.init.zeros_(module.projection.bias)
    value = tokens(1, 30, 4).repeat(1, 1, 2)
    out = module.combine(torch.zeros_like(value), value, (5, 6))
    torch.testing.assert_close(out[..., :4], out[..., 4:])
    expected = module.depthwise(value[..., :4].transpose(1, 2).unflatten(2, (5, 6)))
    torch.testing.assert_close(out[..., :4].transpose(1, 2).unflatten(2, (5, 6)), expected)


# Nyström


@pytest.mark.parametrize("landmarks", [30, 64])
def test_with_a_landmark_for_each_token_it_is_exact_attention(landmarks: int) -> None:
    module = mechanism("nystrom", landmarks=landmarks)
    query, key, value = tokens(2, 30, 4), tokens(2, 30, 4, seed=1), tokens(2, 30, 6, seed=2)
    torch.testing.assert_close(module.attend(query, key, value, (5, 6)), exact_attention(query / 2, key, value))


def test_landmarks_that_lose_nothing_give_exact_attention() -> None:
    """Each token twice, so that the mean of a segment is its token: only the iteration approximates."""
    inputs = [3 * tokens(1, 12, width, seed=width).repeat_interleave(2, dim=1) for width in (4, 5, 6)]
    query, key, value = inputs[0], inputs[1][..., :4], inputs[2]
    exact = exact_attention(query / 2, key, value)
    errors = [
        (mechanism("nystrom", landmarks=12, iterations=steps).attend(query, key, value, (4, 6)) - exact).norm()
        for steps in (1, 6, 30)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6 * exact.norm()


def test_the_iteration_approaches_the_pseudo_inverse() -> None:
    matrix = torch.softmax(3 * tokens(2, 9, 9), dim=-1)
    torch.testing.assert_close(mechanism("nystrom", iterations=30)._pseudo_inverse(matrix), torch.linalg.pinv(matrix))


@pytest.mark.parametrize("segments", [1, 3, 5, 7, 10])
def test_segments_differ_by_at_most_one_token(segments: int) -> None:
    x = tokens(2, 10, 3)
    first = [10 // segments] * (segments - 10 % segments)
    lengths = first + [10 // segments + 1] * (10 % segments)
    expected = torch.stack([part.mean(1) for part in x.split(lengths, dim=1)], dim=1)
    torch.testing.assert_close(_segment_means(x, segments), expected)


# agent


def test_one_agent_is_the_mean_query_for_all() -> None:
    module = mechanism("agent", agents=1)
    nn.init.zeros_(module.gather_bias)
    query, key, value = tokens(2, 30, 8), tokens(2, 30, 8, seed=1), tokens(2, 30, 8, seed=2)
    out = module.attend(query, key, value, (5, 6))
    mean = query.mean(1, keepdim=True) / 8**0.5
    torch.testing.assert_close(out, exact_attention(mean, key, value).expand_as(out))


def test_an_agent_for_each_pixel_attends_twice() -> None:
    module = mechanism("agent", agents=16, heads=2)
    query, key, value = tokens(2, 16, 8), tokens(2, 16, 8, seed=1), tokens(2, 16, 8, seed=2)
    torch.testing.assert_close(module._pool(query, (4, 4)), query)
    nn.init.zeros_(module.gather_bias)
    nn.init.zeros_(module.spread_bias)
    out = module.attend(query, key, value, (4, 4))
    halves = [
        exact_attention(q / 2, q, exact_attention(q / 2, k, v))
        for q, k, v in zip(*(x.chunk(2, -1) for x in (query, key, value)), strict=True)
    ]
    torch.testing.assert_close(out, torch.cat(halves, -1))


def test_weights_through_agents_have_as_many_dimensions_as_agents() -> None:
    module = mechanism("agent", agents=9)
    query, key, _ = module.embed(3 * tokens(1, 8, 6, 7))
    weights = module.weights_of(query, key, (6, 7), range(42))
    assert torch.linalg.matrix_rank(weights[0], rtol=1e-12) == 9


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("linear", {"epsilon": -1e-6}, "epsilon must not be negative"),
        ("nystrom", {"landmarks": 0}, "landmarks must be at least 1, not 0"),
        ("nystrom", {"iterations": -1}, "iterations must lie between 0 and 30, not -1"),
        ("nystrom", {"iterations": 31}, "iterations must lie between 0 and 30, not 31"),
        ("agent", {"agents": 50}, "agents must be a square number from 1 on, not 50"),
        ("agent", {"agents": -4}, "agents must be a square number"),
        ("agent", {"heads": 3}, "heads must divide the 8 channels of the query and 8"),
        ("focused_linear", {"heads": 0}, "heads must divide"),
        ("focused_linear", {"kernel": 4}, "kernel must be an odd number"),
        ("focused_linear", {"power": 0.0}, r"power must be above 0, not 0\.0"),
        ("criss_cross", {"recurrence": 0}, "recurrence must be at least 1"),
        ("pyramid", {"levels": 11}, "levels must lie between 1 and 10, not 11"),
        ("global_learnable", {"chunk": 0}, "chunk must be at least 1 pixel"),
    ],
)
def test_wrong_options(name: str, options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        attention.create(name, CHANNELS, **options)
