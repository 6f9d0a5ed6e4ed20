"""Exact attention to the best keys only: softmax over the highest scores of each query, all others have weight 0
(Zhao et al., "Explicit Sparse Transformer: Concentrated Attention Through Explicit Selection", arXiv 1912.11637; for
images Wang et al., "KVT: k-NN Attention for Boosting Vision Transformers", ECCV 2022, arXiv 2106.00515).

All N scores of a query are computed, so time grows with N². Differences from the papers: one head and no 1/√C, as in
this suite's other non-local blocks. The N x N matrix is never stored: queries are processed in chunks, and only the
selected keys and values are gathered. Memory is that of N·keys numbers and one chunk's scores, in training as well.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from models.attention._base import Attention
from models.attention._registry import register


@register("top_k")
class TopK(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        keys: number of keys that a query attends to (all, if an image has fewer pixels).
        chunk: number of queries in one chunk; the result does not depend on it.
        k: None: embeddings are not normalised. A number: normalised as in ENLCA.
    """

    random_projection = False
    own_loss = False
    paper = "Zhao et al., arXiv 1912.11637"

    def __init__(
        self,
        channels: int = 64,
        *,
        keys: int = 32,
        chunk: int = 256,
        k: float | None = None,
        reduction: int = 4,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
        normalise_eps: float = 5e-5,
    ) -> None:
        super().__init__(
            channels,
            k=k,
            reduction=reduction,
            residual_scale=residual_scale,
            embedding_kernel=embedding_kernel,
            normalise_eps=normalise_eps,
        )
        if keys < 1:
            raise ValueError(f"keys must be at least 1, not {keys}")
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1 query, not {chunk}")
        self.keys = keys
        self.chunk = chunk

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        outs = []
        for part in query.split(self.chunk, dim=1):  # (B, chunk, C)
            if torch.is_grad_enabled():
                with torch.no_grad():
                    index = _best(part, key, self.keys)[1]
                # keys and values (N·keys·C numbers) are gathered again in the backward pass, not kept
                outs.append(checkpoint(_attend_to_chosen, part, key, value, index, use_reentrant=False))
            else:
                outs.append(_weighted_sum(*_best(part, key, self.keys), value))
        return torch.cat(outs, dim=1)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        keys = min(self.keys, tokens)
        formula = f"our own count, not the paper's: 2(N²c + N·keys·c_out), keys = {keys}"
        return 2 * (tokens * tokens * channels + tokens * keys * out_channels), formula

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same with the whole matrix of N x N scores, as in the papers."""
        scores = query @ key.transpose(1, 2)
        chosen = scores.topk(min(self.keys, scores.shape[-1]), dim=-1).indices
        masked = torch.full_like(scores, float("-inf")).scatter(-1, chosen, scores.gather(-1, chosen))
        return torch.softmax(masked, dim=-1) @ value

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        best, index = _best(query[:, list(positions)], key, self.keys)
        weights = torch.softmax(best.to(torch.promote_types(best.dtype, torch.float32)), dim=-1)
        return weights.new_zeros(*weights.shape[:2], key.shape[1]).scatter(-1, index, weights)


def _best(query: Tensor, key: Tensor, keys: int) -> tuple[Tensor, Tensor]:
    """query (B, L, C), key (B, N, C) → the highest scores in descending order and their indices, (B, L, keys)."""
    scores = query @ key.transpose(1, 2)
    best, index = scores.topk(min(keys, key.shape[1]), dim=-1)
    return best, index


def _attend_to_chosen(query: Tensor, key: Tensor, value: Tensor, index: Tensor) -> Tensor:
    """query (B, L, C), key (B, N, C), value (B, N, Cv), index (B, L, keys) → (B, L, Cv)."""
    scores = (_pick(key, index) @ query[..., None]).squeeze(-1)  # (B, L, keys)
    return _weighted_sum(scores, index, value)


def _weighted_sum(scores: Tensor, index: Tensor, value: Tensor) -> Tensor:
    precise = scores.to(torch.promote_types(scores.dtype, torch.float32))
    weights = torch.softmax(precise, dim=-1).to(value.dtype)
    return (weights[..., None, :] @ _pick(value, index)).squeeze(-2)


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """x (B, N, C), index (B, L, keys) → (B, L, keys, C)."""
    rows = index.flatten(1)[..., None].expand(-1, -1, x.shape[-1])
    return x.gather(1, rows).unflatten(1, index.shape[1:])
