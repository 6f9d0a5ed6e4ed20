"""EDSR, the backbone with slots for attention (Lim et al., "Enhanced Deep Residual Networks for Single Image
Super-Resolution", CVPRW 2017), and the networks that are configurations of it: ENLCN and NLSN.

A slot lies before a residual block, or after the last: slot 8 means "after eight blocks".
"""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.initialisation import start_as_interpolation
from models.registry import register
from models.slots import Slots

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, as in the released code of EDSR and its descendants
INITIALISATIONS = ("pytorch", "interpolation")
MAX_BLOCKS = 10_000


class ResidualBlock(nn.Module):
    """x + residual_scale · convolution(ReLU(convolution(x))), all (B, channels, H, W)."""

    def __init__(self, channels: int, residual_scale: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.residual_scale = residual_scale

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.second(torch.relu(self.first(x))), alpha=self.residual_scale)


class EDSR(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped.

    Options:
        blocks, channels, residual_scale: of the residual blocks (paper: 32, 256, 0.1).
        attention: name of a mechanism (see `models.attention`), or None for plain EDSR.
        attention_options: its options; it has `channels` channels.
        slots: numbers of residual blocks before each attention; None: at the start and after every eighth block.
        initialisation: "pytorch", or "interpolation": see `models.initialisation`.
        gated: a learned gate scales what each attention changes: see `models.warm_start`.
    """

    config: dict[str, Any]
    mean: Tensor

    def __init__(
        self,
        scale: int = 4,
        *,
        blocks: int = 32,
        channels: int = 256,
        residual_scale: float = 0.1,
        attention: str | None = None,
        attention_options: dict[str, Any] | None = None,
        slots: Sequence[int] | None = None,
        initialisation: str = "pytorch",
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.scale = scale
        if not isinstance(blocks, int) or not 0 <= blocks <= MAX_BLOCKS:
            raise ValueError(f"blocks must be from 0 to {MAX_BLOCKS}, not {blocks!r}")
        if isinstance(residual_scale, bool | str) or not math.isfinite(residual_scale):
            raise ValueError(f"residual_scale must be a number, not {residual_scale!r}")
        chosen = default_slots(blocks) if slots is None else tuple(slots)
        _check(scale, blocks, channels, chosen, initialisation)
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(channels, residual_scale) for _ in range(blocks))
        self.attention = Slots(attention, attention_options, chosen, blocks, channels, gated)
        self.body_end = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsampler = _upsampler(scale, channels)
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)
        if initialisation == "interpolation":
            start_as_interpolation(self.head, self.body_end, self.upsampler, self.tail)
        self.config = {
            "name": "edsr",
            "scale": scale,
            "blocks": blocks,
            "channels": channels,
            "residual_scale": residual_scale,
            **self.attention.config,
            "initialisation": initialisation,
        }

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x - self.mean)
        body = x
        for number, block in enumerate(self.blocks):
            body = block(self.attention(number, body))
        body = self.body_end(self.attention(len(self.blocks), body))
        return self.tail(self.upsampler(x + body)) + self.mean


def default_slots(blocks: int) -> tuple[int, ...]:
    """The start and after every eighth block, as in the paper: 0, 8, 16, 24, 32 for 32 blocks."""
    return tuple(range(0, blocks + 1, 8))


def _upsampler(scale: int, channels: int) -> nn.Sequential:
    stages: list[nn.Module] = []
    for factor in [3] if scale == 3 else [2] * (scale.bit_length() - 1):
        stages += [nn.Conv2d(channels, channels * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
    return nn.Sequential(*stages)


def _check(scale: int, blocks: int, channels: int, slots: tuple[int, ...], initialisation: str) -> None:
    if scale not in (1, 2, 3, 4, 8):
        raise ValueError(f"scale must be 1, 2, 3, 4 or 8, not {scale}")
    if channels < 3:
        raise ValueError(f"channels must be at least 3, not {channels}")
    if len(set(slots)) < len(slots) or any(not 0 <= slot <= blocks for slot in slots):
        raise ValueError(f"slots must be different numbers of blocks from 0 to {blocks}, not {list(slots)}")
    if initialisation not in INITIALISATIONS:
        raise ValueError(f"initialisation must be one of {', '.join(INITIALISATIONS)}, not {initialisation!r}")


def _configuration(network: Callable[..., EDSR]) -> Callable[..., EDSR]:
    """Decorator: `**options` of the function are the options of `EDSR`, in its signature too; it names the network."""
    signature, changed = inspect.signature(EDSR), inspect.signature(network).parameters
    parameters = [changed.get(name, parameter) for name, parameter in signature.parameters.items()]

    @functools.wraps(network)
    def create(*args: Any, **options: Any) -> EDSR:
        model = network(*args, **options)
        model.config["name"] = network.__name__
        return model

    create.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return create


@register
@_configuration
def edsr(scale: int = 4, *, attention: str | None = None, **options: Any) -> EDSR:
    """EDSR without attention: the baseline. Options as in `EDSR`."""
    return EDSR(scale, attention=attention, **options)


@register
@_configuration
def enlcn(scale: int = 4, *, attention: str | None = "enlca", **options: Any) -> EDSR:
    """ENLCN (arXiv 2201.03794): EDSR with ENLCA before the first and after every eighth block. Options as in `EDSR`."""
    return EDSR(scale, attention=attention, **options)


@register
@_configuration
def nlsn(scale: int = 4, *, attention: str | None = "nlsa", **options: Any) -> EDSR:
    """NLSN (Mei et al., CVPR 2021): EDSR with non-local sparse attention in the same slots. Options as in `EDSR`."""
    return EDSR(scale, attention=attention, **options)
