"""SRMDNF: a network whose input includes the degradation of the image (noise-free variant).

Zhang, Zuo, Zhang: "Learning a Single Convolutional Super-Resolution Network for Multiple Degradations", CVPR 2018. The
blur kernel, as 15 principal components, is concatenated to the colours as 15 constant maps. For bicubic reduction the
15 values are constants, stored with the weights.
"""

from collections.abc import Mapping
from itertools import chain, pairwise, repeat
from typing import Any

import torch
from torch import Tensor, nn

from models.registry import reader, register
from models.restore import restore


class SRMDNF(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped.

    Options: number of convolutions, their channels, number of values that describe the degradation. The values are the
    buffer `degradation`, zeros in a new network.
    """

    config: dict[str, Any]
    degradation: Tensor
    unrounded_lr = True  # its authors use unrounded LR

    def __init__(self, scale: int, layers: int, channels: int, degradation: int) -> None:
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale must be at least 1, not {scale}")
        if layers < 2:
            raise ValueError(f"layers must be at least 2, not {layers}")
        self.scale = scale
        options = {"layers": layers, "channels": channels, "degradation": degradation}
        self.config = {"name": "srmdnf", "scale": scale, **options}
        pairs = pairwise(chain([3 + degradation], repeat(channels, layers - 1), [3 * scale**2]))
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.register_buffer("degradation", torch.zeros(degradation))

    def forward(self, x: Tensor) -> Tensor:
        B, _, H, W = x.shape
        maps = self.degradation.to(x.dtype).view(1, -1, 1, 1).expand(B, -1, H, W)
        x = torch.cat([x, maps], dim=1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return nn.functional.pixel_shuffle(self.layers[-1](x), self.scale)


@register
def srmdnf(scale: int = 4, *, layers: int = 12, channels: int = 128, degradation: int = 15) -> SRMDNF:
    """SRMDNF (Zhang et al., CVPR 2018). Options as in `SRMDNF`."""
    return SRMDNF(scale, layers, channels, degradation)


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the authors' arrays with their degradation values."""
    return {"model.0.weight", "degradation_vector_delta15"} <= state.keys()


@reader("SRMDNF", recognises)
def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network from those arrays; scale, depth and width follow from their shapes."""
    numbers = sorted(int(key.split(".")[1]) for key in state if key.startswith("model.") and key.endswith(".weight"))
    names = {"degradation_vector_delta15": "degradation"}
    for index, number in enumerate(numbers):
        names |= {f"model.{number}.{part}": f"layers.{index}.{part}" for part in ("weight", "bias")}
    renamed = {names.get(key, key): tensor for key, tensor in state.items()}
    first, last = (state[f"model.{number}.weight"] for number in (numbers[0], numbers[-1]))
    return restore(
        renamed,
        name="srmdnf",
        scale=round((last.shape[0] / 3) ** 0.5),
        layers=len(numbers),
        channels=first.shape[0],
        degradation=first.shape[1] - 3,
    )
