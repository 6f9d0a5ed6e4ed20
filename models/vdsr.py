"""VDSR: twenty 3x3 convolutions that add detail to a bicubically upscaled image, on luma.

Kim, Lee, Lee: "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016. One network serves
all scales. Cb and Cr are upscaled bicubically.
"""

from collections.abc import Mapping
from itertools import chain, pairwise, repeat
from typing import Any

import torch
from torch import Tensor, nn

from models.colour import to_rgb, to_ycbcr, upscale
from models.registry import reader, register
from models.restore import restore

INNER = 18  # layers between the first and the last, in the public retraining


class VDSR(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped.

    Options: number of layers, their channels, and whether they have a bias (the authors' have, the retraining has not).
    """

    config: dict[str, Any]
    luma_only = True  # evaluated through `luma`, without converting through 8-bit RGB
    luma_rounded = True  # its authors' Y, MATLAB's rgb2ycbcr of 8 bits, is a whole number of 255ths

    def __init__(self, scale: int, layers: int, channels: int, bias: bool = False) -> None:
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale must be at least 1, not {scale}")
        if layers < 2:
            raise ValueError(f"layers must be at least 2, not {layers}")
        self.scale = scale
        self.config = {"name": "vdsr", "scale": scale, "layers": layers, "channels": channels}
        self.config |= {"bias": True} if bias else {}
        pairs = pairwise(chain([1], repeat(channels, layers - 1), [1]))
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=bias) for a, b in pairs)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = to_ycbcr(x)
        return to_rgb(torch.cat([self.luma(x[:, :1]), upscale(x[:, 1:], self.scale)], dim=1))

    def luma(self, y: Tensor) -> Tensor:
        """(B, 1, H, W), Y of studio range divided by 255 → (B, 1, scale·H, scale·W)."""
        y = upscale(y, self.scale)
        detail = y
        for layer in self.layers[:-1]:
            detail = torch.relu(layer(detail))
        return y + self.layers[-1](detail)


@register
def vdsr(scale: int = 4, *, layers: int = 20, channels: int = 64, bias: bool = False) -> VDSR:
    """VDSR (Kim et al., CVPR 2016) on luma. Options as in `VDSR`."""
    return VDSR(scale, layers, channels, bias)


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are arrays of the authors' MATLAB file (model.weight.N, model.bias.N) or of the public PyTorch
    retraining (input, residual_layer.N.conv, output).
    """
    return _of_authors(state) or {"input.weight", "residual_layer.0.conv.weight", "output.weight"} <= state.keys()


@reader("VDSR", recognises, any_scale=True)
def load(state: Mapping[str, Tensor], scale: int) -> nn.Module:
    """The network from those arrays. One set of weights serves all scales, so `scale` must be given."""
    if _of_authors(state):
        return _from_matlab(state, scale)
    middle = sum(key.startswith("residual_layer.") for key in state)
    if middle != INNER:
        raise ValueError(
            f"the weights do not fit VDSR: its public retraining has {INNER} inner layers, these have {middle}"
        )
    order = ["input.weight", *(f"residual_layer.{i}.conv.weight" for i in range(middle)), "output.weight"]
    names = {old: f"layers.{i}.weight" for i, old in enumerate(order)}
    renamed = {names.get(key, key): tensor for key, tensor in state.items()}
    channels = state["input.weight"].shape[0]
    return restore(renamed, name="vdsr", scale=scale, layers=len(order), channels=channels)


def _of_authors(state: Mapping[str, Tensor]) -> bool:
    return {"model.weight.0", "model.bias.0"} <= state.keys()


def _from_matlab(state: Mapping[str, Tensor], scale: int) -> nn.Module:
    """Weights are (height, width, in, out), and MATLAB drops trailing axes of size 1."""
    renamed = {}
    for key, tensor in state.items():
        _, kind, number = key.split(".")
        if kind == "weight":
            while tensor.ndim < 4:
                tensor = tensor[..., None]
            tensor = tensor.permute(3, 2, 0, 1).contiguous()
        renamed[f"layers.{number}.{kind}"] = tensor.flatten() if kind == "bias" else tensor
    layers = sum(key.startswith("model.weight.") for key in state)
    channels = renamed["layers.0.weight"].shape[0]
    return restore(renamed, name="vdsr", scale=scale, layers=layers, channels=channels, bias=True)
