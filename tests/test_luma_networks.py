"""Networks that see luma only: how they fit the RGB contract, and how they are measured."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import models
from models.colour import enlarge, to_ycbcr
from sisr.resize import imresize

LUMA = [name for name in models.available() if getattr(models.create(name), "luma_only", False)]


def small(name: str, scale: int) -> torch.nn.Module:
    torch.manual_seed(0)
    depth = {"depth": 2} if name == "lapsrn" else {"layers": 3}
    return models.create(name, scale, channels=8, **depth).eval()


def test_these_are_the_luma_networks() -> None:
    assert LUMA == ["lapsrn", "vdsr"]


@pytest.mark.parametrize("name", LUMA)
def test_luma_of_the_image_is_the_networks_luma(name: str) -> None:
    model, x = small(name, 4), torch.rand(2, 3, 7, 9)
    with torch.inference_mode():
        inner = model.luma(to_ycbcr(x)[:, :1])
        outer = to_ycbcr(model(x))
        assert inner.shape == (2, 1, 28, 36)
        torch.testing.assert_close(outer[:, :1], inner, atol=1e-5, rtol=0)
        torch.testing.assert_close(outer[:, 1:], enlarge(to_ycbcr(x)[:, 1:], 4), atol=1e-5, rtol=0)


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), scale=st.sampled_from([2, 3, 4, 8]))
def test_enlargement_is_matlabs_to_the_border(height: int, width: int, scale: int) -> None:
    plane: NDArray[np.float64] = np.random.default_rng(height * 13 + width).random((height, width))
    found = enlarge(torch.from_numpy(plane)[None, None], scale)[0, 0].numpy()
    np.testing.assert_allclose(found, imresize(plane, scale), atol=1e-12)
