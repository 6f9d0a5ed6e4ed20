"""Attention within windows of an image, shifted by half a window (Liu et al., "Swin Transformer: Hierarchical Vision
Transformer using Shifted Windows", ICCV 2021, arXiv 2103.14030; in super-resolution: SwinIR, arXiv 2108.10257).

Each pixel attends to the pixels of its window, softmax(Q Kᵀ/√d + B) V in several heads, with a learned bias B for
each relative position (timm's `RelPosBias`). Windows are shifted as in the paper: the image is rolled, and pixels that
are neighbours only because of rolling are masked. Differences:
- a slot contains only this attention, without layer norm, output projection and MLP;
- an image whose size is not a multiple of the window is padded with masked pixels (the paper's code lets zeros take
  part, SwinIR mirrors the image), so the output does not depend on the padding;
- a side that is not longer than the window is not shifted (as in the released code).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.attention._base import Attention
from models.attention._registry import register


@register("shifted_window")
class ShiftedWindow(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        window: side of a window in pixels (SwinIR: 8).
        shift: pixels by which the windows are shifted down and to the right, 0 for none; None: half a window.
        heads: number of heads, which query, key and value are cut into.
    """

    random_projection = False
    own_loss = False
    paper = "Liu et al., ICCV 2021, arXiv 2103.14030"

    def __init__(
        self,
        channels: int = 64,
        *,
        window: int = 8,
        shift: int | None = None,
        heads: int = 4,
        reduction: int = 1,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
    ) -> None:
        super().__init__(
            channels, reduction=reduction, residual_scale=residual_scale, embedding_kernel=embedding_kernel
        )
        if window < 1:
            raise ValueError(f"window must be at least 1 pixel, not {window}")
        if shift is not None and not 0 <= shift < window:
            raise ValueError(f"shift must lie between 0 and {window - 1}, below the window, not {shift}")
        width = channels // reduction
        if heads < 1 or width % heads or channels % heads:
            raise ValueError(f"heads must divide the {width} channels of the query and {channels} of the value")
        self.window = window
        self.shift = window // 2 if shift is None else shift
        self.heads = heads
        from timm.layers import RelPosBias  # here, as importing timm takes longer than importing torch

        self.position: Any = RelPosBias((window, window), heads)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        shift = self._shift(size)
        queries, keys, values = (self._windows(x, size, shift) for x in (query, key, value))
        logits = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5  # (B, windows, heads, M, M), M = window²
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) + self.position.get_bias()
        logits = logits.masked_fill(self._apart(size, shift, query.device)[:, None], float("-inf"))
        out = torch.softmax(logits, dim=-1).to(values.dtype) @ values
        return self._image(out, size, shift)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`) for whole windows; the formula is this suite's."""
        met = self.window**2
        formula = f"our own count, not the paper's: 2N·window²(c + c_out), window² = {met}"
        return 2 * tokens * met * (channels + out_channels), formula

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same, one window after the other, without rolling or padding: windows at the border are smaller."""
        H, W = size
        query, key, value = (x.unflatten(1, size).unflatten(-1, (self.heads, -1)) for x in (query, key, value))
        down, right = self._shift(size)
        index = self.position.relative_position_index.view(self.window**2, self.window**2)
        bias = self.position.relative_position_bias_table[index]  # (M, M, heads)
        out = torch.empty_like(value)  # (B, H, W, heads, Cv)
        for top in range(down - self.window, H, self.window):
            for left in range(right - self.window, W, self.window):
                rows = range(max(top, 0), min(top + self.window, H))
                columns = range(max(left, 0), min(left + self.window, W))
                if not rows or not columns:
                    continue
                part = (slice(None), slice(rows.start, rows.stop), slice(columns.start, columns.stop))
                q, k, v = (x[part].flatten(1, 2).transpose(1, 2) for x in (query, key, value))  # (B, heads, n, d)
                inside = torch.tensor([(y - top) * self.window + x - left for y in rows for x in columns])
                window_bias = bias[inside[:, None], inside].permute(2, 0, 1)  # (heads, n, n)
                weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + window_bias, dim=-1)
                out[part] = (weights @ v).transpose(1, 2).unflatten(1, (len(rows), len(columns)))
        return out.flatten(3).flatten(1, 2)

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        """The mean over the heads; outside of a position's window the weights are 0."""
        W = size[1]
        shifts = self._shift(size)
        index = self.position.relative_position_index.view(self.window**2, self.window**2)
        bias = self.position.relative_position_bias_table[index]  # (M, M, heads)
        result = query.new_zeros(len(query), len(positions), query.shape[1], dtype=bias.dtype)
        for number, position in enumerate(positions):
            spans, firsts = [], []
            for coordinate, side, shift in zip(divmod(position, W), size, shifts, strict=True):
                # first coordinate of the window, may be negative
                first = (coordinate - shift) // self.window * self.window + shift
                spans.append(torch.arange(max(first, 0), min(first + self.window, side), device=query.device))
                firsts.append(first)
            inside = (spans[0][:, None] * W + spans[1]).flatten()  # (n)
            columns = ((spans[0] - firsts[0])[:, None] * self.window + spans[1] - firsts[1]).flatten()
            at = (position // W - firsts[0]) * self.window + position % W - firsts[1]
            q = query[:, position].unflatten(1, (self.heads, -1)).to(bias.dtype)  # (B, heads, d)
            k = key[:, inside].unflatten(2, (self.heads, -1)).to(bias.dtype)  # (B, n, heads, d)
            logits = torch.einsum("bhd,bnhd->bhn", q, k) / q.shape[-1] ** 0.5 + bias[at, columns].t()
            result[:, number, inside] = torch.softmax(logits, dim=-1).mean(1)
        return result

    def _shift(self, size: tuple[int, int]) -> tuple[int, int]:
        """Shift of the windows in rows and columns; 0 along a side that one window covers."""
        down, right = (self.shift if side > self.window else 0 for side in size)
        return down, right

    def _padding(self, side: int) -> int:
        """Pixels up to a whole number of windows; without negative operands, which ONNX divides differently."""
        return (self.window - side % self.window) % self.window

    def _windows(self, x: Tensor, size: tuple[int, int], shift: tuple[int, int]) -> Tensor:
        """(B, N, C) → padded, rolled and split: (B, windows, heads, M, C / heads)."""
        x = x.unflatten(1, size)
        x = F.pad(x, (0, 0, 0, self._padding(size[1]), 0, self._padding(size[0])))
        x = torch.roll(x, (-shift[0], -shift[1]), (1, 2)) if any(shift) else x
        B, H, W, C = x.shape
        x = x.reshape(B, H // self.window, self.window, W // self.window, self.window, self.heads, C // self.heads)
        return x.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5).flatten(1, 2)

    def _image(self, windows: Tensor, size: tuple[int, int], shift: tuple[int, int]) -> Tensor:
        """Inverse of `_windows`: (B, windows, heads, M, C / heads) → (B, N, C)."""
        down, across = ((side + self._padding(side)) // self.window for side in size)
        x = windows.unflatten(3, (self.window, self.window)).unflatten(1, (down, across))
        x = x.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)  # (B, H, W, C)
        x = torch.roll(x, shift, (1, 2)) if any(shift) else x
        return x[:, : size[0], : size[1]].flatten(1, 2)

    def _apart(self, size: tuple[int, int], shift: tuple[int, int], device: torch.device) -> Tensor:
        """(windows, M, M): True for pairs of pixels of a window that are masked."""
        kinds = []
        for side, moved in zip(size, shift, strict=True):
            full = side + self._padding(side)
            coordinate = torch.arange(full, device=device) + moved  # before rolling
            rolled, padding = coordinate >= full, coordinate % full >= side
            kinds.append((rolled + 2 * padding).view(-1, self.window))  # (windows along the side, window)
        kind = kinds[0][:, None, :, None] * 4 + kinds[1][None, :, None, :]
        kind = kind.flatten(2).flatten(0, 1)  # (windows, M)
        return kind[:, :, None] != kind[:, None, :]
