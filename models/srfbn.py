"""SRFBN: a recurrent network whose output features are fed back, with one image for each step.

Li, Yang, Liu, Yang, Jeon, Wu: "Feedback Network for Image Super-Resolution", CVPR 2019, arXiv 1903.09814. Each of the
steps, which share their weights, computes F_out = feedback(F_in, F_out of the step before) and an image
bilinear(x) + reconstruction(F_out). The feedback block alternates up- and down-projections, each of all features of its
resolution so far. Every image enters the loss, with equal weights (the paper's W_t = 1).

As in the authors' code (github.com/Paper99/SRFBN_CVPR19), RGB values are from 0 to 255 inside. Differences: the shift
of colours, which their code does not train, is no weight here (24 parameters fewer). The authors skip a batch whose
loss is three times the last one's; this suite does not. The number of steps cannot be read from weights: it is 4.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.edsr import RGB_MEAN
from models.registry import reader, register
from models.restore import restore
from models.trunk import at_least, count

RANGE = 255.0  # of RGB inside
SCALES = (2, 3, 4, 8)
STEPS = 4  # of the released weights


class Feedback(nn.Module):
    """Input features and those of the step before, both (B, channels, H, W) → features of this step, the same shape."""

    def __init__(self, scale: int, groups: int, channels: int) -> None:
        super().__init__()
        self.enter = _pointwise(2, channels)
        self.up = nn.ModuleList(_up(scale, channels) for _ in range(groups))
        self.down = nn.ModuleList(
            _activated(nn.Conv2d(channels, channels, scale + 4, stride=scale, padding=2)) for _ in range(groups)
        )
        # the first group has one input, which needs no compression
        self.join_low = nn.ModuleList(_pointwise(number, channels) for number in range(2, groups + 1))
        self.join_high = nn.ModuleList(_pointwise(number, channels) for number in range(2, groups + 1))
        self.leave = _pointwise(groups, channels)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        low, high = [self.enter(torch.cat([x, before], dim=1))], []
        for number, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            high.append(up(self.join_low[number - 1](torch.cat(low, dim=1)) if number else low[0]))
            low.append(down(self.join_high[number - 1](torch.cat(high, dim=1)) if number else high[0]))
        return self.leave(torch.cat(low[1:], dim=1))


class SRFBN(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped; scale is 2, 3, 4 or 8.

    Options: steps, groups (pairs of projections), channels. `outputs` has the images of all steps.
    """

    config: dict[str, Any]
    mean: Tensor

    def __init__(self, scale: int, steps: int, groups: int, channels: int) -> None:
        super().__init__()
        if scale not in SCALES:
            raise ValueError(f"scale must be 2, 3, 4 or 8, not {scale}")
        at_least(1, steps=steps, groups=groups, channels=channels)
        self.scale, self.steps = scale, steps
        self.config = {"name": "srfbn", "scale": scale, "steps": steps, "groups": groups, "channels": channels}
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Sequential(
            _activated(nn.Conv2d(3, 4 * channels, 3, padding=1)), _activated(nn.Conv2d(4 * channels, channels, 1))
        )
        self.feedback = Feedback(scale, groups, channels)
        self.up = _up(scale, channels)
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self._image(x, self._features(x)[-1])

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The images of all steps, each as from `forward`, which returns the last one."""
        return [self._image(x, features) for features in self._features(x)]

    def _features(self, x: Tensor) -> list[Tensor]:
        """(B, channels, H, W) of each step."""
        x = self.head((x - self.mean) * RANGE)
        features = [x]  # of the step before the first
        for _ in range(self.steps):
            features.append(self.feedback(x, features[-1]))
        return features[1:]

    def _image(self, x: Tensor, features: Tensor) -> Tensor:
        large = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return large + self.tail(self.up(features)) / RANGE


def _activated(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.PReLU(init=0.2))


def _pointwise(inputs: int, channels: int) -> nn.Sequential:
    return _activated(nn.Conv2d(inputs * channels, channels, 1))


def _up(scale: int, channels: int) -> nn.Sequential:
    return _activated(nn.ConvTranspose2d(channels, channels, scale + 4, stride=scale, padding=2))


@register
def srfbn(scale: int = 4, *, steps: int = 4, groups: int = 6, channels: int = 64) -> SRFBN:
    """SRFBN (Li et al., CVPR 2019). Options as in `SRFBN`; SRFBN-S has 3 groups of 32 channels."""
    return SRFBN(scale, steps, groups, channels)


NAMES = {
    "conv_in": "head.0",
    "feat_in": "head.1",
    "block.compress_in": "feedback.enter",
    "block.upBlocks": "feedback.up",
    "block.downBlocks": "feedback.down",
    "block.uptranBlocks": "feedback.join_low",
    "block.downtranBlocks": "feedback.join_high",
    "block.compress_out": "feedback.leave",
    "out": "up",
    "conv_out.0": "tail",
}
_OLD = rf"\A({'|'.join(map(re.escape, NAMES))})(?=\.)"


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of an authors' checkpoint."""
    return {"conv_in.0.weight", "block.compress_in.0.weight", "out.0.weight"} <= state.keys()


@reader("SRFBN", recognises)
def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network in the authors' state dict; sizes and scale follow from names and shapes."""
    state = dict(state)
    for key in ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias"):
        if key not in state:
            raise ValueError(f"this checkpoint lacks {key}")
        _check_mean(key, state.pop(key))
    tensors = {re.sub(_OLD, lambda match: NAMES[match[0]], key): tensor for key, tensor in state.items()}
    first, up = state["feat_in.0.weight"], state["out.0.weight"]
    sizes = {"groups": count(state, r"block\.upBlocks\.(\d+)\."), "channels": first.shape[0]}
    return restore(tensors, name="srfbn", scale=up.shape[-1] - 4, steps=STEPS, **sizes)


def _check_mean(key: str, tensor: Tensor) -> None:
    """The shift of colours is a constant here, so the one of the checkpoint must be equal to it."""
    if key.endswith("weight"):
        expected, unit = torch.eye(3).view(3, 3, 1, 1), 1.0
    else:
        expected, unit = torch.tensor(RGB_MEAN) * (-1 if key.startswith("sub_mean") else 1), RANGE
    if tensor.shape != expected.shape or not torch.allclose(tensor.float() / unit, expected, rtol=0, atol=1e-5):
        raise ValueError(f"{key} of this checkpoint is not the shift of colours for RGB in [0, 255]")
