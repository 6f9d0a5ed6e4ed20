"""The contrastive loss against its reference implementation, and against values derived by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import models
from models.attention import contrastive, contrastive_loss
from models.attention.contrastive import reference_loss


def tokens(
    B: int, N: int, C: int = 16, k: float = 6, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    drawn = torch.randn(2, B, N, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    query, key = (F.normalize(drawn, dim=-1) * math.sqrt(k)).to(dtype)
    return query.requires_grad_(), key.requires_grad_()


def value_and_gradients(function, query, key, *arguments) -> tuple[Tensor, Tensor, Tensor]:
    loss = function(query, key, *arguments)
    return loss, *torch.autograd.grad(loss, (query, key))


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm().clamp_min(1e-12)).item()


def sort_is_off(monkeypatch) -> None:
    monkeypatch.setattr(contrastive, "_sorted_rows", lambda *_: None)


@pytest.mark.parametrize("path", ["sorted", "selected"])
@pytest.mark.parametrize("k", [1, 6, 20])
@pytest.mark.parametrize(
    ("relevant", "irrelevant", "margin"),
    [
        ((0, 0.02), (0.08, 0.10), 1.0),
        ((0, 15), (50, 65), 1.0),
        ((0, 5), (50, 300), 3.0),
        ((2, 7), (40, 90), 2.0),
        ((0, 300), (0, 1), 4.0),
    ],
)
def test_value_and_gradient_equal_the_written_out_form(monkeypatch, path, k, relevant, irrelevant, margin):
    if path == "selected":
        sort_is_off(monkeypatch)
    monkeypatch.setattr(contrastive, "CPU_BLOCK", 40 * 300)  # 40 rows: the last block is not full
    query, key = tokens(2, 300, k=k)
    margin *= k  # with a margin of 1 most rows of random tokens have no loss
    ours = value_and_gradients(contrastive_loss, query, key, relevant, irrelevant, margin)
    exact = value_and_gradients(reference_loss, query.double(), key.double(), relevant, irrelevant, margin)
    assert exact[0] > 0
    for a, b in zip(ours, exact, strict=True):
        assert relative(a.double(), b) < 1e-6 * max(1, k / 6)  # float32 logits of size k are rounded by k · 2⁻²⁴


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(8, 60), st.integers(0, 10**6), st.integers(6, 14))
def test_any_size_and_block(B, N, seed, block):
    query, key = tokens(B, N, seed=seed, dtype=torch.float64)
    near, far = (0, max(1, N // 8)), (N // 2, N // 2 + 2)
    before, contrastive.CPU_BLOCK = contrastive.CPU_BLOCK, 1 << block
    try:
        ours = value_and_gradients(contrastive_loss, query, key, near, far)
    finally:
        contrastive.CPU_BLOCK = before
    for a, b in zip(ours, value_and_gradients(reference_loss, query, key, near, far), strict=True):
        assert relative(a, b) < 1e-11


def test_value_worked_out_by_hand():
    # one query, keys with products 3, 2, 1, 0: −log(mean(e³) / mean(e¹, e⁰)) + 1 is below zero, + 3 is not
    query = torch.tensor([[[1.0]]])
    key = torch.tensor([[[0.0], [3.0], [1.0], [2.0]]])
    assert contrastive_loss(query, key, (0, 1), (2, 4), margin=1.0) == 0
    expected = math.log((math.e + 1) / 2) - 3 + 3
    assert contrastive_loss(query, key, (0, 1), (2, 4), margin=3.0).item() == pytest.approx(expected, rel=1e-6)


def test_equal_keys_give_the_margin_and_ties_keep_the_gradient():
    query, _ = tokens(1, 20)
    key = torch.ones(1, 20, 16, requires_grad=True)
    assert contrastive_loss(query, key, (0, 2), (5, 9), 0.75).item() == pytest.approx(0.75, rel=1e-5)
    # every key twice: boundaries at odd ranks cut a pair in two, and either half is right
    query, half = tokens(1, 20, dtype=torch.float64)
    key = half.detach().repeat_interleave(2, dim=1).requires_grad_()
    ours = value_and_gradients(contrastive_loss, query, key, (0, 3), (11, 20))
    exact = value_and_gradients(reference_loss, query, key, (0, 3), (11, 20))
    assert relative(ours[0], exact[0]) < 1e-12
    assert relative(ours[1], exact[1]) < 1e-12
    pairs = [g.unflatten(1, (20, 2)).sum(2) for g in (ours[2], exact[2])]
    assert relative(*pairs) < 1e-12


def test_wide_logits_do_not_overflow():
    query, key = tokens(1, 50, k=500)
    loss, *slopes = value_and_gradients(contrastive_loss, query, key, (0, 3), (20, 25), 900.0)
    exact = query.double() @ key.double().transpose(1, 2)
    ordered = exact.sort(dim=-1, descending=True)[0]
    expected = (ordered[..., 20:25].exp().mean(-1).log() - ordered[..., :3].exp().mean(-1).log() + 900).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert all(slope.isfinite().all() for slope in slopes)


def test_gradient_check_by_finite_differences():
    query, key = tokens(2, 12, C=3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda q, k: contrastive_loss(q, k, (0, 2), (5, 8), 2.0), (query, key))


@pytest.mark.parametrize(
    ("N", "ranks", "expected"),
    [
        (2304, (0, 0.02), (0, 46)),
        (2304, (0.08, 0.1), (184, 230)),
        (64, (0, 15), (0, 15)),
        (576, (0, 0.02), (0, 12)),
        (9, (0, 1.0), (0, 9)),
    ],
)
def test_ranks_as_numbers_or_fractions(N, ranks, expected):
    assert contrastive.resolve_range("relevant", ranks, N) == expected


@pytest.mark.parametrize(
    ("N", "relevant", "irrelevant"), [(16, (0, 0.02), (0.08, 0.1)), (60, (0, 15), (50, 65)), (9, (3, 3), (4, 5))]
)
def test_too_few_keys_are_refused_with_a_sentence(N, relevant, irrelevant):
    query, key = tokens(1, N)
    with pytest.raises(ValueError, match=f"of {N} keys: use a larger patch or other ranks|must start before it stops"):
        contrastive_loss(query, key, relevant, irrelevant)


def test_in_bfloat16_and_under_autocast_it_is_float32():
    query, key = tokens(2, 100)
    expected = contrastive_loss(query.bfloat16(), key.bfloat16(), (0, 4), (20, 24))
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert contrastive_loss(query.bfloat16(), key.bfloat16(), (0, 4), (20, 24)) == expected


def test_under_compile():
    query, key = tokens(2, 60)
    exact = value_and_gradients(contrastive_loss, query, key, (0, 4), (20, 24))

    @torch.compile(backend="aot_eager", fullgraph=True)
    def compiled(query: Tensor, key: Tensor) -> Tensor:
        return contrastive_loss(query * 1.0, key, (0, 4), (20, 24)) * 1.0

    for a, b in zip(value_and_gradients(compiled, query, key), exact, strict=True):
        assert relative(a, b) < 1e-6


def network(**options) -> nn.Module:
    torch.manual_seed(0)
    return models.create("enlcn", blocks=2, channels=16, slots=[0, 2], attention_options={"m": 8, **options})


def test_the_loss_is_off_until_it_is_switched_on(monkeypatch):
    def never(*_: object) -> Tensor:
        raise AssertionError("computed while off")

    monkeypatch.setattr("models.attention.enlca.contrastive_loss", never)
    model = network().train()
    model(torch.rand(1, 3, 12, 12))
    assert models.auxiliary_loss(model) is None
    models.set_auxiliary_loss(model, True)
    model.eval()
    model(torch.rand(1, 3, 12, 12))  # switched on, but this is no training
    assert models.auxiliary_loss(model) is None
    with pytest.raises(AssertionError, match="computed while off"):
        model.train()(torch.rand(1, 3, 12, 12))


def test_the_networks_loss_is_the_mean_of_its_modules():
    model = network(margin=2.0).train()
    models.set_auxiliary_loss(model, True)
    seen = []
    for module in model.attention.values():
        module.register_forward_hook(lambda module, args, _: seen.append((module, args[0])))
    model(torch.rand(2, 3, 12, 12))
    loss = models.auxiliary_loss(model)
    losses = [reference_loss(*module.embed(x)[:2], (0, 0.02), (0.08, 0.1), 2.0) for module, x in seen]
    assert len(losses) == 2
    assert loss.item() == pytest.approx(sum(losses).item() / 2, rel=1e-5)
    loss.backward()
    for module in model.attention.values():
        assert module.query.weight.grad.abs().sum() > 0
        assert module.key.weight.grad.abs().sum() > 0
    models.set_auxiliary_loss(model, False)
    assert models.auxiliary_loss(model) is None
    model(torch.rand(1, 3, 12, 12))
    assert models.auxiliary_loss(model) is None


def test_networks_without_a_loss_have_none():
    model = models.create("nlsn", blocks=1, channels=8, slots=[0]).train()
    models.set_auxiliary_loss(model, True)
    model(torch.rand(1, 3, 6, 6))
    assert models.auxiliary_loss(model) is None


def test_sampled_rows_are_an_unbiased_estimate(monkeypatch):
    """Over all blocks of a partition of the rows, value and gradients average to those of all rows."""
    N, rows = 60, 12
    torch.manual_seed(0)
    options = {"margin": 6.0, "relevant": (0, 5), "irrelevant": (20, 30)}
    sampled = models.attention.create("enlca", 16, contrastive_rows=rows, **options)
    whole = models.attention.create("enlca", 16, **options)
    query, key = tokens(2, N, dtype=torch.float64)
    order = torch.randperm(N)
    estimates = []
    for block in order.split(rows):
        monkeypatch.setattr(torch, "randperm", lambda n, block=block: torch.cat([block, block.new_zeros(n - rows)]))
        estimates.append(value_and_gradients(sampled.auxiliary_loss, query, key))
    exact = value_and_gradients(whole.auxiliary_loss, query, key)
    assert exact[0] > 0
    for parts, value in zip(zip(*estimates, strict=True), exact, strict=True):
        assert relative(torch.stack(parts).mean(0), value) < 1e-12


def test_sampled_rows_differ_from_step_to_step_and_not_within_one():
    options = {"margin": 6.0, "relevant": (0, 5), "irrelevant": (20, 30)}
    module = models.attention.create("enlca", 16, contrastive_rows=4, **options)
    query, key = tokens(1, 60)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(module.auxiliary_loss(query, key).item())
    assert losses[0] == losses[1] != losses[2]
    with pytest.raises(ValueError, match="contrastive_rows must be at least 1"):
        models.attention.create("enlca", 16, contrastive_rows=0)
