"""Attention between channels: against the paper's formula written out here, and what it must not depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from models import attention


def mechanism(channels: int = 8, **options: object) -> nn.Module:
    torch.manual_seed(0)
    module = attention.create("channel", channels, **options).double().eval()
    nn.init.uniform_(module.temperature, 0.5, 3)
    return module


def written_out(module: nn.Module, x: Tensor) -> Tensor:
    """Restormer's equations for one image after the other, channels one by one: x (B, C, H, W)."""

    def made(first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
        return F.conv2d(first(x), second.weight, second.bias, padding=1, groups=x.shape[1])

    query = made(module.query, module.query_depthwise)
    key = made(module.key, module.key_depthwise)
    value = made(module.value, module.value_depthwise)
    width = x.shape[1] // module.heads
    mixed = torch.zeros_like(x)
    for b in range(len(x)):
        for head in range(module.heads):
            group = range(head * width, (head + 1) * width)
            for i in group:
                cosines = [
                    (query[b, i] * key[b, j]).sum() / (query[b, i].square().sum() * key[b, j].square().sum()).sqrt()
                    for j in group
                ]
                powers = [torch.exp(module.temperature[head, 0, 0] * cosine) for cosine in cosines]
                mixed[b, i] = sum(p * value[b, j] for p, j in zip(powers, group, strict=True)) / sum(powers)
    out = torch.einsum("oc,bchw->bohw", module.output.weight, mixed) + module.output.bias[:, None, None]
    return x + module.residual_scale * out


@settings(max_examples=10)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 4, 8]))
def test_is_the_papers_formula(height, width, heads):
    module = mechanism(heads=heads, residual_scale=0.7)
    x = torch.randn(2, 8, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(module(x), written_out(module, x), atol=1e-9)


def test_gradients_are_those_of_the_formula():
    module = mechanism(heads=2)
    x = torch.randn(1, 8, 4, 5, dtype=torch.float64, requires_grad=True)
    leaves = [x, *module.parameters()]
    fast, slow = (torch.autograd.grad(out.square().sum(), leaves) for out in (module(x), written_out(module, x)))
    for slope, other in zip(fast, slow, strict=True):
        assert torch.allclose(slope, other, atol=1e-8)


def test_the_order_of_pixels_does_not_matter_to_the_weights():
    module = mechanism(heads=2)
    query, key, value = torch.randn(3, 2, 30, 8, dtype=torch.float64)
    order = torch.randperm(30)
    with torch.no_grad():
        out = module.attend(query, key, value, (5, 6))
        moved = module.attend(query[:, order], key[:, order], value[:, order], (5, 6))
    assert torch.allclose(moved, out[:, order], atol=1e-12)


def test_weights_are_those_of_a_mean_within_each_head():
    module = mechanism(heads=2)
    nn.init.eye_(module.output.weight)
    nn.init.zeros_(module.output.bias)
    value = torch.cat([torch.full((1, 12, 4), 3.0), torch.full((1, 12, 4), -1.0)], dim=2).double()
    query, key = torch.randn(2, 1, 12, 8, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(module.attend(query, key, value, (3, 4)), value)


def test_operations_are_those_of_the_formula():
    measure = pytest.importorskip("sisr.cost.measure")
    found = measure.measure_cost(measure.build("channel:heads=4", 32, (10, 12), 32, torch.device("cpu")), seconds=1e-3)
    N, C, heads = 120, 32, 4
    # scores and weighted sum: C/heads channels meet C/heads others in each head; then the 1x1 convolution
    assert found["core_gmacs"] * 1e9 == pytest.approx(2 * N * C * (C // heads) + N * C * C)
    assert found["paper_gflops"] == pytest.approx(2 * found["core_gmacs"])
    # the embeddings: three 1x1 and three depth-wise 3x3 convolutions
    assert (found["fvcore_gmacs"] - found["core_gmacs"]) * 1e9 == pytest.approx(3 * N * C * C + 3 * N * 9 * C)
    assert found["parameters"] == 3 * (C * C + C) + 3 * (9 * C + C) + (C * C + C) + heads
    assert "not the paper's" in found["paper_convention"]


@pytest.mark.parametrize("heads", [0, 3])
def test_heads_divide_the_channels(heads):
    with pytest.raises(ValueError, match=f"heads must divide the 64 channels, {heads} does not"):
        attention.create("channel", 64, heads=heads)
