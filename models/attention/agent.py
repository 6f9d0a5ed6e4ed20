"""Agent attention: a few agents gather from all pixels, and each pixel from the agents (Han et al., "Agent Attention:
On the Integration of Softmax and Linear Attention", ECCV 2024, arXiv 2312.08874).

The agents A are the queries, averaged over a grid of squares of the image;
    Y = softmax(Q Aᵀ/√d + B₂) · softmax(A Kᵀ/√d + B₁) V,
with learned biases B₁, B₂ on a grid of 7 x 7, interpolated to the image. A depth-wise 3x3 convolution of the values is
added, and a 1x1 convolution gives the output. Time and memory grow with N·agents. Differences from the authors' code:
no biases of single rows and columns, which need an image of fixed size; the output is multiplied by `residual_scale`
before it is added to the input. Otherwise equals the authors' `AgentAttention` (LeapLabTHU/Agent-Attention, Agent-PVT).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention._base import Attention
from models.attention._heads import check_heads, split_heads
from models.attention._registry import register

GRID = 7  # side of the learned biases, as in the authors' code


@register("agent")
class Agent(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        agents: number of agents, a square number (authors' code: 49, in a grid of 7 x 7).
        heads: number of heads, which query, key and value are cut into (Agent-PVT: 1 for 64 channels).
        reduction: query and key have channels // reduction channels (authors' code: 1).
    """

    random_projection = False
    own_loss = False
    paper = "Han et al., ECCV 2024, arXiv 2312.08874"

    def __init__(
        self,
        channels: int = 64,
        *,
        agents: int = 49,
        heads: int = 1,
        reduction: int = 1,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
    ) -> None:
        super().__init__(
            channels, reduction=reduction, residual_scale=residual_scale, embedding_kernel=embedding_kernel
        )
        self.side = round(max(agents, 0) ** 0.5)
        if agents < 1 or self.side**2 != agents:
            raise ValueError(f"agents must be a square number from 1 on, not {agents}")
        width = channels // reduction
        check_heads(heads, width, channels)
        self.agents = agents
        self.heads = heads
        self.gather_bias, self.spread_bias = (
            nn.Parameter(nn.init.trunc_normal_(torch.zeros(heads, agents, GRID, GRID), std=0.02)) for _ in range(2)
        )
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.projection = nn.Linear(channels, channels)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        gather, spread = self._weights(query, key, self._pool(query, size), size)
        values = split_heads(value, self.heads)
        out = spread.to(value.dtype) @ (gather.to(value.dtype) @ values)  # (B, heads, N, Cv / heads)
        return out.transpose(1, 2).flatten(2)

    def combine(self, out: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        local = self.depthwise(value.transpose(1, 2).unflatten(2, size)).flatten(2).transpose(1, 2)
        return self.projection(out + local)

    def start_as_identity(self) -> None:
        """Zero the output's projection, so that the module returns its input."""
        nn.init.zeros_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        attention = 2 * tokens * self.agents * (channels + out_channels)
        after = 9 * tokens * out_channels + tokens * out_channels**2
        formula = "our own count, not the paper's: 2(2N·agents(c + c_out) + 9N·c_out + N·c_out²)"
        return 2 * (attention + after), f"{formula}, agents = {self.agents}"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same, one agent and one head after the other, with the whole matrix of N x N weights."""
        grid = query.unflatten(1, size)

        def parts(length: int) -> list[slice]:
            # from floor(i·length / side) up to, but without, ceil((i + 1)·length / side)
            ends = [((i + 1) * length + self.side - 1) // self.side for i in range(self.side)]
            return [slice(i * length // self.side, end) for i, end in enumerate(ends)]

        squares = [grid[:, rows, columns].mean((1, 2)) for rows in parts(size[0]) for columns in parts(size[1])]
        outs = []
        pieces = (x.chunk(self.heads, dim=2) for x in (query, key, value, torch.stack(squares, 1)))
        for head, (q, k, v, a) in enumerate(zip(*pieces, strict=True)):
            gather_bias, spread_bias = (
                F.interpolate(bias[None, head], size=size, mode="bilinear").flatten(2)
                for bias in (self.gather_bias, self.spread_bias)
            )
            gather = torch.softmax(a @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + gather_bias, dim=-1)
            spread = torch.softmax(q @ a.transpose(1, 2) / q.shape[-1] ** 0.5 + spread_bias.transpose(1, 2), dim=-1)
            outs.append(spread @ gather @ v)
        return torch.cat(outs, dim=2)

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        """The mean over the heads."""
        gather, spread = self._weights(query, key, self._pool(query, size), size)
        return (spread[:, :, list(positions)] @ gather).mean(1)

    def _pool(self, query: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) → the agents (B, agents, C)."""
        image = query.transpose(1, 2).unflatten(2, size)
        return F.adaptive_avg_pool2d(image, self.side).flatten(2).transpose(1, 2)

    def _weights(self, query: Tensor, key: Tensor, agents: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Of each agent on all keys (B, heads, agents, N), and of each query on all agents (B, heads, N, agents)."""
        queries, keys, means = (split_heads(x, self.heads) for x in (query, key, agents))
        means = means * queries.shape[-1] ** -0.5
        precise = torch.promote_types(query.dtype, torch.float32)
        gather_bias, spread_bias = (
            F.interpolate(bias.to(precise), size=size, mode="bilinear").flatten(2)
            for bias in (self.gather_bias, self.spread_bias)
        )
        gather = torch.softmax((means @ keys.transpose(2, 3)).to(precise) + gather_bias, dim=-1)
        spread = torch.softmax((queries @ means.transpose(2, 3)).to(precise) + spread_bias.transpose(1, 2), dim=-1)
        return gather, spread
