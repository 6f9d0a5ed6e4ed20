"""SAN: residual groups whose channels are weighted by the covariance of their features, between non-local modules.

Dai, Cai, Zhang, Xia, Zhang: "Second-Order Attention Network for Single Image Super-Resolution", CVPR 2019. The
covariance Σ of the channels over all pixels is replaced by its square root, from five Newton-Schulz iterations
Y ← Y (3I - Z Y) / 2, Z ← (3I - Z Y) Z / 2; its columns' means are the statistic of a gate like RCAN's. A group is
x + convolution(gate · blocks(x)); the input of the body, times a learned γ that starts at 0, is added after each group.
As in the authors' code (github.com/daitao/SAN), one non-local module, with its weights, is used both before and after
the groups, on each quarter of the image separately, with keys and values from the maximum of 2x2 pixels; only the
middle 1000x1000 pixels enter the covariance; RGB values are from 0 to 255 inside.
Differences: parameters that the authors' code has and never uses (38,044 at full size), and the 24 of the shift of
colours, do not exist here. The covariance is computed from centred features, in memory of N instead of N², and autograd
derives it; where all features are constant, the gate sees 0 instead of a division by 0.
Time of the non-local module grows with N², N = H · W / 4. The statistic over all pixels and the quarters make the
output depend on the tile, if an image is upscaled in tiles.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.edsr import RGB_MEAN, ResidualBlock
from models.rcan import ChannelGate
from models.registry import reader, register
from models.restore import restore
from models.trunk import Trunk, at_least, count, renamed, scale_of, shifted

ITERATIONS = 5
LARGEST = 1000  # pixels of a side that enter the covariance
SMALLEST = 1e-12  # trace of a covariance
POOL = 2  # pixels of a side that give one key and value


def covariance_root(x: Tensor) -> Tensor:
    """(B, C, H, W) → approximate square root of the covariance of the channels over all pixels (B, C, C), in float32.

    The iteration converges for a matrix of norm below 1: it is divided by its trace first, and multiplied by the
    trace's root at the end.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(torch.promote_types(x.dtype, torch.float32)).flatten(2)
        x = x - x.mean(dim=2, keepdim=True)
        covariance = x @ x.transpose(1, 2) / x.shape[2]
        trace = covariance.diagonal(dim1=1, dim2=2).sum(dim=1).clamp_min(SMALLEST).view(-1, 1, 1)
        y = covariance / trace
        z = eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand_as(y)
        for _ in range(ITERATIONS):
            step = (3 * eye - z @ y) / 2
            y, z = y @ step, step @ z
        return y * trace.sqrt()


class Group(nn.Module):
    """x + convolution(gate · blocks(x)), all (B, channels, H, W)."""

    def __init__(self, blocks: int, channels: int, reduction: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(channels, 1.0) for _ in range(blocks)))
        self.gate = ChannelGate(channels, reduction)
        self.end = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.blocks(x)
        height, width = features.shape[-2:]
        top, left = max(0, (height - LARGEST) // 2), max(0, (width - LARGEST) // 2)
        statistic = covariance_root(features[..., top : top + LARGEST, left : left + LARGEST]).mean(dim=1)
        return x + self.end(features * self.gate(statistic[..., None, None].to(features.dtype)))


class NonLocal(nn.Module):
    """x + convolution(softmax(θ φᵀ) g) in each quarter of x (B, channels, H, W).

    θ, φ, g are 1x1 convolutions of x; of each 2x2 pixels, φ and g keep the largest value.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.output = nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(self.output.weight)  # starts as the identity, as in the authors' code
        assert self.output.bias is not None
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (list(filter(None, (side // 2, side - side // 2))) for side in x.shape[-2:])
        halves = [
            torch.cat([self._attend(part) for part in row.split(columns, dim=3)], dim=3) for row in x.split(rows, dim=2)
        ]
        return torch.cat(halves, dim=2)

    def _attend(self, x: Tensor) -> Tensor:
        window = [min(POOL, side) for side in x.shape[-2:]]
        maps = self.query(x), F.max_pool2d(self.key(x), window), F.max_pool2d(self.value(x), window)
        query, key, value = (part.flatten(2).transpose(1, 2)[:, None] for part in maps)  # (B, 1, N or N / 4, inner)
        out = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
        return x + self.output(out.transpose(1, 2).unflatten(2, x.shape[-2:]))


class SAN(Trunk):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped; scale is 1, 2, 3, 4 or 8.

    Options: groups, blocks of each, their channels; reduction: channels / inner ones of the gates; non_local: channels
    of the non-local module's inner products, None for an eighth of the channels; mean, value_range: see `models.trunk`.
    """

    def __init__(
        self,
        scale: int,
        groups: int,
        blocks: int,
        channels: int,
        reduction: int,
        non_local: int | None,
        mean: Sequence[float],
        value_range: float,
    ) -> None:
        super().__init__(scale, channels, mean, value_range)
        inner = max(1, channels // 8) if non_local is None else non_local
        at_least(0, groups=groups, blocks=blocks)
        at_least(1, non_local=inner)
        self.groups = nn.ModuleList(Group(blocks, channels, reduction) for _ in range(groups))
        self.non_local = NonLocal(channels, inner)
        self.gamma = nn.Parameter(torch.zeros(1))
        sizes = {"groups": groups, "blocks": blocks, "channels": channels, "reduction": reduction, "non_local": inner}
        self.config = {"name": "san", "scale": scale, **sizes, "mean": list(mean), "value_range": value_range}

    def body(self, x: Tensor) -> Tensor:
        x = shared = self.non_local(x)
        for group in self.groups:
            x = group(x) + self.gamma * shared
        return self.non_local(x)


@register
def san(
    scale: int = 4,
    *,
    groups: int = 20,
    blocks: int = 10,
    channels: int = 64,
    reduction: int = 16,
    non_local: int | None = None,
    mean: Sequence[float] = RGB_MEAN,
    value_range: float = 255.0,
) -> SAN:
    """SAN (Dai et al., CVPR 2019). Options as in `SAN`."""
    return SAN(scale, groups, blocks, channels, reduction, non_local, mean, value_range)


NAMES = {
    r"head\.0\.": "head.",
    r"RG\.(\d+)\.rcab\.(\d+)\.conv_first\.0\.": r"groups.\1.blocks.\2.first.",
    r"RG\.(\d+)\.rcab\.(\d+)\.conv_first\.2\.": r"groups.\1.blocks.\2.second.",
    r"RG\.(\d+)\.soca\.conv_du\.0\.": r"groups.\1.gate.squeeze.",
    r"RG\.(\d+)\.soca\.conv_du\.2\.": r"groups.\1.gate.excite.",
    r"RG\.(\d+)\.conv_last\.": r"groups.\1.end.",
    r"non_local\.non_local\.theta\.": "non_local.query.",
    r"non_local\.non_local\.phi\.0\.": "non_local.key.",
    r"non_local\.non_local\.g\.0\.": "non_local.value.",
    r"non_local\.non_local\.W\.": "non_local.output.",
    r"tail\.0\.": "upsampler.",
    r"tail\.1\.": "tail.",
}
UNUSED = r"RG\.\d+\.gamma|conv_last\.(weight|bias)|non_local\.soca\.conv_du\.[02]\.(weight|bias)"
"""Names of the authors' parameters that their network does not use."""


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of an authors' checkpoint."""
    return {"head.0.weight", "RG.0.soca.conv_du.0.weight", "non_local.non_local.g.0.weight"} <= state.keys()


@reader("SAN", recognises)
def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network in the authors' state dict; sizes and scale follow from names and shapes."""
    gate = state["RG.0.soca.conv_du.0.weight"]
    used = {key: tensor for key, tensor in state.items() if not re.fullmatch(UNUSED, key)}
    tensors, colours = shifted(renamed(used, NAMES))
    return restore(
        tensors,
        name="san",
        scale=scale_of(state, "tail.0."),
        groups=count(state, r"RG\.(\d+)\."),
        blocks=count(state, r"RG\.0\.rcab\.(\d+)\."),
        channels=gate.shape[1],
        reduction=gate.shape[1] // gate.shape[0],
        non_local=state["non_local.non_local.g.0.weight"].shape[0],
        **colours,
    )
