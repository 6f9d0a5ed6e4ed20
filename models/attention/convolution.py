"""A 3x3 convolution instead of attention: the row "Conv", the reference for cost in the paper's Table 4."""

import torch
from torch import Tensor, nn

from models.attention._registry import register


@register("convolution")
class Convolution(nn.Module):
    """(B, channels, H, W) → x + residual_scale · convolution(x), of the same shape.

    Options:
        kernel: odd size of the kernel in pixels.
        residual_scale: factor of the convolution's output, as in the attention mechanisms.
    """

    no_map = "the weights of a convolution do not depend on the image"

    random_projection = False
    own_loss = False
    in_paper = True

    def __init__(self, channels: int = 64, *, kernel: int = 3, residual_scale: float = 0.1) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be an odd number of pixels, not {kernel}")
        self.residual_scale = residual_scale
        self.convolution = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.convolution(x), alpha=self.residual_scale)

    def start_as_identity(self) -> None:
        """Zero the convolution, so that the module returns its input."""
        nn.init.zeros_(self.convolution.weight)
        assert self.convolution.bias is not None
        nn.init.zeros_(self.convolution.bias)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """As the paper counts (see `Attention`)."""
        kernel = self.convolution.kernel_size[0]
        return 2 * kernel**2 * channels * out_channels * tokens, f"2·kernel²·c·c_out·N, kernel = {kernel}"

    def reference(self, x: Tensor) -> Tensor:
        """The same as a product with all shifted copies of the image."""
        kernel = self.convolution.kernel_size[0]
        patches = nn.functional.unfold(x, kernel, padding=kernel // 2)  # (B, C·kernel², N)
        out = self.convolution.weight.flatten(1) @ patches
        assert self.convolution.bias is not None
        return x + self.residual_scale * (out + self.convolution.bias[:, None]).reshape(x.shape)
