"""Colour conversion and bicubic upscaling for networks that process luma only."""

import torch
from torch import Tensor
from torch.nn import functional as F

# ITU-R BT.601 as in MATLAB's rgb2ycbcr: Y in [16, 235], here divided by 255
_TO_YCBCR = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_OFFSET = (16.0, 128.0, 128.0)
_FROM_YCBCR = torch.linalg.inv((torch.tensor(_TO_YCBCR) / 255).double())
EDGE = 2  # support of the kernel beyond the border, in pixels


def to_ycbcr(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in [0, 1] → YCbCr with Y from 16/255 to 235/255."""
    matrix, offset = _constants(rgb)
    return torch.einsum("yc,bchw->byhw", matrix, rgb) + offset


def to_rgb(ycbcr: Tensor) -> Tensor:
    """The inverse of `to_ycbcr`, not clamped."""
    return torch.einsum("cy,byhw->bchw", _FROM_YCBCR.to(ycbcr), ycbcr - _constants(ycbcr)[1])


def _constants(like: Tensor) -> tuple[Tensor, Tensor]:
    return like.new_tensor(_TO_YCBCR) / 255, like.new_tensor(_OFFSET).view(1, 3, 1, 1) / 255


def upscale(x: Tensor, scale: int) -> Tensor:
    """Bicubic upscaling as in MATLAB: mirrored border, kernel with a = −1/2 (torch uses −3/4 without `antialias`)."""
    if torch.onnx.is_in_onnx_export():
        return upscale_by_convolution(x, scale)
    height, width = x.shape[-2:]
    x = x[..., _mirrored(height), :][..., _mirrored(width)]
    size = [scale * side for side in x.shape[-2:]]
    large = F.interpolate(x, size=size, mode="bicubic", antialias=True)
    edge = scale * EDGE
    return large[..., edge : edge + scale * height, edge : edge + scale * width]


def upscale_by_convolution(x: Tensor, scale: int) -> Tensor:
    """`upscale` by operators of ONNX and without constants that depend on the size; sides of at least 2."""
    x = torch.cat([x[..., :EDGE, :].flip(2), x, x[..., -EDGE:, :].flip(2)], dim=2)
    x = torch.cat([x[..., :EDGE].flip(3), x, x[..., -EDGE:].flip(3)], dim=3)
    offset = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5  # of each phase from its pixel
    distance = (torch.arange(-EDGE, EDGE + 1) - offset[:, None]).abs()  # (scale, 5)
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    taps = torch.where(distance <= 1, near, torch.where(distance <= 2, far, 0.0))
    kernels = torch.einsum("yi,xj->yxij", taps, taps).flatten(0, 1)[:, None].to(x)  # (scale², 1, 5, 5)
    planes = [F.pixel_shuffle(F.conv2d(plane, kernels), scale) for plane in x.split(1, dim=1)]
    return torch.cat(planes, dim=1)


def _mirrored(length: int) -> list[int]:
    """Positions −EDGE … length + EDGE − 1 of a line mirrored at its ends: 1 0 | 0 1 2 … | …"""
    around = [position % (2 * length) for position in range(-EDGE, length + EDGE)]
    return [min(position, 2 * length - 1 - position) for position in around]
