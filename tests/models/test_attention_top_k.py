"""Attention to the best keys only: against exact attention, hand-made cases, and how much memory it keeps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import attention


def mechanism(**options: object) -> nn.Module:
    torch.manual_seed(0)
    return attention.create("top_k", 8, reduction=2, **options).double().eval()


def tokens(N: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(N)
    query, key = (torch.randn(2, N, 4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    value = torch.randn(2, N, 8, generator=generator, dtype=torch.float64).requires_grad_()
    return query, key, value


def written_out(query: Tensor, key: Tensor, value: Tensor, keys: int) -> Tensor:
    """One query after the other, its scores sorted, with Python's own sort."""
    rows = []
    for q, k, v in zip(query, key, value, strict=True):
        for one in q:
            scores = k @ one
            best = sorted(range(len(k)), key=lambda j: -scores[j].item())[:keys]
            powers = torch.exp(scores[best])
            rows.append(powers @ v[best] / powers.sum())
    return torch.stack(rows).unflatten(0, query.shape[:2])


@settings(max_examples=12)
@given(st.integers(1, 24), st.integers(1, 30), st.integers(1, 9))
def test_is_a_softmax_over_the_best(N, keys, chunk):
    inputs = tokens(N)
    module = mechanism(keys=keys, chunk=chunk)
    expected = written_out(*inputs, keys)
    out = module.attend(*inputs, (1, N))
    assert torch.allclose(out, expected, atol=1e-10)
    with torch.no_grad():
        assert torch.allclose(module.attend(*inputs, (1, N)), expected, atol=1e-10)
    slopes = [torch.autograd.grad(x.square().sum(), inputs) for x in (out, expected)]
    for slope, other in zip(*slopes, strict=True):
        assert torch.allclose(slope, other, atol=1e-9)


@pytest.mark.parametrize("k", [None, 6.0])
@pytest.mark.parametrize("keys", [63, 1000])
def test_with_all_keys_it_is_exact_attention(k, keys):
    module = mechanism(keys=keys, k=k, chunk=10)
    exact = attention.create("nla", 8, reduction=2, k=k).double().eval()
    exact.load_state_dict(module.state_dict())
    x = torch.randn(2, 8, 7, 9, dtype=torch.float64, requires_grad=True)
    fast, slow = module(x), exact(x)
    assert torch.allclose(fast, slow, atol=1e-9)
    leaves = [[x, *m.parameters()] for m in (module, exact)]
    slopes = [torch.autograd.grad(out.square().sum(), own) for out, own in zip((fast, slow), leaves, strict=True)]
    for slope, other in zip(*slopes, strict=True):
        assert torch.allclose(slope, other, atol=1e-8)


def test_one_key_copies_the_value_of_the_best():
    query = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0]]]).double()
    key = torch.tensor([[[0.0, 5, 0, 0], [3, 0, 0, 0]]]).double()
    value = torch.tensor([[[1.0, 2], [3, 4]]]).double()
    assert torch.equal(mechanism(keys=1).attend(query, key, value, (1, 2)), value.flip(1))


def test_training_keeps_memory_for_the_chosen_keys_only():
    N, keys = 600, 5
    query, key, value = tokens(N)
    kept: dict[int, int] = {}

    def remember(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda x: x):
        out = mechanism(keys=keys, chunk=100).attend(query, key, value, (20, 30))
    out.sum().backward()
    inputs = sum(x.untyped_storage().nbytes() for x in (query, key, value, out))
    # the numbers of the chosen keys, of 8 bytes, and nothing of the size N·N or N·keys·channels
    assert sum(kept.values()) <= inputs + 2 * N * keys * 8
    assert inputs + 2 * N * keys * 8 < 2 * N * N * 8 / 20


def test_without_gradients_no_more_than_a_chunk_is_held():
    timing = pytest.importorskip("sisr.cost.timing")
    module = attention.create("top_k", 8, keys=5, chunk=50).eval()
    N, x = 60 * 60, torch.rand(1, 8, 60, 60)
    with torch.no_grad():
        held = timing.peak_memory(lambda: module(x), torch.device("cpu"))
    assert held < N * N * 4 / 10


def test_operations_are_those_of_the_formula():
    measure = pytest.importorskip("sisr.cost.measure")
    found = measure.measure_cost(
        measure.build("top_k:keys=8,chunk=50", 16, (10, 12), 16, torch.device("cpu")), seconds=1e-3
    )
    N, C, keys = 120, 16, 8
    assert found["core_gmacs"] * 1e9 == pytest.approx(N * N * C + N * keys * C)
    assert found["paper_gflops"] == pytest.approx(2 * found["core_gmacs"])
    assert "not the paper's" in found["paper_convention"]


def test_more_keys_than_pixels_cost_as_many_as_there_are():
    few, formula = attention.create("top_k", 8, keys=32).paper_flops(10, 4, 8)
    assert few == 2 * (10 * 10 * 4 + 10 * 10 * 8)
    assert "keys = 10" in formula


@pytest.mark.parametrize(("options", "sentence"), [({"keys": 0}, "keys must be"), ({"chunk": 0}, "chunk must be")])
def test_wrong_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        attention.create("top_k", 8, **options)
