"""Pyramid attention: patches of the image and of its smaller copies (Mei et al., "Pyramid Attention Networks for Image
Restoration", arXiv 2004.13824, IJCV 2023).

The 3x3 patch around each pixel attends to all 3x3 patches of the image at several scales, 1, 0.9 … 0.6, by
    softmax over all patches of 10 · q·k / |k|;
the output's overlapping patches are summed and divided by 4. Time grows with N² (30 times the operations of exact
attention on pixels, at equal widths); memory does not, because `exact_attention` never holds the matrix. Smaller copies
are made of embeddings before their PReLU, which gives the same as the paper's way, from the image: 1x1 convolutions
commute with bicubic interpolation. A side of one pixel is not reduced. Difference from the paper: the output is
multiplied by `residual_scale` before it is added to the input. Otherwise equals the authors' `PyramidAttention`
(SHI-Labs/Pyramid-Attention-Networks).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention._base import Attention
from models.attention._registry import register
from models.attention.nla import exact_attention

SHARPNESS = 10.0  # factor of the scores, as in the authors' code
SHORTEST = 1e-4  # smallest length that a patch is divided by, as in the authors' code
OVERLAP = 4.0  # divisor of summed patches, as in the authors' code


@register("pyramid")
class Pyramid(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        levels: number of scales, 1 − i/10 for i below it (paper: 5, at most 10).
        reduction: query and key have channels // reduction channels (authors' code: 2).
    """

    no_map = "its weights are between patches at several scales, not between positions"

    random_projection = False
    own_loss = False
    paper = "Mei et al., IJCV 2023, arXiv 2004.13824"

    def __init__(self, channels: int = 64, *, levels: int = 5, reduction: int = 2, residual_scale: float = 0.1) -> None:
        super().__init__(channels, reduction=reduction, residual_scale=residual_scale)
        if not 1 <= levels <= 10:
            raise ValueError(f"levels must lie between 1 and 10, not {levels}")
        self.levels = levels
        self.of_query, self.of_key, self.of_value = (nn.PReLU() for _ in range(3))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        queries, keys, values = self._patches(query, key, value, size)
        out = exact_attention(queries, keys, values)
        return F.fold(out.transpose(1, 2), size, 3, padding=1).flatten(2).transpose(1, 2) / OVERLAP

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`): both products with all patches, without interpolation."""
        patches = tokens * sum((1 - level / 10) ** 2 for level in range(self.levels))
        formula = "our own count, not the paper's: 2·9N·L(c + c_out), L = N·Σ scale²"
        return 18 * tokens * patches * (channels + out_channels), f"{formula}, {self.levels} scales"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same with the whole matrix, as in the authors' code: patches are the kernels of two convolutions."""
        outs = []
        for b in range(len(query)):
            q, k, v = (x[b : b + 1].transpose(1, 2).unflatten(2, size) for x in (query, key, value))
            kernels: list[Tensor] = []
            pasted: list[Tensor] = []
            for level in range(self.levels):
                for patches, x, prelu in ((kernels, k, self.of_key), (pasted, v, self.of_value)):
                    smaller = prelu(_reduced(x, level))
                    unfolded = F.unfold(smaller, 3, padding=1)[0].t()  # (L, 9C)
                    patches.append(unfolded.unflatten(1, (-1, 3, 3)))
            kernel = torch.cat(kernels)
            kernel = kernel / kernel.flatten(1).norm(dim=1).clamp_min(SHORTEST)[:, None, None, None]
            weights = torch.softmax(SHARPNESS * F.conv2d(self.of_query(q), kernel, padding=1), dim=1)  # (1, L, H, W)
            outs.append(F.conv_transpose2d(weights, torch.cat(pasted), padding=1) / OVERLAP)
        return torch.cat(outs).flatten(2).transpose(1, 2)

    def _patches(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Patches of the query (B, N, 9C), scaled; of all scales of the key (B, L, 9C), normalised; of the value."""
        C = key.shape[2]
        image, both = (x.transpose(1, 2).unflatten(2, size) for x in (query, torch.cat([key, value], dim=2)))
        queries = F.unfold(self.of_query(image), 3, padding=1).transpose(1, 2) * SHARPNESS
        levels = []
        for level in range(self.levels):
            k, v = _reduced(both, level).tensor_split([C], dim=1)
            levels.append(F.unfold(torch.cat([self.of_key(k), self.of_value(v)], dim=1), 3, padding=1))
        keys, values = torch.cat(levels, dim=2).transpose(1, 2).tensor_split([9 * C], dim=2)
        precise = keys.to(torch.promote_types(keys.dtype, torch.float32))
        norm = torch.linalg.vector_norm(precise, dim=-1, keepdim=True).clamp_min(SHORTEST)
        return queries, (precise / norm).to(keys.dtype), values


def _reduced(x: Tensor, level: int) -> Tensor:
    """(B, C, H, W) → its copy of 1 − level/10 of the sides, rounded down."""
    if level == 0:
        return x
    scale = 1 - level / 10
    # a short side stays: nothing would be left of it
    scales = tuple(scale if side * scale >= 1 else 1.0 for side in x.shape[2:])
    return F.interpolate(x, scale_factor=scales, mode="bicubic")
