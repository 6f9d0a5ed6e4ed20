"""Networks that see luma only: RGB to YCbCr and back, and the bicubic enlargement that they add to."""

import torch
from torch import Tensor
from torch.nn import functional as F

# ITU-R BT.601 as in MATLAB's rgb2ycbcr: Y runs from 16 to 235, here divided by 255
_TO_YCBCR = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_OFFSET = (16.0, 128.0, 128.0)


def to_ycbcr(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in [0, 1] → YCbCr with Y from 16/255 to 235/255."""
    matrix, offset = _constants(rgb)
    return torch.einsum("yc,bchw->byhw", matrix, rgb) + offset


def to_rgb(ycbcr: Tensor) -> Tensor:
    """The inverse of `to_ycbcr`, not clamped."""
    matrix, offset = _constants(ycbcr)
    return torch.einsum("cy,byhw->bchw", torch.linalg.inv(matrix.double()).to(ycbcr), ycbcr - offset)


def _constants(like: Tensor) -> tuple[Tensor, Tensor]:
    return like.new_tensor(_TO_YCBCR) / 255, like.new_tensor(_OFFSET).view(1, 3, 1, 1) / 255


def enlarge(x: Tensor, scale: int) -> Tensor:
    """Bicubic enlargement with MATLAB's kernel (a = −1/2; without `antialias` torch takes −3/4)."""
    height, width = x.shape[-2:]
    return F.interpolate(x, size=(scale * height, scale * width), mode="bicubic", antialias=True)
