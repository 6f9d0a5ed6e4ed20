"""Pyramid attention: patches written out one by one, and sides of one pixel."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import attention
from models.attention.pyramid import _reduced


def mechanism(**options: object) -> nn.Module:
    torch.manual_seed(0)
    module = attention.create("pyramid", 4, **options).double().eval()
    for prelu in (module.of_query, module.of_key, module.of_value):
        nn.init.uniform_(prelu.weight, 0.1, 0.6)
    return module


def patch(image: Tensor, row: int, column: int) -> Tensor:
    """(C, H, W) → its 3x3 patch around a pixel, zero outside of the image: (C, 3, 3)."""
    return F.pad(image, (1, 1, 1, 1))[:, row : row + 3, column : column + 3]


def written_out(module: nn.Module, x: Tensor) -> Tensor:
    """The paper's equations for one image, from reduced images as there: x (C, H, W) → (C, H, W), without residual."""
    H, W = x.shape[1:]
    keys, values = [], []
    for level in range(module.levels):
        factor = 1 - level / 10
        small = x[None] if level == 0 else F.interpolate(x[None], scale_factor=factor, mode="bicubic")
        key, value = module.of_key(module.key(small))[0], module.of_value(module.value(small))[0]
        assert key.shape[1:] == (int(H * factor + 1e-9), int(W * factor + 1e-9))
        for row in range(key.shape[1]):
            for column in range(key.shape[2]):
                keys.append(patch(key, row, column))
                values.append(patch(value, row, column))
    query = module.of_query(module.query(x[None]))[0]
    out = torch.zeros(4, H + 2, W + 2, dtype=x.dtype)
    for row in range(H):
        for column in range(W):
            scores = [10 * (patch(query, row, column) * key).sum() / key.norm().clamp_min(1e-4) for key in keys]
            weights = torch.softmax(torch.stack(scores), dim=0)
            out[:, row : row + 3, column : column + 3] += sum(w * v for w, v in zip(weights, values, strict=True))
    return out[:, 1:-1, 1:-1] / 4


@pytest.mark.parametrize(("levels", "size"), [(1, (3, 4)), (3, (5, 4)), (5, (6, 7))])
@torch.no_grad()
def test_is_the_papers_formula(levels: int, size: tuple[int, int]) -> None:
    module = mechanism(levels=levels, residual_scale=0.7)
    x = torch.randn(1, 4, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module(x), x + 0.7 * written_out(module, x[0]))


@pytest.mark.parametrize(("size", "expected"), [((10, 7), (9, 6)), ((1, 7), (1, 6)), ((1, 1), (1, 1))])
def test_a_side_of_one_pixel_is_not_reduced(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert _reduced(torch.ones(1, 2, *size), 1).shape[2:] == expected


@pytest.mark.parametrize("size", [(1, 1), (4, 5), (10, 9)])  # 1 − 9/10 is a little below 0.1
def test_every_number_of_levels_has_something_left_of_a_small_image(size: tuple[int, int]) -> None:
    assert mechanism(levels=10)(torch.rand(1, 4, *size, dtype=torch.float64)).shape[2:] == size
