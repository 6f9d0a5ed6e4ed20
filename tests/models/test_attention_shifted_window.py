"""Shifted windows: against exact attention, against a mask written out here, and what the operations should be."""

import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import attention


def tokens(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mechanism(channels: int = 8, **options: object) -> nn.Module:
    torch.manual_seed(0)
    module = attention.create("shifted_window", channels, **options).double().eval()
    nn.init.normal_(module.position.relative_position_bias_table)  # so that the biases are seen
    return module


def windows(side: int, window: int, shift: int) -> list[int]:
    """Number of the window of each place along a side; windows begin at shift, shift + window, …"""
    shift = shift if side > window else 0
    return [(place - shift) // window for place in range(side)]


def written_out(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
    """All N x N scores, with a bias for each difference of places, and −∞ between different windows."""
    H, W = size
    rows, columns = windows(H, module.window, module.shift), windows(W, module.window, module.shift)
    places = [(y, x) for y in range(H) for x in range(W)]
    N, span = len(places), 2 * module.window - 1
    table = module.position.relative_position_bias_table
    heads = []
    for head, (q, k, v) in enumerate(zip(*(x.chunk(module.heads, -1) for x in (query, key, value)), strict=True)):
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        bias = torch.full((N, N), -math.inf, dtype=torch.float64)
        for i, (y, x) in enumerate(places):
            for j, (v_, u) in enumerate(places):
                if rows[y] == rows[v_] and columns[x] == columns[u]:
                    down, right = y - v_ + module.window - 1, x - u + module.window - 1
                    bias[i, j] = table[down * span + right, head]
        heads.append(torch.softmax(scores + bias, -1) @ v)
    return torch.cat(heads, -1)


@settings(max_examples=15)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 5), st.data())
def test_pixels_see_their_window_and_nothing_else(height, width, window, data):
    shift = data.draw(st.integers(0, window - 1))
    module = mechanism(window=window, shift=shift, heads=2)
    query, key, value = (tokens((2, height * width, 8), seed) for seed in range(3))
    with torch.no_grad():
        out = module.attend(query, key, value, (height, width))
        expected = written_out(module, query, key, value, (height, width))
        assert torch.allclose(out, expected, atol=1e-10)
        assert torch.allclose(module.reference(query, key, value, (height, width)), expected, atol=1e-10)


@pytest.mark.parametrize("size", [(6, 6), (4, 6), (1, 1)])
def test_one_window_without_shift_and_bias_is_exact_attention(size):
    module = mechanism(window=6, shift=0, heads=1)
    nn.init.zeros_(module.position.relative_position_bias_table)
    query, key, value = (tokens((2, size[0] * size[1], 8), seed).requires_grad_() for seed in range(3))
    out = module.attend(query, key, value, size)
    # Swin divides the scores by √d, the non-local block does not
    expected = attention.create("nla", 8).double().attend(query / math.sqrt(8), key, value, size)
    assert torch.allclose(out, expected, atol=1e-6)
    slopes = [torch.autograd.grad(x.square().sum(), (query, key, value)) for x in (out, expected)]
    for slope, other in zip(*slopes, strict=True):
        assert torch.allclose(slope, other, atol=1e-6)


def test_a_shift_joins_what_the_border_of_a_window_parts():
    module, unshifted = mechanism(window=4, shift=2, heads=1), mechanism(window=4, shift=0, heads=1)
    x = torch.zeros(1, 8, 8, 8, dtype=torch.float64)
    near = x.clone()
    near[:, :, 3, 3] = 1  # the last pixel of the first window
    with torch.no_grad():
        reached = ((module(near) - module(x)).abs().amax(1)[0] > 1e-12).nonzero().tolist()
        alone = ((unshifted(near) - unshifted(x)).abs().amax(1)[0] > 1e-12).nonzero().tolist()
    assert reached == [[y, x] for y in range(2, 6) for x in range(2, 6)]
    assert alone == [[y, x] for y in range(4) for x in range(4)]


def test_opposite_borders_that_rolling_brings_together_stay_apart():
    module = mechanism(window=4, shift=2, heads=1)
    x = torch.zeros(1, 8, 8, 8, dtype=torch.float64)
    corner = x.clone()
    corner[:, :, 0, 0] = 1
    with torch.no_grad():
        reached = ((module(corner) - module(x)).abs().amax(1)[0] > 1e-12).nonzero().tolist()
    assert reached == [[0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(("height", "width"), [(16, 24), (13, 9)])
def test_operations_are_those_of_the_formula(height, width):
    measure = pytest.importorskip("sisr.cost.measure")
    spec = "shifted_window:window=8,heads=4"
    found = measure.measure_cost(measure.build(spec, 32, (height, width), 32, torch.device("cpu")), seconds=1e-3)
    filled = -(-height // 8) * 8 * (-(-width // 8) * 8)  # of pixels, in whole windows
    # 64 pixels met, 32 channels of query, key and value: scores and weighted sum
    assert found["core_gmacs"] * 1e9 == filled * 64 * (32 + 32)
    assert found["paper_gflops"] * 1e9 == pytest.approx(2 * height * width * 64 * (32 + 32))
    assert "not the paper's" in found["paper_convention"]


def test_memory_grows_with_the_pixels_and_not_with_their_square():
    timing = pytest.importorskip("sisr.cost.timing")
    module = attention.create("shifted_window", 16).eval()
    held = []
    with torch.no_grad():
        for x in (torch.rand(1, 16, 32, 32), torch.rand(1, 16, 64, 64)):
            held.append(timing.peak_memory(functools.partial(module, x), torch.device("cpu")))
    assert held[1] < 4.5 * held[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"window": 0}, "window must be at least 1 pixel, not 0"),
        ({"window": 4, "shift": 4}, "shift must lie between 0 and 3, below the window, not 4"),
        ({"heads": 3}, "heads must divide the 64 channels of the query and 64 of the value"),
        ({"heads": 0}, "heads must divide"),
    ],
)
def test_wrong_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        attention.create("shifted_window", 64, **options)
