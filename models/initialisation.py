"""Initial weights with which an EDSR is close to bicubic interpolation, for training in a few hundred steps.

The first three channels pass RGB from the head through the upsampler to the tail, and the residual branch starts at
zero. All other weights are random as usual, so all weights learn from the first steps on. A 3x3 convolution covers
three of bicubic's four taps: the kernel is truncated to these and divided by its sum.
"""

import torch
from torch import Tensor, nn


@torch.no_grad()
def start_as_interpolation(head: nn.Conv2d, body_end: nn.Conv2d, upsampler: nn.Sequential, tail: nn.Conv2d) -> None:
    """Set the weights in place; the convolutions are 3x3, each one of `upsampler` is followed by a PixelShuffle."""
    _carry_rgb(head)
    nn.init.zeros_(body_end.weight)
    _zero_bias(body_end)
    for convolution, shuffle in zip(upsampler[::2], upsampler[1::2], strict=True):
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(shuffle, nn.PixelShuffle)
        phases = bicubic_phases(shuffle.upscale_factor)  # (factor, 3)
        kernels = torch.einsum("yi,xj->yxij", phases, phases).flatten(0, 1)  # (factor², 3, 3), order of PixelShuffle
        for channel in range(3):
            rows = slice(channel * len(kernels), (channel + 1) * len(kernels))
            convolution.weight[rows] = 0
            convolution.weight[rows, channel] = kernels.to(convolution.weight)
            _zero_bias(convolution, rows)
    nn.init.zeros_(tail.weight)
    _carry_rgb(tail)


def bicubic_phases(factor: int) -> Tensor:
    """(factor, 3): for each of the positions inside an LR pixel the weights of the previous, same and next pixel."""
    centres = (torch.arange(factor, dtype=torch.float64) + 0.5) / factor - 0.5
    weights = _cubic((torch.arange(-1, 2) - centres[:, None]).abs())
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = −1/2, as in MATLAB's imresize."""
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


def _carry_rgb(convolution: nn.Conv2d) -> None:
    convolution.weight[:3] = 0
    for channel in range(3):
        convolution.weight[channel, channel, 1, 1] = 1
    _zero_bias(convolution, slice(3))


def _zero_bias(convolution: nn.Conv2d, rows: slice = slice(None)) -> None:
    assert convolution.bias is not None
    convolution.bias[rows] = 0
