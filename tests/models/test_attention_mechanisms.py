"""What each mechanism computes: against exact attention, hand-made cases and the formulas of the papers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import models
from models import attention, precision
from models.attention import enla
from models.attention._projection import draw_projection
from models.attention.nla import exact_attention


def unit_tokens(shape: tuple[int, ...], k: float, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Tokens of length √k in random directions."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (F.normalize(x, dim=-1) * math.sqrt(k)).to(dtype)


class Recorder(TorchDispatchMode):
    """Remembers the operators that ran and the largest tensor that they made."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.operators.add(function.name())
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().nbytes() > 0:
                self.largest = max(self.largest, tensor.numel())
        return out


# NLA


@pytest.mark.parametrize("width", [16, 64, 40, 7])
def test_exact_attention_never_holds_the_matrix(width):
    N = 700
    query, key, value = unit_tokens((2, N, 16), 6, 0), unit_tokens((2, N, 16), 6, 1), torch.randn(2, N, width)
    for tensor in (query, key, value):
        tensor.requires_grad_()
    with Recorder() as recorder:
        out = exact_attention(query, key, value)
        out.square().sum().backward()
    assert out.shape == value.shape
    assert recorder.largest < N * N / 2  # of a batch of 2, whose matrices have 2 N² entries
    assert not any("softmax" in operator or "math" in operator for operator in recorder.operators)
    expected = torch.softmax(query @ key.transpose(1, 2), -1) @ value
    assert torch.allclose(out, expected, atol=1e-5)


def test_attention_to_equal_keys_is_the_mean():
    query, key, value = torch.randn(1, 9, 4), torch.ones(1, 9, 4), torch.randn(1, 9, 4)
    assert torch.allclose(exact_attention(query, key, value), value.mean(1, keepdim=True).expand_as(value), atol=1e-6)


def test_nla_with_k_sees_cosines_only():
    module = attention.create("nla", 16, k=3).eval()
    query, key, _ = module.embed(torch.randn(1, 16, 5, 5))
    products = query @ key.transpose(1, 2)
    assert products.abs().max() <= 3 + 1e-5
    assert torch.allclose(query.norm(dim=-1), torch.full((1, 25), math.sqrt(3)), atol=1e-5)


# NLSA


@settings(max_examples=12)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 12), st.integers(1, 3))
def test_nlsa_equals_the_loop_over_pixels(height, width, chunk, rounds):
    torch.manual_seed(0)
    module = attention.create("nlsa", 8, chunk=chunk, rounds=rounds).eval()
    inputs = module.embed(torch.randn(2, 8, height, width))
    with torch.no_grad():
        out = module.attend(*inputs, (height, width))
        assert torch.allclose(out, module.reference(*inputs, (height, width)), atol=1e-5)


@pytest.mark.parametrize("block", [1, 3 * 8 * 8 * 2 * 3])
def test_nlsa_in_groups_of_chunks_is_the_same(monkeypatch, block):
    module = attention.create("nlsa", 8, chunk=8, rounds=3).eval()
    inputs = module.embed(torch.randn(2, 8, 9, 10))
    products = 2 * 3 * 96 * 24  # of all rounds and chunks: 90 pixels fill twelve chunks of 8, each sees 24
    with Recorder() as recorder:
        whole = module.attend(*inputs, (9, 10))
    assert recorder.largest >= products
    monkeypatch.setattr("models.attention.nlsa.CPU_BLOCK", block)
    with torch.no_grad(), Recorder() as recorder:
        assert torch.allclose(module.attend(*inputs, (9, 10)), whole, atol=1e-5)
    assert recorder.largest < products / 2


@pytest.mark.parametrize("block", [1, 2 * 16 * 48, 1 << 30])
def test_nlsa_gradients_need_one_block_at_a_time(monkeypatch, block):
    module = attention.create("nlsa", 8, chunk=16, rounds=3).eval()
    inputs = [x.detach().requires_grad_() for x in module.embed(torch.randn(2, 8, 9, 10))]
    by = torch.randn(2, 90, 8)
    expected = torch.autograd.grad(module.reference(*inputs, (9, 10)), inputs, by)
    monkeypatch.setattr("models.attention.nlsa.CPU_BLOCK", block)
    with Recorder() as recorder:
        found = torch.autograd.grad(module.attend(*inputs, (9, 10)), inputs, by)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    products = 2 * 3 * 96 * 48  # of all rounds and chunks: 90 pixels fill six chunks of 16, each sees 48
    assert (recorder.largest >= products) == (block == 1 << 30)


def test_nlsa_of_one_chunk_is_exact_attention():
    module = attention.create("nlsa", 16, chunk=100).eval()
    query, key, value = module.embed(torch.randn(1, 16, 9, 11))
    assert torch.allclose(module.attend(query, key, value, (9, 11)), exact_attention(query, key, value), atol=1e-5)


def test_nlsa_puts_a_direction_and_its_opposite_in_different_buckets():
    module = attention.create("nlsa", 16, chunk=4).eval()
    x = torch.randn(1, 64, 4)
    codes, opposite = module.hash_codes(x), module.hash_codes(-x)
    assert codes.shape == (1, 4, 64)
    assert set(codes.unique().tolist()) <= set(range(16))
    assert (codes - opposite).abs().eq(8).all()  # 64 / 4 = 16 buckets: + and − halves
    assert torch.equal(codes, module.hash_codes(7 * x))


def test_nlsa_draws_rotations_in_training_only():
    module = attention.create("nlsa", 16, chunk=8)
    x = torch.randn(1, 16, 10, 10)
    with torch.no_grad():
        torch.manual_seed(1)
        first, second = module(x), module(x)
        torch.manual_seed(1)
        again = module(x)
        assert not torch.equal(first, second)
        assert torch.equal(first, again)
        module.eval()
        assert torch.equal(module(x), module(x))


@pytest.mark.parametrize(("pixels", "buckets"), [(100, 2), (144 * 3, 4), (144 * 4, 4), (144 * 300, 128)])
def test_nlsa_has_as_many_buckets_as_the_released_code(pixels, buckets):
    module = attention.create("nlsa", 16).eval()
    codes = module.hash_codes(torch.randn(1, pixels, 4))
    assert codes.max() < buckets
    assert codes.unique().numel() > buckets // 2


# ENLA


def test_orthogonal_directions_are_at_right_angles_in_blocks():
    directions = draw_projection(40, 16, True, torch.Generator().manual_seed(0)).double()
    for block in directions.split(16):
        unit = F.normalize(block, dim=1)
        assert torch.allclose(unit @ unit.t(), torch.eye(len(block), dtype=torch.float64), atol=1e-6)
    lengths = draw_projection(4096, 16, True, torch.Generator().manual_seed(0)).square().sum(1)
    assert abs(lengths.mean().item() - 16) < 0.4  # chi-square with 16 degrees: mean 16, variance 32
    assert abs(lengths.var().item() - 32) < 4


def test_random_rotations_have_no_preferred_direction():
    entries = draw_projection(2000 * 8, 8, True, torch.Generator().manual_seed(0)).unflatten(0, (2000, 8))
    assert entries.mean(0).abs().max() < 0.12  # 1/√2000 = 0.022, the largest of 64: five of them
    assert (entries.var(0) - 1).abs().max() < 0.2


@pytest.mark.parametrize("orthogonal", [True, False])
def test_the_estimate_of_the_kernel_is_unbiased(orthogonal):
    query, key = unit_tokens((6, 16), 1, 0, torch.float64), unit_tokens((6, 16), 1, 1, torch.float64)
    estimates = estimated_kernels(query, key, 400, orthogonal, 64)
    standard_error = estimates.std(0) / math.sqrt(400)
    assert ((estimates.mean(0) - torch.exp(query @ key.t())).abs() < 5 * standard_error).all()


def test_the_variance_of_independent_features_follows_the_formula():
    m = 32
    query, key = unit_tokens((4, 16), 0.5, 0, torch.float64), unit_tokens((4, 16), 0.5, 1, torch.float64)
    total = (query[:, None] + key[None]).square().sum(-1)
    formula = torch.exp(2 * query @ key.t()) * (torch.exp(total) - 1) / m
    assert torch.allclose(estimated_kernels(query, key, 2000, False, m).var(0), formula, rtol=0.35)
    assert estimated_kernels(query, key, 2000, True, m).var(0).mean() < formula.mean()


def estimated_kernels(query: Tensor, key: Tensor, draws: int, orthogonal: bool, m: int) -> Tensor:
    """φ(query)·φ(key) for independent draws of m directions, m a multiple of their width: (draws, queries, keys)."""
    directions = draw_projection(draws * m, query.shape[1], orthogonal, torch.Generator().manual_seed(0)).double()

    def feature_map(x: Tensor) -> Tensor:
        features = torch.exp(x @ directions.t() - x.square().sum(1, keepdim=True) / 2) / math.sqrt(m)
        return features.unflatten(1, (draws, m)).transpose(0, 1)  # (draws, tokens, m)

    return feature_map(query) @ feature_map(key).transpose(1, 2)


def test_at_small_k_many_features_approach_exact_attention():
    query, key = unit_tokens((1, 300, 16), 1, 0), unit_tokens((1, 300, 16), 1, 1)
    value = torch.randn(1, 300, 16)
    directions = draw_projection(8192, 16, True, torch.Generator().manual_seed(0))
    out = enla.random_feature_attention(query, key, value, directions, 1.0, epsilon=0)
    exact = exact_attention(query, key, value)
    assert (out - exact).norm() / exact.norm() < 0.06


@pytest.mark.parametrize("k", [0.5, 6.0, 12.0, 20.0])
@pytest.mark.parametrize("epsilon", [0.0, 1e-4])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 2e-5), (torch.bfloat16, 0.03), (torch.float16, 2e-3), (torch.float64, 1e-10)],
)
@pytest.mark.parametrize("native", [True, False])
def test_no_precision_overflows(monkeypatch, k, epsilon, dtype, tolerance, native):
    monkeypatch.setattr(precision, "CPU_BFLOAT16", native)
    # keys along the directions themselves: the largest features there can be
    directions = draw_projection(128, 64, True, torch.Generator().manual_seed(0))
    key = torch.cat(
        [F.normalize(directions.double(), dim=1) * math.sqrt(k), unit_tokens((200, 64), k, 1, torch.float64)]
    )[None].to(dtype)
    query = torch.cat([key[:, 50:128], -key[:, :50], unit_tokens((1, 100, 64), k, 2, dtype)], dim=1)
    value = torch.randn(1, 328, 32, generator=torch.Generator().manual_seed(3)).to(dtype)
    query = F.pad(query, (0, 0, 0, 100), mode="replicate")
    out = enla.random_feature_attention(query, key, value, directions, k, epsilon)
    # the reference sees the same rounded inputs, brought back to the length √k that the fast path takes for granted
    exact = [F.normalize(x.double(), dim=-1) * math.sqrt(k) for x in (query, key)]
    expected = enla.reference_attention(*exact, value.double(), directions.double(), epsilon)
    assert out.dtype == dtype
    error = (out.double() - expected).norm() / expected.norm()
    spread = math.sqrt(k / 6) if dtype in (torch.bfloat16, torch.float16) else 1  # rounded inputs: logits grow with √k
    assert error < tolerance * max(spread, 1)


def test_emulated_bfloat16_is_computed_in_float32(monkeypatch):
    directions = draw_projection(20, 16)
    tokens = [unit_tokens((2, 100, 16), 6.0, seed, torch.bfloat16) for seed in (0, 1)]
    value = torch.randn(2, 100, 24).bfloat16()
    wide = enla.random_feature_attention(*(x.float() for x in (*tokens, value)), directions, 6.0)
    monkeypatch.setattr(precision, "CPU_BFLOAT16", False)
    assert torch.equal(enla.random_feature_attention(*tokens, value, directions, 6.0), wide.bfloat16())
    monkeypatch.setattr(precision, "CPU_BFLOAT16", True)
    assert not torch.equal(enla.random_feature_attention(*tokens, value, directions, 6.0), wide.bfloat16())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("k", [6, 20])
def test_training_under_autocast_stays_finite(dtype, k):
    torch.manual_seed(0)
    module = attention.create("enlca", 32, k=k)
    module.auxiliary_loss_enabled = True
    x = torch.randn(2, 32, 12, 12, requires_grad=True)
    with torch.autocast("cpu", dtype):
        out = module(x)
    (out.float().square().mean() + module.last_auxiliary_loss).backward()
    assert out.isfinite().all()
    assert module.last_auxiliary_loss.dtype == torch.float32
    for parameter in module.parameters():
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("k", [6.0, 20.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_change_nothing(monkeypatch, k, dtype):
    monkeypatch.setattr(enla, "CPU_CHUNK", 34)  # 17 tokens of each of the two images
    directions = draw_projection(20, 16)
    query, key = unit_tokens((2, 100, 16), k, 0, dtype), unit_tokens((2, 100, 16), k, 1, dtype)
    value = torch.randn(2, 100, 24).to(dtype)
    whole = enla.random_feature_attention(query, key, value, directions, k)
    with torch.no_grad(), Recorder() as recorder:
        chunked = enla.random_feature_attention(query, key, value, directions, k)
    assert torch.allclose(whole.float(), chunked.float(), rtol=1e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-2)
    assert recorder.largest <= 2 * 100 * 24  # the output, and no features of all tokens


def test_weights_are_those_of_a_mean():
    query, key = unit_tokens((1, 50, 16), 6, 0), unit_tokens((1, 50, 16), 6, 1)
    out = enla.random_feature_attention(query, key, torch.full((1, 50, 8), 0.7), draw_projection(32, 16), 6.0)
    assert torch.allclose(out, torch.full_like(out, 0.7), atol=1e-5)


def test_operations_counted_are_those_of_the_formula():
    fvcore = pytest.importorskip("fvcore.nn")
    module = attention.create("enlca", 64, reduction=1, m=128).eval()
    N, c, m = 10 * 10, 64, 128
    counter = fvcore.FlopCountAnalysis(module, torch.randn(1, 64, 10, 10))
    counter.unsupported_ops_warnings(False)
    counts = counter.by_operator()
    # logits of query and key, context, output: 4 m N c multiply-adds; the normaliser: m N; the three embeddings
    # (the logits are counted under conv on a CPU, and under matmul elsewhere)
    assert counts["matmul"] + counts["conv"] == 2 * m * N * c + 2 * m * N * c + m * N + 3 * N * c * c


def test_redraw_depends_on_the_generator_alone():
    def network() -> torch.nn.Module:
        return models.create("enlcn", blocks=2, channels=16, slots=[0, 2], attention_options={"m": 8})

    first, second = network(), network()
    torch.manual_seed(5)
    models.redraw(first, torch.Generator().manual_seed(1))
    state = torch.get_rng_state()
    models.redraw(second, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), state)
    drawn = [network.attention["0"].projection.clone() for network in (first, second)]
    assert torch.equal(*drawn)
    assert not torch.equal(first.attention["0"].projection, first.attention["2"].projection)
    models.redraw(first, torch.Generator().manual_seed(2))
    assert not torch.equal(first.attention["0"].projection, drawn[0])
    assert "attention.0.projection" in first.state_dict()
    models.redraw(models.create("edsr", blocks=1, channels=4))  # has none
