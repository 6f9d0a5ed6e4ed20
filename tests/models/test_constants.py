"""`models` imports nothing of `sisr`; the two constants that both need are the same."""

import numpy as np
import torch

from models import colour, initialisation
from sisr.data import imresize
from sisr.evaluation.metrics import Y_WEIGHTS


def test_luma_weights_are_those_of_the_metrics() -> None:
    assert colour._TO_YCBCR[0] == Y_WEIGHTS


def test_cubic_kernel_is_that_of_imresize() -> None:
    distances = np.linspace(0, 2.5, 101)
    expected = imresize._cubic(distances)
    found = initialisation._cubic(torch.from_numpy(distances)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
