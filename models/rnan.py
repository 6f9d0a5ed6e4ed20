"""RNAN: blocks of a trunk and a mask branch, in the first and last of which the mask sees all positions.

Zhang, Li, Li, Zhong, Fu: "Residual Non-local Attention Networks for Image Restoration", ICLR 2019, arXiv 1903.10082.
With x' = residual block(x), a block is convolution(residual blocks(x' + trunk(x') · mask(x'))). The mask halves the
size of the features and doubles it again; sigmoid makes it a weight for each channel and position.
As in the authors' code (github.com/yulunzhang/RNAN, folder SR), and unlike the paper's formula, the weights of the
non-local module are normalised over the queries, not over the keys. RGB values are from 0 to 255 inside.
Differences: images of odd height or width, which the authors' code refuses, are computed, since the mask is cut to the
size of the features; the shift of colours is constant (24 parameters fewer).
Time of the non-local modules grows with N², N = H · W. Memory does too in training; else keys are processed in parts.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.edsr import RGB_MEAN, ResidualBlock
from models.registry import reader, register
from models.restore import restore
from models.trunk import Trunk, at_least, count, renamed, scale_of, shifted

_WEIGHTS = 1 << 25
"""Most weights of queries and keys at a time, for one image."""


class NonLocal(nn.Module):
    """x + convolution(Σ_j softmax_i(θ_i · φ_j) g_j), all (B, channels, H, W); θ, φ, g are 1x1 convolutions of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, channels // 2, 1) for _ in range(3))
        self.output = nn.Conv2d(channels // 2, channels, 1)
        nn.init.zeros_(self.output.weight)  # starts as the identity, as in the authors' code
        _zero_bias(self.output)

    def forward(self, x: Tensor) -> Tensor:
        B, _, H, W = x.shape
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        part = max(1, _WEIGHTS // (H * W))  # a key's weights do not depend on other keys
        parts = zip(key.split(part, dim=1), value.split(part, dim=1), strict=True)
        total = torch.zeros_like(query)
        # ONNX has no number of parts that depends on the size
        for keys, values in [(key, value)] if torch.onnx.is_in_onnx_export() else parts:
            weights = torch.softmax(query @ keys.transpose(1, 2), dim=1)  # (B, N, part)
            total = total + weights @ values
        return x + self.output(total.transpose(1, 2).reshape(B, -1, H, W))


class Mask(nn.Module):
    """(B, channels, H, W) → weights in (0, 1) of the same shape."""

    def __init__(self, channels: int, non_local: bool) -> None:
        super().__init__()
        self.non_local = NonLocal(channels) if non_local else nn.Identity()
        self.before, self.after = ResidualBlock(channels, 1.0), ResidualBlock(channels, 1.0)
        self.down = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.inner = nn.Sequential(*(ResidualBlock(channels, 1.0) for _ in range(2)))
        self.up = nn.ConvTranspose2d(channels, channels, 6, stride=2, padding=2)
        self.end = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(self.non_local(x))
        up = self.up(self.inner(self.down(x)))[..., : x.shape[-2], : x.shape[-1]]
        return torch.sigmoid(self.end(self.after(x + up)))


class AttentionBlock(nn.Module):
    """(B, channels, H, W) → the same shape."""

    def __init__(self, channels: int, non_local: bool) -> None:
        super().__init__()
        self.before = ResidualBlock(channels, 1.0)
        self.trunk, self.after = (nn.Sequential(*(ResidualBlock(channels, 1.0) for _ in range(2))) for _ in range(2))
        self.mask = Mask(channels, non_local)
        self.end = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        return self.end(self.after(x + self.trunk(x) * self.mask(x)))


class RNAN(Trunk):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped; scale is 1, 2, 3, 4 or 8.

    Options: number of attention blocks, the first and the last of them non-local, and their channels;
    mean, value_range: see `models.trunk`.
    """

    def __init__(self, scale: int, blocks: int, channels: int, mean: Sequence[float], value_range: float) -> None:
        super().__init__(scale, channels, mean, value_range)
        at_least(2, blocks=blocks, channels=channels)
        self.blocks = nn.ModuleList(AttentionBlock(channels, number in (0, blocks - 1)) for number in range(blocks))
        self.middle = nn.Conv2d(channels, channels, 3, padding=1)
        colours = {"mean": list(mean), "value_range": value_range}
        self.config = {"name": "rnan", "scale": scale, "blocks": blocks, "channels": channels, **colours}

    def body(self, x: Tensor) -> Tensor:
        for block in self.blocks[:-1]:
            x = block(x)
        return self.blocks[-1](self.middle(x))


@register
def rnan(
    scale: int = 4,
    *,
    blocks: int = 10,
    channels: int = 64,
    mean: Sequence[float] = RGB_MEAN,
    value_range: float = 255.0,
) -> RNAN:
    """RNAN (Zhang et al., ICLR 2019). Options as in `RNAN`."""
    return RNAN(scale, blocks, channels, mean, value_range)


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of an authors' checkpoint for super-resolution."""
    return {"head.0.weight", "body_nl_low.0.body.0.RA_RB1.0.body.0.weight", "tail.1.weight"} <= state.keys()


@reader("RNAN", recognises)
def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network in the authors' state dict; sizes and scale follow from names and shapes."""
    blocks = 2 + count(state, r"body\.(\d+)\.body\.")
    tensors, colours = shifted(renamed(renamed(state, _outer(blocks)), INNER))
    return restore(
        tensors,
        name="rnan",
        scale=scale_of(state, "tail.0."),
        blocks=blocks,
        channels=state["head.0.weight"].shape[0],
        **colours,
    )


def _outer(blocks: int) -> dict[str, str]:
    """Names outside of the blocks; `body` has the blocks between the first and the last, numbered from 0."""
    middle = {rf"body\.{number}\.body\.": f"blocks.{number + 1}." for number in range(blocks - 2)}
    return {
        r"head\.0\.": "head.",
        r"body_nl_low\.0\.body\.": "blocks.0.",
        **middle,
        r"body\.\d+\.(?=weight|bias)": "middle.",
        r"body_nl_high\.0\.body\.": f"blocks.{blocks - 1}.",
        r"tail\.0\.": "upsampler.",
        r"tail\.1\.": "tail.",
    }


_PARTS = {
    "0.RA_RB1.0": "before",
    "0.RA_TB.0.body.0": "trunk.0",
    "0.RA_TB.0.body.1": "trunk.1",
    "0.RA_tail.0": "after.0",
    "0.RA_tail.1": "after.1",
    "0.RA_MB.0.MB_RB1.0": "mask.before",
    "0.RA_MB.0.MB_RB1.1": "mask.before",  # after the non-local module
    "0.RA_MB.0.MB_RB2.0": "mask.inner.0",
    "0.RA_MB.0.MB_RB2.1": "mask.inner.1",
    "0.RA_MB.0.MB_RB3.0": "mask.after",
}
_CONVOLUTIONS = {
    "0.RA_MB.0.MB_Down.0": "mask.down",
    "0.RA_MB.0.MB_Up.0": "mask.up",
    "0.RA_MB.0.MB_1x1conv.0": "mask.end",
    "0.RA_MB.0.MB_RB1.0.theta": "mask.non_local.query",
    "0.RA_MB.0.MB_RB1.0.phi": "mask.non_local.key",
    "0.RA_MB.0.MB_RB1.0.g": "mask.non_local.value",
    "0.RA_MB.0.MB_RB1.0.W": "mask.non_local.output",
    "1": "end",
}
_LAYERS = {
    f"{old}.body.{number}": f"{new}.{name}"
    for old, new in _PARTS.items()
    for number, name in ((0, "first"), (2, "second"))
}
INNER = {
    rf"blocks\.(\d+)\.{old.replace('.', '[.]')}\.(?=weight|bias)": rf"blocks.\1.{new}."
    for old, new in (_LAYERS | _CONVOLUTIONS).items()
}


def _zero_bias(convolution: nn.Conv2d) -> None:
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
