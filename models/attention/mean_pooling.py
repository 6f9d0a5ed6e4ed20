"""Mean pooling in the place of attention: a control that gathers from everywhere and looks at nothing.

Exact attention with equal weights, which is its limit for an amplification factor k → 0: y = mean over all pixels of
the values. A mechanism that gains no more than this one does not gain by where it looks.
"""

import torch
from torch import Tensor, nn

from models.attention._registry import register


@register("mean_pooling")
class MeanPooling(nn.Module):
    """(B, channels, H, W) → x + residual_scale · mean(value(x)) at every pixel, of the same shape.

    Options:
        residual_scale: factor of the pooled values before they are added, as in the attention mechanisms.
        value_kernel: size of the values' convolution, 1 or 3, as in the attention mechanisms.
    """

    no_map = "every position has the same weight"

    def __init__(self, channels: int = 64, *, residual_scale: float = 0.1, value_kernel: int = 1) -> None:
        super().__init__()
        if value_kernel not in (1, 3):
            raise ValueError(f"value_kernel must be 1 or 3, not {value_kernel}")
        self.residual_scale = residual_scale
        self.value = nn.Conv2d(channels, channels, value_kernel, padding=value_kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.value.kernel_size == (1, 1):  # a 1x1 convolution commutes with the mean
            pooled = self.value(x.mean(dim=(2, 3), keepdim=True))
        else:
            pooled = self.value(x).mean(dim=(2, 3), keepdim=True)
        return torch.add(x, pooled, alpha=self.residual_scale)

    def start_as_identity(self) -> None:
        """Zero the values, so that the module returns its input."""
        nn.init.zeros_(self.value.weight)
        assert self.value.bias is not None
        nn.init.zeros_(self.value.bias)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        return tokens * channels + 2 * channels * out_channels, "our own count, not the paper's: N·c + 2·c·c_out"

    def reference(self, x: Tensor) -> Tensor:
        """The same as attention with equal weights: softmax of an N x N matrix of zeros, times the values."""
        B, C, H, W = x.shape
        value = self.value(x).flatten(2).transpose(1, 2)  # (B, N, C)
        weights = torch.softmax(value.new_zeros(B, H * W, H * W), dim=-1)
        return x + self.residual_scale * (weights @ value).transpose(1, 2).reshape(B, C, H, W)
