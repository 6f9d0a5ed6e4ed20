"""Global learnable attention: NLSA with a learned term in its scores (Su et al., "Global Learnable Attention for Single
Image Super-Resolution", TPAMI 2022, arXiv 2212.01057).

As in NLSA, hashing sorts the pixels, each pixel attends to its chunk and both neighbouring chunks, and rounds are
weighted by their log-sum-exp. To the score q·k/|k| of a pixel i and a key j, a network of two layers adds a number:
its output for key j at the place of pixel i in its chunk. So pixels that are not similar can have weight. Buckets are
those of super-bit hashing: the nearest of orthogonal directions. Differences from the authors' code:
- directions are fixed outside training, so that a test can be repeated; where there are more buckets than channels,
  they are orthogonal in blocks;
- images with fewer pixels than one chunk work: they form a single chunk.
Otherwise equals the authors' `GLA` (laoyangui/DLSN), if its sorting keeps the order of equal hash codes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention._projection import draw_projection
from models.attention._registry import register
from models.attention.nlsa import MOST_BUCKETS, NLSA


@register("global_learnable")
class GlobalLearnable(NLSA):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        rounds: number of independent hashings that are averaged (authors' module: 4, as in NLSA; published DLSN: 3).
        chunk: pixels in a chunk of the sorted list (authors' module: 144, as in NLSA; published DLSN: 128).
    """

    in_paper = False
    recipes = {"paper": {}, "released": {}}  # those of NLSA do not apply
    paper = "Su et al., TPAMI 2022, arXiv 2212.01057"

    def __init__(
        self,
        channels: int = 64,
        *,
        rounds: int = 4,
        chunk: int = 144,
        reduction: int = 4,
        residual_scale: float = 0.1,
        embedding_kernel: int = 3,
        normalise_eps: float = 5e-5,
    ) -> None:
        super().__init__(
            channels,
            rounds=rounds,
            chunk=chunk,
            reduction=reduction,
            residual_scale=residual_scale,
            embedding_kernel=embedding_kernel,
            normalise_eps=normalise_eps,
        )
        self.value, self.scored = (
            nn.Conv2d(channels, channels, embedding_kernel, padding=embedding_kernel // 2) for _ in range(2)
        )
        self.scorer = nn.Sequential(nn.Linear(channels, chunk), nn.ReLU(), nn.Linear(chunk, chunk))
        fixed = self._directions(channels // reduction, torch.Generator().manual_seed(0))
        self.register_buffer("rotations", fixed, persistent=False)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query (B, N, C), value (B, N, channels); key (B, N, C + channels): the unit query, and features to score."""
        query, scored, value = (
            torch.relu(layer(x)).flatten(2).transpose(1, 2) for layer in (self.query, self.scored, self.value)
        )
        return query, torch.cat([self._unit(query), scored], dim=2), value

    def hash_codes(self, query: Tensor) -> Tensor:
        """(B, N, C) → bucket numbers (B, rounds, N): the nearest of as many orthogonal directions as buckets."""
        C = query.shape[2]
        rotations = self._directions(C).to(query.device) if self.training else self.rotations
        rotations = rotations[..., : max(self._buckets(query.shape[1]), 1)].to(query.dtype)
        scores = (query.detach() @ rotations.flatten(1)).unflatten(2, (self.rounds, -1))
        return scores.argmax(dim=-1).transpose(1, 2)

    def start_as_identity(self) -> None:
        """Does nothing, so that a gate is used: with zero values, the ReLU after them would stop all gradients."""

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        buckets = max(self._buckets(tokens), 1)
        met = 3 * self.chunk if self.chunk < tokens else tokens
        one_round = tokens * met * (channels + out_channels) + tokens * channels * buckets
        scorer = tokens * self.chunk * (out_channels + self.chunk)
        formula = "our own count, not the paper's: 2(r(N·3·chunk·(c + c_out) + N·c·buckets) + N·chunk(c_out + chunk))"
        options = f"r = {self.rounds}, chunk = {self.chunk}, buckets = {buckets}"
        return 2 * (self.rounds * one_round + scorer), f"{formula}, {options}"

    def _scores(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        C = query.shape[2]
        return key[..., :C], self.scorer(key[..., C:])[..., : min(self.chunk, key.shape[1])]

    def _directions(self, width: int, generator: torch.Generator | None = None) -> Tensor:
        """Unit vectors, orthogonal in blocks of `width`: (width, rounds, MOST_BUCKETS), on the CPU."""
        drawn = [draw_projection(MOST_BUCKETS, width, True, generator) for _ in range(self.rounds)]
        return F.normalize(torch.stack(drawn), dim=-1).permute(2, 0, 1)
