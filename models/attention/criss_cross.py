"""Criss-cross attention: each pixel attends to its row and its column, twice (Huang et al., "CCNet: Criss-Cross
Attention for Semantic Segmentation", ICCV 2019, arXiv 1811.11721).

One softmax over the H + W − 1 pixels of the row and the column of a pixel. The whole module, with its residual
connection, runs `recurrence` times with the same weights: after two, every pixel has information of every other. Time
and memory grow with N(H + W), which is N^1.5 for a square and N² for a line. Difference from the paper: the output is
multiplied by `residual_scale` before it is added, not by a learned factor that starts at 0. Otherwise equals the
authors' `CrissCrossAttention` (speedinghzl/CCNet), repeated.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.attention._base import Attention
from models.attention._registry import register


@register("criss_cross")
class CrissCross(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        recurrence: how often the module runs (paper: 2). Attention maps are those of one run.
        reduction: query and key have channels // reduction channels (authors' code: 8).
    """

    random_projection = False
    own_loss = False
    paper = "Huang et al., ICCV 2019, arXiv 1811.11721"

    def __init__(
        self,
        channels: int = 64,
        *,
        recurrence: int = 2,
        reduction: int = 8,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
    ) -> None:
        super().__init__(
            channels, reduction=reduction, residual_scale=residual_scale, embedding_kernel=embedding_kernel
        )
        if recurrence < 1:
            raise ValueError(f"recurrence must be at least 1, not {recurrence}")
        self.recurrence = recurrence

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.recurrence):
            x = super().forward(x)
        return x

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        queries, keys, values = (x.unflatten(1, size) for x in (query, key, value))  # (B, H, W, C)
        across = queries @ keys.transpose(2, 3)  # (B, H, W, W): with the pixels of its row
        down = queries.transpose(1, 2) @ keys.permute(0, 2, 3, 1)  # (B, W, H, H): of its column
        itself = torch.eye(size[0], dtype=torch.bool, device=query.device)  # it is counted in its row
        scores = torch.cat([down.masked_fill(itself, float("-inf")).transpose(1, 2), across], dim=-1)
        weights = torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), -1).to(value.dtype)
        of_column, of_row = weights[..., : size[0]], weights[..., size[0] :]
        columns = (of_column.transpose(1, 2) @ values.transpose(1, 2)).transpose(1, 2)
        return (columns + of_row @ values).flatten(1, 2)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`) for a square image; the formula is this suite's."""
        sides = 2 * tokens**0.5
        formula = "our own count, not the paper's: recurrence·2N(H + W)(c + c_out) of a square"
        return (
            self.recurrence * 2 * tokens * sides * (channels + out_channels),
            f"{formula}, recurrence = {self.recurrence}",
        )

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same with the whole matrix of N x N scores, of which those of other rows and columns are masked."""
        rows, columns = _coordinates(range(size[0] * size[1]), size, query)
        met = (rows[:, None] == rows) | (columns[:, None] == columns)
        scores = (query @ key.transpose(1, 2)).masked_fill(~met, float("-inf"))
        return torch.softmax(scores, dim=-1) @ value

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        rows, columns = _coordinates(range(size[0] * size[1]), size, query)
        row, column = _coordinates(positions, size, query)
        met = (row[:, None] == rows) | (column[:, None] == columns)
        precise = torch.promote_types(query.dtype, torch.float32)
        scores = query[:, list(positions)].to(precise) @ key.to(precise).transpose(1, 2)
        return torch.softmax(scores.masked_fill(~met, float("-inf")), dim=-1)


def _coordinates(positions: Sequence[int], size: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of positions."""
    numbers = torch.tensor(positions, device=like.device)
    return numbers // size[1], numbers % size[1]
