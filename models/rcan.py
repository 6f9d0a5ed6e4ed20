"""RCAN: residual groups of residual blocks whose channels are weighted by attention.

Zhang, Li, Li, Wang, Zhong, Fu: "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018,
arXiv 1807.02758. A block is x + s · u with u = convolution(ReLU(convolution(x))) and the channel weights
s = sigmoid(W_U ReLU(W_D mean(u))), the mean over all pixels. A group is x + convolution(blocks(x)); the
body is a list of groups and a convolution.
As in the authors' code (github.com/yulunzhang/RCAN), RGB values are from 0 to 255 inside. Differences: the shift of
colours is constant (24 parameters fewer), and attention can be inserted before a group or after the last.
The mean over all pixels makes the output depend on the tile, if an image is upscaled in tiles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.edsr import RGB_MEAN
from models.registry import reader, register
from models.restore import restore
from models.slots import Slots
from models.trunk import Trunk, at_least, count, renamed, scale_of, shifted


class ChannelGate(nn.Module):
    """A statistic of each channel (B, channels, 1, 1) → weights in (0, 1) of the same shape."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        at_least(1, reduction=reduction)
        if channels < reduction:
            raise ValueError(f"reduction must be at most the {channels} channels, not {reduction}")
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1)
        self.excite = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, statistic: Tensor) -> Tensor:
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(statistic))))


class Block(nn.Module):
    """x + gate · convolution(ReLU(convolution(x))), all (B, channels, H, W)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = ChannelGate(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        u = self.second(torch.relu(self.first(x)))
        return x + u * self.gate(u.mean(dim=(2, 3), keepdim=True))


class Group(nn.Module):
    """x + convolution(blocks(x)), all (B, channels, H, W)."""

    def __init__(self, blocks: int, channels: int, reduction: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(channels, reduction) for _ in range(blocks)))
        self.end = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.end(self.blocks(x))


class RCAN(Trunk):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped; scale is 1, 2, 3, 4 or 8.

    Options:
        groups, blocks, channels, reduction: groups, blocks of each, their channels, channels / inner ones of the gates.
        attention, attention_options, slots, gated: as in `EDSR`, a slot being a number of groups; default: the start
            and the end.
        mean, value_range: see `models.trunk`.
    """

    def __init__(
        self,
        scale: int,
        groups: int,
        blocks: int,
        channels: int,
        reduction: int,
        attention: str | None,
        attention_options: dict[str, Any] | None,
        slots: Sequence[int] | None,
        gated: bool,
        mean: Sequence[float],
        value_range: float,
    ) -> None:
        super().__init__(scale, channels, mean, value_range)
        at_least(0, groups=groups, blocks=blocks)
        self.groups = nn.ModuleList(Group(blocks, channels, reduction) for _ in range(groups))
        self.attention = Slots(attention, attention_options, slots, groups, channels, gated)
        self.body_end = nn.Conv2d(channels, channels, 3, padding=1)
        sizes = {"groups": groups, "blocks": blocks, "channels": channels, "reduction": reduction}
        colours = {"mean": list(mean), "value_range": value_range}
        self.config = {"name": "rcan", "scale": scale, **sizes, **self.attention.config, **colours}

    def body(self, x: Tensor) -> Tensor:
        for number, group in enumerate(self.groups):
            x = group(self.attention(number, x))
        return self.body_end(self.attention(len(self.groups), x))


@register
def rcan(
    scale: int = 4,
    *,
    groups: int = 10,
    blocks: int = 20,
    channels: int = 64,
    reduction: int = 16,
    attention: str | None = None,
    attention_options: dict[str, Any] | None = None,
    slots: Sequence[int] | None = None,
    gated: bool = False,
    mean: Sequence[float] = RGB_MEAN,
    value_range: float = 255.0,
) -> RCAN:
    """RCAN (Zhang et al., ECCV 2018). Options as in `RCAN`."""
    inserted = (attention, attention_options, slots, gated)
    return RCAN(scale, groups, blocks, channels, reduction, *inserted, mean, value_range)


NAMES = {
    r"head\.0\.": "head.",
    r"body\.(\d+)\.body\.(\d+)\.body\.0\.": r"groups.\1.blocks.\2.first.",
    r"body\.(\d+)\.body\.(\d+)\.body\.2\.": r"groups.\1.blocks.\2.second.",
    r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.0\.": r"groups.\1.blocks.\2.gate.squeeze.",
    r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.2\.": r"groups.\1.blocks.\2.gate.excite.",
    r"body\.(\d+)\.body\.\d+\.(?=weight|bias)": r"groups.\1.end.",
    r"body\.\d+\.(?=weight|bias)": "body_end.",
    r"tail\.0\.": "upsampler.",
    r"tail\.1\.": "tail.",
}


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of an authors' checkpoint."""
    return {"head.0.weight", "body.0.body.0.body.3.conv_du.0.weight", "tail.1.weight"} <= state.keys()


@reader("RCAN", recognises)
def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network in the authors' state dict; sizes and scale follow from names and shapes."""
    gate = state["body.0.body.0.body.3.conv_du.0.weight"]
    sizes = {
        "scale": scale_of(state, "tail.0."),
        "groups": count(state, r"body\.(\d+)\.body\."),
        "blocks": count(state, r"body\.0\.body\.(\d+)\.body\."),
        "channels": gate.shape[1],
        "reduction": gate.shape[1] // gate.shape[0],
    }
    tensors, colours = shifted(renamed(state, NAMES))
    return restore(tensors, name="rcan", **sizes, **colours)
