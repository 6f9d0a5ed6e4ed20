"""Template: say in a sentence what it does, and which paper it follows.

Try it:      {check}
Compare it:  {compare}
"""

import torch
from torch import Tensor, nn


class Template(nn.Module):
    """(B, channels, H, W) → the same shape.

    Options: write yours behind the *, with a default.
        kernel: odd size in pixels of the surroundings that decide how much of a pixel is let through.
        residual_scale: factor of the output before it is added to the input.
    """

    def __init__(self, channels: int = 64, *, kernel: int = 7, residual_scale: float = 0.1) -> None:
        super().__init__()
        self.residual_scale = residual_scale
        self.surroundings = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        # Change this: here each value is multiplied by a gate between 0 and 1 that depends on its surroundings.
        gate = torch.sigmoid(self.gate(self.surroundings(x)))  # (B, channels, H, W)
        return x + self.residual_scale * gate * self.value(x)
