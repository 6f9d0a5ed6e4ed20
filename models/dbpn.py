"""DBPN: features projected up and down in turn, each projection corrected by the error of projecting back.

Haris, Shakhnarovich, Ukita: "Deep Back-Projection Networks for Super-Resolution", CVPR 2018, arXiv 1803.02735. With l
the LR features, an up-projection is h0 + deconvolution(convolution(h0) - l), h0 = deconvolution(l); a down-projection
is the same with convolution and deconvolution exchanged. In D-DBPN, the network of the tables, each unit sees the
outputs of all units of the other kind before it, through a 1x1 convolution, and the image is made from all HR features
at once. `stages` is the number of up-projections: 7 is D-DBPN, 2 and 10 are `dbpns.py` and
`dbpn_v1.py` (DBPNLL) of the authors' code, github.com/alterzero/DBPN-Pytorch.
As there, RGB values are from 0 to 1 and no mean is subtracted; a PReLU has one slope for all channels; the first two
up-projections and the first down-projection have no 1x1 convolution. Weights that were trained with `residual`, where
the image upscaled by bicubic is added outside of the network, have the same names and give only the difference here.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.registry import reader, register
from models.restore import restore
from models.trunk import at_least, count, renamed

KERNELS = {2: 6, 4: 8, 8: 12}
"""Side of the kernels by scale; the stride is the scale, the padding 2."""


def _layer(convolution: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, nn.PReLU())


class Projection(nn.Module):
    """Outputs of `inputs` units, (B, inputs·channels, H, W) together → (B, channels, …) of the other size."""

    def __init__(self, scale: int, channels: int, inputs: int, up: bool) -> None:
        super().__init__()
        there, back = (nn.ConvTranspose2d, nn.Conv2d) if up else (nn.Conv2d, nn.ConvTranspose2d)

        def layer(kind: type[nn.Conv2d | nn.ConvTranspose2d]) -> nn.Sequential:
            return _layer(kind(channels, channels, KERNELS[scale], stride=scale, padding=2))

        self.squeeze = _layer(nn.Conv2d(inputs * channels, channels, 1)) if inputs > 1 else nn.Identity()
        self.first, self.back, self.second = layer(there), layer(back), layer(there)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        first = self.first(x)
        return first + self.second(self.back(first) - x)


class DBPN(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped; scale is 2, 4 or 8.

    Options: up-projections (at least 2), channels of the first convolution, channels of all other features.
    """

    config: dict[str, Any]

    def __init__(self, scale: int, stages: int, features: int, channels: int) -> None:
        super().__init__()
        if scale not in KERNELS:
            raise ValueError(f"scale must be 2, 4 or 8, not {scale}")
        at_least(2, stages=stages)
        at_least(1, features=features, channels=channels)
        self.scale = scale
        self.config = {"name": "dbpn", "scale": scale, "stages": stages, "features": features, "channels": channels}
        self.head = nn.Sequential(
            *_layer(nn.Conv2d(3, features, 3, padding=1)), *_layer(nn.Conv2d(features, channels, 1))
        )
        # the second up-projection sees the first down-projection only
        self.up = nn.ModuleList(Projection(scale, channels, max(1, number), True) for number in range(stages))
        self.down = nn.ModuleList(Projection(scale, channels, number + 1, False) for number in range(stages - 1))
        self.tail = nn.Conv2d(stages * channels, 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        high = self.up[0](self.head(x))  # the newest first, as in the authors' code
        low: list[Tensor] = []
        for up, down in zip(self.up[1:], self.down, strict=True):
            low.insert(0, down(high))
            high = torch.cat([up(torch.cat(low, dim=1)), high], dim=1)
        return self.tail(high)


@register
def dbpn(scale: int = 4, *, stages: int = 7, features: int = 256, channels: int = 64) -> DBPN:
    """D-DBPN (Haris et al., CVPR 2018). Options as in `DBPN`."""
    return DBPN(scale, stages, features, channels)


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of an authors' checkpoint."""
    return {"feat0.conv.weight", "up1.up_conv1.deconv.weight", "output_conv.conv.weight"} <= state.keys()


@reader("DBPN", recognises)
def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network in the authors' state dict; sizes and scale follow from names and shapes."""
    stages = count(state, r"up(\d+)\.")
    names = {
        r"feat0\.conv\.": "head.0.",
        r"feat0\.act\.": "head.1.",
        r"feat1\.conv\.": "head.2.",
        r"feat1\.act\.": "head.3.",
    }
    names[r"output_conv\.conv\."] = "tail."
    for number in range(stages):
        for kind in ("up", "down"):
            for old, new in (
                ("conv", "squeeze"),
                (f"{kind}_conv1", "first"),
                (f"{kind}_conv2", "back"),
                (f"{kind}_conv3", "second"),
            ):
                unit = rf"{kind}{number + 1}\.{old}\."
                names |= {
                    unit + r"(?:de)?conv\.": f"{kind}.{number}.{new}.0.",
                    unit + r"act\.": f"{kind}.{number}.{new}.1.",
                }
    side = state["up1.up_conv1.deconv.weight"].shape[-1]
    return restore(
        renamed(state, names),
        name="dbpn",
        scale=next((scale for scale, kernel in KERNELS.items() if kernel == side), 0),
        stages=stages,
        features=state["feat0.conv.weight"].shape[0],
        channels=state["feat1.conv.weight"].shape[0],
    )
