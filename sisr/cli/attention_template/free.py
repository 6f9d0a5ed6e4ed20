"""Template: one sentence on the mechanism, and its paper.

Try it:      {check}
Compare it:  {compare}
"""

import torch
from torch import Tensor, nn


class Template(nn.Module):
    """(B, channels, H, W) → the same shape.

    Options: keyword-only, with a default.
        kernel: odd size in pixels of the neighbourhood that determines the gate of a pixel.
        residual_scale: factor of the output before it is added to the input.
    """

    def __init__(self, channels: int = 64, *, kernel: int = 7, residual_scale: float = 0.1) -> None:
        super().__init__()
        self.residual_scale = residual_scale
        self.neighbourhood = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        # Change this: each value is multiplied by a gate in [0, 1] that depends on its neighbourhood.
        gate = torch.sigmoid(self.gate(self.neighbourhood(x)))  # (B, channels, H, W)
        return x + self.residual_scale * gate * self.value(x)
