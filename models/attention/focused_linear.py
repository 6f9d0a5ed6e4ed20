"""Focused linear attention: a feature map that sharpens directions (Han et al., "FLatten Transformer: Vision
Transformer using Focused Linear Attention", ICCV 2023, arXiv 2308.00442).

φ(x) = |r| / |r³| · r³ with r = (ReLU(x) + 1e-6) / softplus(s), s a learned number for each channel: each entry to the
third power, then back to the length before, which turns features towards their largest entries. Then as in linear
attention, Y = φ(Q) (φ(K)ᵀ V) / (φ(Q) φ(K)ᵀ 1 + ε), in heads. A depth-wise 5x5 convolution of the values, the same in
every head, is added for their diversity, and a 1x1 convolution gives the output. Time and memory grow with N.
Differences from the authors' code: no learned code of positions, which needs an image of fixed size; the output is
multiplied by `residual_scale` before it is added to the input. Otherwise equals the authors' `FocusedLinearAttention`
(LeapLabTHU/FLatten-Transformer, FLatten-PVT).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention._base import Attention
from models.attention._heads import check_heads, split_heads
from models.attention._registry import register
from models.attention.linear import kernel_attention

SMALLEST = 1e-6  # added to features and to the mean normaliser, as in the authors' code


@register("focused_linear")
class FocusedLinear(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        power: focusing factor p (paper: 3).
        kernel: odd size of the depth-wise convolution in pixels (paper: 5).
        heads: number of heads, which query, key and value are cut into (FLatten-PVT: 1 for 64 channels).
        reduction: query and key have channels // reduction channels (authors' code: 1).
    """

    random_projection = False
    own_loss = False
    paper = "Han et al., ICCV 2023, arXiv 2308.00442"

    def __init__(
        self,
        channels: int = 64,
        *,
        power: float = 3.0,
        kernel: int = 5,
        heads: int = 1,
        reduction: int = 1,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
    ) -> None:
        super().__init__(
            channels, reduction=reduction, residual_scale=residual_scale, embedding_kernel=embedding_kernel
        )
        width = channels // reduction
        if not power > 0:
            raise ValueError(f"power must be above 0, not {power}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be an odd number of pixels, not {kernel}")
        check_heads(heads, width, channels)
        self.power = power
        self.heads = heads
        self.scale = nn.Parameter(torch.zeros(width))
        head = channels // heads
        self.depthwise = nn.Conv2d(head, head, kernel, padding=kernel // 2, groups=head)
        self.projection = nn.Linear(channels, channels)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        queries, keys, values = (split_heads(x, self.heads) for x in (self._focus(query), self._focus(key), value))
        # the authors normalise by the mean over the keys: ε times N in the sum
        return kernel_attention(queries, keys, values, SMALLEST * query.shape[1]).transpose(1, 2).flatten(2)

    def combine(self, out: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        values = split_heads(value, self.heads).flatten(0, 1)
        images = values.transpose(1, 2).unflatten(2, size)  # (B·heads, Cv / heads, H, W)
        local = self.depthwise(images).flatten(2).unflatten(0, (-1, self.heads))  # (B, heads, Cv / heads, N)
        return self.projection(out + local.flatten(1, 2).transpose(1, 2))

    def start_as_identity(self) -> None:
        """Zero the output's projection, so that the module returns its input."""
        nn.init.zeros_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        products = 2 * tokens * channels * out_channels / self.heads + tokens * channels
        kernel = self.depthwise.kernel_size[0]
        after = kernel**2 * tokens * out_channels + tokens * out_channels**2
        formula = "our own count, not the paper's: 2(2N·c·c_out/heads + N·c + kernel²·N·c_out + N·c_out²)"
        return 2 * (products + after), f"{formula}, heads = {self.heads}, kernel = {kernel}"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same as in the paper, one head after the other, with the whole matrix of N x N weights."""

        def focus(x: Tensor) -> Tensor:
            x = (torch.relu(x) + SMALLEST) / F.softplus(self.scale)
            powers = x**self.power
            return powers * (x.norm(dim=-1, keepdim=True) / powers.norm(dim=-1, keepdim=True))

        outs = []
        for q, k, v in zip(*(x.chunk(self.heads, 2) for x in (focus(query), focus(key), value)), strict=True):
            similarity = q @ k.transpose(1, 2)
            outs.append(similarity @ v / (similarity.sum(-1, keepdim=True) + SMALLEST * query.shape[1]))
        return torch.cat(outs, dim=2)

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        """The mean over the heads, without ε."""
        chosen = query[:, list(positions)]
        queries, keys = (split_heads(self._focus(x), self.heads) for x in (chosen, key))
        similarity = queries @ keys.transpose(2, 3)
        return (similarity / similarity.sum(-1, keepdim=True)).mean(1)

    def _focus(self, x: Tensor) -> Tensor:
        """φ, in float32 or better: (B, N, C) → the same."""
        x = (torch.relu(x.to(torch.promote_types(x.dtype, torch.float32))) + SMALLEST) / F.softplus(self.scale)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        # the largest is 1, and its power, too: their length neither vanishes nor overflows
        powers = (x / x.detach().amax(dim=-1, keepdim=True)) ** self.power
        return powers * (length / torch.linalg.vector_norm(powers, dim=-1, keepdim=True))
