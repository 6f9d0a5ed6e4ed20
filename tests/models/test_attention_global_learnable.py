"""Global learnable attention: NLSA without its learned term, the term written out, and its gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models import attention
from models.attention.nla import exact_attention


def mechanism(**options: object) -> nn.Module:
    torch.manual_seed(0)
    return attention.create("global_learnable", 8, **options).double().eval()


def test_without_the_learned_term_it_is_sparse_attention() -> None:
    module, sparse = mechanism(chunk=10), attention.create("nlsa", 8, chunk=10).double().eval()
    query, key, value = module.embed(torch.randn(2, 8, 7, 9, dtype=torch.float64))
    sparse.hash_codes = module.hash_codes
    expected = sparse.attend(query, key[..., :2], value, (7, 9))
    assert not torch.allclose(module.attend(query, key, value, (7, 9)), expected)
    for parameter in module.scorer.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(module.attend(query, key, value, (7, 9)), expected)


def test_one_chunk_adds_the_score_of_a_key_for_the_place_of_a_query() -> None:
    module = mechanism(rounds=1)
    query, key, value = module.embed(torch.randn(1, 8, 3, 4, dtype=torch.float64))
    place = module.hash_codes(query)[0, 0].argsort(stable=True).argsort()
    learned = module.scorer(key[0, :, 2:])[:, place].t()  # (queries, keys)
    weights = torch.softmax(query[0] @ key[0, :, :2].t() + learned, dim=-1)
    torch.testing.assert_close(module.attend(query, key, value, (3, 4))[0], weights @ value[0])
    torch.testing.assert_close(module.weights_of(query, key, (3, 4), range(12))[0], weights)


def test_pixels_that_are_not_similar_can_count() -> None:
    """The query equals the first key and is at a right angle to the second; the learned term prefers that one."""
    module = mechanism(chunk=2, rounds=1)
    for parameter in module.scorer.parameters():
        nn.init.zeros_(parameter)
    query = torch.tensor([[[3.0, 0], [0, 3]]]).double()
    scored = torch.zeros(1, 2, 8).double()
    scored[0, 1, 0] = 1
    key = torch.cat([F.normalize(query, dim=-1), scored], dim=-1)
    assert module.weights_of(query, key, (1, 2), [0])[0, 0, 0] > 0.9
    module.scorer[0].weight.data[0, 0] = 1
    module.scorer[2].weight.data[:, 0] = 20
    assert module.weights_of(query, key, (1, 2), [0])[0, 0, 1] > 0.9
    assert torch.equal(key[..., :2], F.normalize(query, dim=-1))


@pytest.mark.parametrize("block", [1, 1 << 30])
def test_gradients_in_blocks_are_those_of_the_reference(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    module = mechanism(chunk=16, rounds=3)
    inputs = [x.detach().requires_grad_() for x in module.embed(torch.randn(2, 8, 9, 10, dtype=torch.float64))]
    leaves, by = [*inputs, *module.scorer.parameters()], torch.randn(2, 90, 8, dtype=torch.float64)
    expected = torch.autograd.grad(module.reference(*inputs, (9, 10)), leaves, by)
    monkeypatch.setattr("models.attention.nlsa.CPU_BLOCK", block)
    found = torch.autograd.grad(module.attend(*inputs, (9, 10)), leaves, by)
    for slope, other in zip(found, expected, strict=True):
        torch.testing.assert_close(slope, other)
        assert slope.any()


@pytest.mark.parametrize("training", [False, True])
def test_directions_of_a_round_are_orthogonal_in_blocks(training: bool) -> None:
    module = mechanism(rounds=3).train(training)
    directions = module._directions(4) if training else module.rotations[:2].double()
    for number in range(3):
        for block in directions[:, number].split(len(directions), dim=1):
            one = torch.eye(len(directions), dtype=block.dtype)
            torch.testing.assert_close(block.t() @ block, one, rtol=0, atol=1e-6)
    assert not torch.equal(directions[:, 0], directions[:, 1])


def test_it_draws_directions_in_training_only() -> None:
    module, query = mechanism(chunk=4, rounds=1), torch.randn(1, 60, 2, dtype=torch.float64)
    assert torch.equal(module.hash_codes(query), module.hash_codes(query))
    assert module.hash_codes(query).unique().numel() > 4
    module.train()
    assert not torch.equal(module.hash_codes(query), module.hash_codes(query))


def test_images_smaller_than_a_chunk_see_everything() -> None:
    module = mechanism(chunk=100, rounds=2)
    nn.init.zeros_(module.scorer[2].weight)
    query, key, value = module.embed(torch.randn(2, 8, 4, 5, dtype=torch.float64))
    torch.testing.assert_close(module.attend(query, key, value, (4, 5)), exact_attention(query, key[..., :2], value))
