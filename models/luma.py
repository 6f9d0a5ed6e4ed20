"""What networks that process luma only have in common: Cb and Cr are upscaled bicubically, training compares luma."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.colour import to_rgb, to_ycbcr, upscale


class LumaNetwork(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped."""

    luma_only = True  # evaluated through `luma`, without converting through 8-bit RGB
    luma_rounded = False
    scale: int

    def forward(self, x: Tensor) -> Tensor:
        x = to_ycbcr(x)
        return to_rgb(torch.cat([self.luma(x[:, :1]), upscale(x[:, 1:], self.scale)], dim=1))

    def luma(self, y: Tensor) -> Tensor:
        """(B, 1, H, W), Y of studio range divided by 255 → (B, 1, scale·H, scale·W)."""
        raise NotImplementedError

    def outputs(self, x: Tensor) -> Sequence[Tensor]:
        """(B, 3, H, W) RGB in [0, 1] → planes of luma (B, 1, scale·H, scale·W) for the loss."""
        return [self.luma(to_ycbcr(x)[:, :1])]
