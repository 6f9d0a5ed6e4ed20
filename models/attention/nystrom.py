"""Nyström attention: exact attention through a few landmarks (Xiong et al., "Nyströmformer: A Nyström-based Algorithm
for Approximating Self-Attention", AAAI 2021, arXiv 2102.03902).

Landmarks Q̃, K̃ are the means of queries and keys over m segments of the image's rows, one after the other. Then
    softmax(Q Kᵀ/√C) ≈ softmax(Q K̃ᵀ/√C) · softmax(Q̃ K̃ᵀ/√C)⁺ · softmax(Q̃ Kᵀ/√C),
the pseudo-inverse ⁺ by the iteration of Razavi et al. (2014). Time and memory grow with N·m.
As in the authors' code for images (T2T-ViT-Nys): one head, segments whose lengths differ by at most 1, an initial value
of the iteration that depends on the image alone, and no depth-wise convolution of the values. Differences from it: no
output projection, and no values added to the output. An image of at most m pixels gets exact attention. Otherwise
equals the authors' `NysAttention` (mlpen/Nystromformer).
"""

import torch
from torch import Tensor

from models.attention._base import Attention
from models.attention._registry import register
from models.attention.nla import exact_attention

MOST_ITERATIONS = 30  # each multiplies a singular value of rounding size by 13/4, to beyond float32 at some 40


@register("nystrom")
class Nystrom(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        landmarks: m, number of segments (authors' code: 64).
        iterations: steps towards the pseudo-inverse, at most 30 (authors' code: 6).
    """

    no_map = "its rows approximate those of the softmax, and may have negative weights"

    random_projection = False
    own_loss = False
    paper = "Xiong et al., AAAI 2021, arXiv 2102.03902"

    def __init__(
        self,
        channels: int = 64,
        *,
        landmarks: int = 64,
        iterations: int = 6,
        reduction: int = 4,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
    ) -> None:
        super().__init__(
            channels, reduction=reduction, residual_scale=residual_scale, embedding_kernel=embedding_kernel
        )
        if landmarks < 1:
            raise ValueError(f"landmarks must be at least 1, not {landmarks}")
        if not 0 <= iterations <= MOST_ITERATIONS:
            raise ValueError(f"iterations must lie between 0 and {MOST_ITERATIONS}, not {iterations}")
        self.landmarks = landmarks
        self.iterations = iterations

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        query = query * query.shape[-1] ** -0.5
        if query.shape[1] <= self.landmarks:
            return exact_attention(query, key, value)
        queries, keys = (_segment_means(x, self.landmarks) for x in (query, key))
        gathered = exact_attention(queries, key, value)  # (B, m, Cv)
        with torch.autocast(query.device.type, enabled=False):
            precise = torch.promote_types(query.dtype, torch.float32)
            between = torch.softmax(queries.to(precise) @ keys.to(precise).transpose(1, 2), dim=-1)
            mixed = self._pseudo_inverse(between) @ gathered.to(precise)
        return exact_attention(query, keys, mixed.to(value.dtype))

    def exact(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """What `attend` approximates: attention with the weights softmax(Q Kᵀ/√C)."""
        return exact_attention(query * query.shape[-1] ** -0.5, key, value)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        m = self.landmarks
        if tokens <= m:
            return 2 * tokens**2 * (channels + out_channels), "our own count, not the paper's: 2N²(c + c_out), as N ≤ m"
        both = 2 * tokens * m * (channels + out_channels)
        small = m**2 * (channels + out_channels) + 4 * self.iterations * m**3
        formula = "our own count, not the paper's: 2(2Nm(c + c_out) + m²(c + c_out) + 4·iterations·m³)"
        return 2 * (both + small), f"{formula}, m = {m}, iterations = {self.iterations}"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same with all three matrices, and one segment after the other."""
        N, C = query.shape[1:]
        m = self.landmarks
        if m >= N:
            return torch.softmax(query @ key.transpose(1, 2) / C**0.5, dim=-1) @ value
        longer = N % m
        lengths = [N // m] * (m - longer) + [N // m + 1] * longer
        queries, keys = (torch.stack([part.mean(1) for part in x.split(lengths, 1)], 1) for x in (query, key))
        left, middle, right = (
            torch.softmax(q @ k.transpose(1, 2) / C**0.5, dim=-1)
            for q, k in ((query, keys), (queries, keys), (queries, key))
        )
        return left @ self._pseudo_inverse(middle) @ right @ value

    def _pseudo_inverse(self, matrix: Tensor) -> Tensor:
        """Of (B, m, m) whose entries are positive and whose rows sum to 1."""
        one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        inverse = matrix.transpose(1, 2) / matrix.sum(1).amax(-1)[:, None, None]
        for _ in range(self.iterations):
            product = matrix @ inverse
            inverse = inverse / 4 @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
        return inverse


def _segment_means(x: Tensor, segments: int) -> Tensor:
    """(B, N, C) → (B, segments, C); the last N mod segments are one token longer."""
    length, longer = x.shape[1] // segments, x.shape[1] % segments
    border = (segments - longer) * length
    short = x[:, :border].unflatten(1, (segments - longer, length)).mean(2)
    return torch.cat([short, x[:, border:].unflatten(1, (longer, length + 1)).mean(2)], dim=1)
