"""LapSRN: levels that each double the image size and add predicted detail, on luma.

Lai, Huang, Ahuja, Yang: "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR 2017, arXiv
1704.03915. Cb and Cr are upscaled bicubically.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colour import to_rgb, to_ycbcr, upscale
from models.registry import reader, register
from models.restore import restore

SLOPE = 0.2  # of the leaky ReLU


class Level(nn.Module):
    """Features (B, channels, H, W) and luma (B, 1, H, W) → both at twice the size."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth))
        self.up = nn.ConvTranspose2d(channels, channels, 3, stride=2)
        self.detail = nn.Conv2d(channels, 1, 3, padding=1)
        self.enlarge = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
        taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
        with torch.no_grad():
            self.enlarge.weight.copy_(taps.outer(taps)[None, None])  # starts as bilinear upscaling

    def forward(self, features: Tensor, luma: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            features = F.leaky_relu(layer(features), SLOPE)
        # 3x3 with stride 2 gives 2H + 1 rows; the released network drops the last
        features = F.leaky_relu(self.up(features)[..., :-1, :-1], SLOPE)
        return features, self.enlarge(luma) + self.detail(features)


class LapSRN(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped; scale is 2, 4 or 8.

    Options: convolutions of a level, their channels.
    """

    config: dict[str, Any]
    luma_only = True  # evaluated through `luma`, without converting through 8-bit RGB
    luma_rounded = False

    def __init__(self, scale: int, depth: int, channels: int) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f"scale must be 2, 4 or 8, not {scale}")
        if depth < 0:
            raise ValueError(f"depth must not be negative, it is {depth}")
        self.scale = scale
        self.config = {"name": "lapsrn", "scale": scale, "depth": depth, "channels": channels}
        self.head = nn.Conv2d(1, channels, 3, padding=1)
        self.levels = nn.ModuleList(Level(depth, channels) for _ in range(scale.bit_length() - 1))

    def forward(self, x: Tensor) -> Tensor:
        x = to_ycbcr(x)
        return to_rgb(torch.cat([self.luma(x[:, :1]), upscale(x[:, 1:], self.scale)], dim=1))

    def luma(self, y: Tensor) -> Tensor:
        """(B, 1, H, W), Y of studio range divided by 255 → (B, 1, scale·H, scale·W)."""
        features = F.leaky_relu(self.head(y), SLOPE)
        for level in self.levels:
            features, y = level(features, y)
        return y


@register
def lapsrn(scale: int = 4, *, depth: int = 10, channels: int = 64) -> LapSRN:
    """LapSRN (Lai et al., CVPR 2017) on luma. Options as in `LapSRN`."""
    return LapSRN(scale, depth, channels)


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the authors' arrays in the layout of MatConvNet."""
    return {"input_conv_f", "input_conv_b", "level1_img_up_f", "level1_upconv_f"} <= state.keys()


@reader("LapSRN", recognises)
def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network from those arrays. Level 1 is the last to run; scale, depth and width follow from the names."""
    levels = sum(key.endswith("_img_up_f") for key in state)
    names = {"input_conv": "head"}
    for number in range(1, levels + 1):
        old, new = f"level{number}", f"levels.{levels - number}"
        names |= {
            f"{old}_upconv": f"{new}.up",
            f"{old}_residual_conv": f"{new}.detail",
            f"{old}_img_up": f"{new}.enlarge",
        }
        names |= {f"{old}_conv{i + 1}": f"{new}.layers.{i}" for i in range(len(state))}
    renamed = {}
    for key, tensor in state.items():
        name, kind = key.rsplit("_", 1)
        if name not in names or kind not in "fb":
            raise ValueError(f"{key} is not an array of a LapSRN")
        renamed[f"{names[name]}.{'weight' if kind == 'f' else 'bias'}"] = _from_matconvnet(key, tensor)
    channels = state["input_conv_b"].shape[0]
    depth = sum(key.startswith("level1_conv") and key.endswith("_f") for key in state)
    return restore(renamed, name="lapsrn", scale=2**levels, depth=depth, channels=channels)


def _from_matconvnet(key: str, tensor: Tensor) -> Tensor:
    """(height, width, in, out) → (out, in, height, width), or for upscaling layers (…, out, in) → (in, out, …).

    MATLAB drops trailing axes of size 1, and here also leading ones of the first and last layer.
    """
    tensor = tensor.float()
    if key.endswith("_b"):
        return tensor.reshape(-1)
    if key == "input_conv_f":
        tensor = tensor[:, :, None]
    while tensor.ndim < 4:
        tensor = tensor[..., None]
    return tensor.permute(3, 2, 0, 1).contiguous()
