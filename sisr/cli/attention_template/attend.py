"""Template: one sentence on the mechanism, and its paper.

Try it:      {check}
Compare it:  {compare}
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.attention import Attention, softmax_rows


class Template(Attention):
    """(B, channels, H, W) → the same shape.

    Options: keyword-only, with a default; the others are described in `Attention`.
        chunk: number of queries in one chunk; the result does not depend on it.
    """

    def __init__(self, channels: int = 64, *, chunk: int = 256, k: float | None = 6.0, reduction: int = 4) -> None:
        super().__init__(channels, k=k, reduction=reduction)  # creates the embeddings: query, key and value
        self.chunk = chunk

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """query, key (B, N, C) and value (B, N, Cv) of the N = H·W pixels of an image of `size` (H, W) → (B, N, Cv)."""
        outs = []
        for part in query.split(self.chunk, dim=1):  # (B, chunk, C); all N x N scores would not fit into memory
            # Change this: every pixel attends to every other by the softmax of query·key.
            scores = part @ key.transpose(1, 2)  # (B, chunk, N)
            outs.append(torch.softmax(scores, dim=-1) @ value)
        return torch.cat(outs, dim=1)

    # Optional auxiliary loss, like ENLCA's (a scalar that training adds with its weight):
    # def auxiliary_loss(self, query: Tensor, key: Tensor) -> Tensor:
    #     return ...

    # Optional attention map; change it together with `attend`, or remove it.
    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        """Weights of the pixels numbered `positions` on all N: (B, P, N), each row with the sum 1."""
        return softmax_rows(query, key, positions)
