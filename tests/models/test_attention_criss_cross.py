"""Criss-cross attention: what one run sees, what two reach, and a softmax written out."""

import pytest
import torch
from torch import Tensor, nn

from models import attention


def mechanism(**options: object) -> nn.Module:
    torch.manual_seed(0)
    return attention.create("criss_cross", 8, reduction=2, **options).double().eval()


def reached(module: nn.Module, size: tuple[int, int], at: tuple[int, int]) -> Tensor:
    """The pixels of the input that the output at one pixel depends on: (H, W) of truth values."""
    x = torch.randn(1, 8, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (slope,) = torch.autograd.grad(module(x)[0, :, at[0], at[1]].sum(), x)
    return slope[0].abs().sum(0) > 0


def test_once_reaches_row_and_column_and_twice_everything() -> None:
    cross = torch.zeros(6, 7, dtype=torch.bool)
    cross[2], cross[:, 5] = True, True
    assert torch.equal(reached(mechanism(recurrence=1), (6, 7), (2, 5)), cross)
    assert reached(mechanism(recurrence=2), (6, 7), (2, 5)).all()
    assert reached(mechanism(), (6, 7), (2, 5)).all()  # the paper's choice


def test_is_a_softmax_over_row_and_column_in_which_the_pixel_counts_once() -> None:
    module, size = mechanism(), (4, 5)
    query, key, value = module.embed(3 * torch.randn(1, 8, *size, dtype=torch.float64))
    out = module.attend(query, key, value, size)
    for position in range(20):
        row, column = divmod(position, 5)
        met = [5 * row + other for other in range(5)] + [5 * other + column for other in range(4) if other != row]
        weights = torch.softmax(key[0, met] @ query[0, position], dim=0)
        torch.testing.assert_close(out[0, position], weights @ value[0, met])


def test_twice_is_the_module_after_itself() -> None:
    once, twice = mechanism(recurrence=1), mechanism(recurrence=2)
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(twice(x), once(once(x)))


@pytest.mark.parametrize("size", [(1, 12), (12, 1)])
def test_on_a_line_it_is_exact_attention(size: tuple[int, int]) -> None:
    module, exact = mechanism(), attention.create("nla", 8, reduction=2).double().eval()
    exact.load_state_dict(module.state_dict())
    inputs = module.embed(torch.randn(2, 8, *size, dtype=torch.float64))
    torch.testing.assert_close(module.attend(*inputs, size), exact.attend(*inputs, size))
