"""Attention weights of the mechanisms, compared with a reference softmax and with the mechanisms' outputs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import attention
from models.attention import _maps

CHANNELS = 16
SMALL = {"nlsa": {"chunk": 20, "rounds": 3}, "top_k": {"keys": 7}, "shifted_window": {"window": 4}}
SIZES = ((9, 13), (16, 16), (5, 8), (1, 5), (1, 1))  # NLSA: chunks that divide and do not, two chunks, one


def build(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return attention.create(name, CHANNELS, **{**SMALL.get(name, {}), **options}).eval()


def features(*size: int, seed: int = 1) -> Tensor:
    # wide features: weights that differ by orders of magnitude
    return 3 * torch.randn(2, CHANNELS, *size, generator=torch.Generator().manual_seed(seed))


def rows(module: nn.Module, x: Tensor) -> Tensor:
    """Weights of all positions: (B, N, N)."""
    size = (x.shape[2], x.shape[3])
    with torch.no_grad():
        query, key, _ = module.embed(x)
        return module.weights_of(query, key, size, range(size[0] * size[1]))


TELLING = [name for name in attention.available() if not _maps.why_not(attention.create(name, CHANNELS))]
ESTIMATES = [name for name in TELLING if hasattr(attention._registry.find(name), "exact")]
"""Their maps are those of what they estimate."""
SILENT = [name for name in attention.available() if name not in TELLING]


def test_the_papers_mechanisms_tell_and_those_without_weights_say_why() -> None:
    assert {"nla", "nlsa", "enla", "enlca", "top_k", "shifted_window"} <= set(TELLING)
    assert {"convolution", "none", "channel"} <= set(SILENT)
    for name in ("convolution", "none", "channel"):
        with pytest.raises(_maps.NoMap, match="has no map: "):
            _maps.attention_map(build(name), features(4, 4), (0, 0))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", TELLING)
def test_rows_are_weights(name: str, size: tuple[int, int]) -> None:
    weights = rows(build(name), features(*size))
    assert weights.shape == (2, size[0] * size[1], size[0] * size[1])
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [name for name in TELLING if name not in ESTIMATES])
def test_rows_are_what_the_output_is_made_by(name: str, size: tuple[int, int]) -> None:
    """With one-hot values, a mechanism's output is its matrix of weights."""
    module, x = build(name), features(*size)
    N = size[0] * size[1]
    heads = getattr(module, "heads", 1)
    one_hot = torch.eye(N).repeat(1, heads).expand(2, N, heads * N).contiguous()
    with torch.no_grad():
        query, key, _ = module.embed(x)
        out = module.attend(query, key, one_hot, size).unflatten(2, (heads, N)).mean(2)
    torch.testing.assert_close(rows(module, x), out, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "k"),
    [("nla", None), ("nla", 4.0), ("enla", 1.0), ("enlca", 10.0), *((name, 6.0) for name in ESTIMATES)],
)
def test_rows_of_exact_softmax_written_out(name: str, k: float | None) -> None:
    """The maps of estimates are those of the softmax that they estimate."""
    module, x = build(name, k=k), features(6, 7)
    with torch.no_grad():
        query, key = (
            (conv.weight[..., 0, 0] @ x.flatten(2) + conv.bias[:, None]) for conv in (module.query, module.key)
        )
    if k is not None:
        query, key = (k**0.5 * y / y.norm(dim=1, keepdim=True) for y in (query, key))
    for b in range(2):
        for position in range(42):
            logits = [float(query[b, :, position] @ key[b, :, other]) for other in range(42)]
            exponentials = torch.tensor([logit - max(logits) for logit in logits]).exp()
            expected = (exponentials / exponentials.sum()).reshape(6, 7)
            found = _maps.attention_map(module, x, divmod(position, 7))[b]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_nlsa_looks_at_its_own_bucket_and_its_neighbours_only() -> None:
    module, x = build("nlsa", rounds=1, chunk=12), features(8, 9)  # six chunks of 12
    query, _, _ = module.embed(x)
    codes = module.hash_codes(query)[:, 0]
    weights = rows(module, x)
    for b in range(2):
        # Python's sort is stable, too
        order = sorted(range(72), key=lambda position: int(codes[b, position]))
        for position in range(72):
            chunk = order.index(position) // 12
            seen = {order[12 * ((chunk + step) % 6) + place] for step in (-1, 0, 1) for place in range(12)}
            assert len(seen) == 36
            assert set(weights[b, position].nonzero().flatten().tolist()) == seen


def test_more_rounds_of_nlsa_look_farther() -> None:
    x = features(12, 12)
    seen = [(rows(build("nlsa", rounds=rounds, chunk=12), x) > 0).sum(-1).float().mean() for rounds in (1, 2, 4)]
    assert seen[0] < seen[1] < seen[2]


def test_top_k_keeps_the_largest_and_a_window_ends_at_its_edge() -> None:
    x = features(9, 10)
    module = build("top_k", keys=5)
    query, key, _ = module.embed(x)
    weights, scores = rows(module, x), query @ key.transpose(1, 2)
    assert ((weights > 0).sum(-1) == 5).all()
    assert (
        scores.masked_fill(weights == 0, torch.inf).amin(-1) >= scores.masked_fill(weights > 0, -torch.inf).amax(-1)
    ).all()
    # windows of 4, shifted by 1: rows 0, 1–4, 5–8; columns 0, 1–4, 5–8, 9
    found = _maps.attention_map(build("shifted_window", window=4, shift=1), x, (5, 4))[0]
    assert set(map(tuple, found.nonzero().tolist())) == {(row, column) for row in range(5, 9) for column in range(1, 5)}
    corner = _maps.attention_map(build("shifted_window", window=4, shift=1), x, (0, 9))[0]
    assert corner.nonzero().tolist() == [[0, 9]]
    assert corner[0, 9] == 1


@pytest.mark.parametrize("name", TELLING)
def test_positions_at_the_border_and_outside(name: str) -> None:
    module, x = build(name), features(7, 11)
    weights = rows(module, x)
    for position in ((0, 0), (0, 10), (6, 0), (6, 10), (0, 5), (3, 10)):
        found = _maps.attention_map(module, x, position)
        torch.testing.assert_close(found.flatten(1), weights[:, 11 * position[0] + position[1]])
    for outside in ((-1, 0), (0, -1), (7, 0), (0, 11)):
        with pytest.raises(ValueError, match="is outside of 7 rows and 11 columns"):
            _maps.attention_map(module, x, outside)


@settings(max_examples=30)
@given(
    name=st.sampled_from(TELLING), height=st.integers(1, 9), width=st.integers(1, 9), place=st.integers(0, 10_000),
    seed=st.integers(0, 50),
)  # fmt: skip
def test_one_row_is_that_of_all_rows(name: str, height: int, width: int, place: int, seed: int) -> None:
    module, x = build(name), features(height, width, seed=seed)
    position = divmod(place % (height * width), width)
    found = _maps.attention_map(module, x, position)
    assert found.shape == (2, height, width)
    torch.testing.assert_close(found.flatten(1), rows(module, x)[:, place % (height * width)])


def test_a_row_of_a_large_image_needs_no_matrix() -> None:
    """2560 x 1440: the whole matrix would have 1.4e13 weights."""
    tokens = 2560 * 1440
    key = torch.randn(1, tokens, 2, generator=torch.Generator().manual_seed(0))
    weights = build("nla").weights_of(key, key, (1440, 2560), [0, tokens - 1])
    assert weights.shape == (1, 2, tokens)
    torch.testing.assert_close(weights.double().sum(-1), torch.ones(1, 2, dtype=torch.float64), rtol=0, atol=1e-3)


def test_half_precision_gives_rows_that_sum_to_one() -> None:
    module = build("nla", k=6.0).bfloat16()
    found = _maps.attention_map(module, features(8, 8).bfloat16(), (3, 3))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(2), rtol=0, atol=1e-5)


class Free(nn.Module):
    """A module of one's own: all weight on the position itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def attention_map(self, x: Tensor, position: tuple[int, int]) -> Tensor:
        weights = x.new_zeros(x.shape[0], *x.shape[2:])
        weights[:, position[0], position[1]] = 1
        return weights


class Mute(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Misshapen(Free):
    def attention_map(self, x: Tensor, position: tuple[int, int]) -> Tensor:
        return x


def test_free_modules() -> None:
    x = features(4, 5)
    assert _maps.attention_map(Free(), x, (3, 1)).nonzero().tolist() == [[0, 3, 1], [1, 3, 1]]
    with pytest.raises(_maps.NoMap, match="Mute provides no attention map; implement weights_of"):
        _maps.attention_map(Mute(), x, (0, 0))
    with pytest.raises(ValueError, match=r"the weights of Misshapen are \(2, 16, 4, 5\), but the image is \(2, 4, 5\)"):
        _maps.attention_map(Misshapen(), x, (0, 0))
