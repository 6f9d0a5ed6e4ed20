"""OISR-RK3: EDSR with residual blocks that are one step of a third-order Runge-Kutta method.

He, Mo, Wang, Liu, Yang, Cheng: "ODE-inspired Network Design for Single Image Super-Resolution", CVPR 2019. With
f(x) = convolution(PReLU(x)), a block is, as Kutta's method for the step h = 1,

    k1 = f1(x)    k2 = f2(x + a k1)    k3 = f3(x + b k2 + c k1)    y = x + e (k1 + d k2 + k3)

with a, b, c, d, e = 1/2, 2, −1, 4, 1/6 at first, which are trained.
As in the authors' code (github.com/HolmesShuan/OISR-PyTorch, folder RK3), RGB values are from 0 to 255 inside.
Difference: the shift of colours is constant (24 parameters fewer); see `models.trunk` for what is done with a trained
one. Their smaller networks (LF, RK2) are not included.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.edsr import RGB_MEAN
from models.registry import reader, register
from models.restore import restore
from models.trunk import Trunk, at_least, count, renamed, scale_of, shifted

KUTTA = (1 / 2, 2.0, -1.0, 4.0, 1 / 6)


class RungeKutta(nn.Module):
    """One step, (B, channels, H, W) → the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.activations = nn.ModuleList(nn.PReLU(channels) for _ in range(3))
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
        self.coefficients = nn.ParameterList(nn.Parameter(torch.full((1,), value)) for value in KUTTA)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c, d, e = self.coefficients
        k1 = self.slope(0, x)
        k2 = self.slope(1, x + a * k1)
        k3 = self.slope(2, x + b * k2 + c * k1)
        return x + e * (k1 + d * k2 + k3)

    def slope(self, number: int, x: Tensor) -> Tensor:
        """The function f of one of the three evaluations."""
        slope: Tensor = self.convolutions[number](self.activations[number](x))
        return slope


class OISR(Trunk):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped; scale is 1, 2, 3, 4 or 8.

    Options: blocks, channels; mean and value_range: see `models.trunk`.
    """

    def __init__(self, scale: int, blocks: int, channels: int, mean: Sequence[float], value_range: float) -> None:
        super().__init__(scale, channels, mean, value_range)
        at_least(0, blocks=blocks)
        self.blocks = nn.Sequential(*(RungeKutta(channels) for _ in range(blocks)))
        self.body_end = nn.Conv2d(channels, channels, 3, padding=1)
        options = {"blocks": blocks, "channels": channels, "mean": list(mean), "value_range": value_range}
        self.config = {"name": "oisr", "scale": scale, **options}

    def body(self, x: Tensor) -> Tensor:
        features: Tensor = self.body_end(self.blocks(x))
        return features


@register
def oisr(
    scale: int = 4,
    *,
    blocks: int = 22,
    channels: int = 256,
    mean: Sequence[float] = RGB_MEAN,
    value_range: float = 255.0,
) -> OISR:
    """OISR-RK3 (He et al., CVPR 2019). Options as in `OISR`."""
    return OISR(scale, blocks, channels, mean, value_range)


NAMES = {
    r"head\.0\.": "head.",
    r"body\.(\d+)\.conv1\.": r"blocks.\1.convolutions.0.",
    r"body\.(\d+)\.conv2\.": r"blocks.\1.convolutions.1.",
    r"body\.(\d+)\.conv3\.": r"blocks.\1.convolutions.2.",
    r"body\.(\d+)\.relu1\.": r"blocks.\1.activations.0.",
    r"body\.(\d+)\.relu2\.": r"blocks.\1.activations.1.",
    r"body\.(\d+)\.relu3\.": r"blocks.\1.activations.2.",
    **{rf"body\.(\d+)\.scale{i + 1}\Z": rf"blocks.\1.coefficients.{i}" for i in range(len(KUTTA))},
    r"body\.\d+\.(?=weight|bias)": "body_end.",
    r"tail\.0\.": "upsampler.",
    r"tail\.1\.": "tail.",
}


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of an authors' checkpoint."""
    return {"head.0.weight", "body.0.conv3.weight", "body.0.scale5", "tail.1.weight"} <= state.keys()


@reader("OISR", recognises)
def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network in the authors' state dict; sizes and scale follow from names and shapes."""
    sizes = {
        "scale": scale_of(state, "tail.0."),
        "blocks": count(state, r"body\.(\d+)\.conv1\."),
        "channels": state["head.0.weight"].shape[0],
    }
    tensors, colours = shifted(renamed(state, NAMES))
    return restore(tensors, name="oisr", **sizes, **colours)
