"""RDN: residual blocks of densely connected convolutions, whose outputs are all fused at the end.

Zhang, Tian, Kong, Zhong, Fu: "Residual Dense Network for Image Super-Resolution", CVPR 2018, arXiv 1802.08797. In a
block, layer c is ReLU(convolution([x, layer 1, …, layer c - 1])); the block is x + fusion([x, layer 1, …]), a 1x1
convolution. A 1x1 and a 3x3 convolution fuse the outputs of all blocks.
As in the authors' code (github.com/yulunzhang/RDN, Torch7), RGB values are from 0 to 255 inside and the mean of DIV2K
is subtracted. Their `.t7` files cannot be read here. Read are the layouts of two ports to PyTorch, neither of which
subtracts a mean: yjn870/RDN-pytorch (`rdbs`), with RGB from 0 to 1, and `rdn.py` of EDSR-PyTorch (`RDBs`), with RGB
from 0 to 255, its default. Difference: attention can be inserted before a block or after the last.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.edsr import RGB_MEAN
from models.registry import reader, register
from models.restore import restore
from models.slots import Slots
from models.trunk import Trunk, at_least, count, renamed, scale_of


class DenseBlock(nn.Module):
    """x + fusion of x and of the outputs of all convolutions, all (B, channels, H, W)."""

    def __init__(self, layers: int, channels: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels + layer * growth, growth, 3, padding=1) for layer in range(layers)
        )
        self.fusion = nn.Conv2d(channels + layers * growth, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        dense = x
        for layer in self.layers:
            dense = torch.cat([dense, torch.relu(layer(dense))], dim=1)
        return x + self.fusion(dense)


class RDN(Trunk):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped; scale is 1, 2, 3, 4 or 8.

    Options:
        blocks, layers, channels, growth: blocks (D in the paper), convolutions of each (C), channels between blocks
            (G0) and of each convolution (G).
        attention, attention_options, slots, gated: as in `EDSR`, a slot being a number of blocks; default: the start
            and the end, where the fused features are the input.
        mean, value_range: see `models.trunk`.
    """

    def __init__(
        self,
        scale: int,
        blocks: int,
        layers: int,
        channels: int,
        growth: int,
        attention: str | None,
        attention_options: dict[str, Any] | None,
        slots: Sequence[int] | None,
        gated: bool,
        mean: Sequence[float],
        value_range: float,
    ) -> None:
        super().__init__(scale, channels, mean, value_range)
        at_least(1, blocks=blocks, growth=growth)
        at_least(0, layers=layers)
        self.body_start = nn.Conv2d(channels, channels, 3, padding=1)
        self.blocks = nn.ModuleList(DenseBlock(layers, channels, growth) for _ in range(blocks))
        self.attention = Slots(attention, attention_options, slots, blocks, channels, gated)
        self.fusion = nn.Conv2d(blocks * channels, channels, 1)
        self.body_end = nn.Conv2d(channels, channels, 3, padding=1)
        sizes = {"blocks": blocks, "layers": layers, "channels": channels, "growth": growth}
        colours = {"mean": list(mean), "value_range": value_range}
        self.config = {"name": "rdn", "scale": scale, **sizes, **self.attention.config, **colours}

    def body(self, x: Tensor) -> Tensor:
        x = self.body_start(x)
        outputs = []
        for number, block in enumerate(self.blocks):
            x = block(self.attention(number, x))
            outputs.append(x)
        x = self.fusion(torch.cat(outputs, dim=1))
        return self.body_end(self.attention(len(self.blocks), x))


@register
def rdn(
    scale: int = 4,
    *,
    blocks: int = 16,
    layers: int = 8,
    channels: int = 64,
    growth: int = 64,
    attention: str | None = None,
    attention_options: dict[str, Any] | None = None,
    slots: Sequence[int] | None = None,
    gated: bool = False,
    mean: Sequence[float] = RGB_MEAN,
    value_range: float = 255.0,
) -> RDN:
    """RDN (Zhang et al., CVPR 2018). Options as in `RDN`."""
    inserted = (attention, attention_options, slots, gated)
    return RDN(scale, blocks, layers, channels, growth, *inserted, mean, value_range)


# lower case: yjn870/RDN-pytorch
NAMES = {
    r"sfe1\.": "head.",
    r"sfe2\.": "body_start.",
    r"rdbs\.(\d+)\.layers\.(\d+)\.conv\.": r"blocks.\1.layers.\2.",
    r"rdbs\.(\d+)\.lff\.": r"blocks.\1.fusion.",
    r"gff\.0\.": "fusion.",
    r"gff\.1\.": "body_end.",
    r"upscale\.": "upsampler.",
    r"output\.": "tail.",
}
# capitals: EDSR-PyTorch, which adds the last convolution, an odd number after those of the upsampler, to its list
OTHER_NAMES = {
    r"SFENet1\.": "head.",
    r"SFENet2\.": "body_start.",
    r"RDBs\.(\d+)\.convs\.(\d+)\.conv\.0\.": r"blocks.\1.layers.\2.",
    r"RDBs\.(\d+)\.LFF\.": r"blocks.\1.fusion.",
    r"GFF\.0\.": "fusion.",
    r"GFF\.1\.": "body_end.",
}


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are weights in the layout of one of the two ports."""
    return {"sfe1.weight", "rdbs.0.lff.weight"} <= state.keys() or {
        "SFENet1.weight",
        "RDBs.0.LFF.weight",
    } <= state.keys()


@reader("RDN", recognises)
def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network in the state dict of a port; sizes and scale follow from names and shapes."""
    if "sfe1.weight" in state:
        tensors, value_range = renamed(state, NAMES), 1.0
    else:
        numbers = [int(key.split(".")[1]) for key in state if key.startswith("UPNet.")]
        if not numbers:
            raise ValueError("this checkpoint lacks UPNet.0.weight")
        last = rf"UPNet\.{max(numbers)}\."
        tensors, value_range = renamed(state, OTHER_NAMES | {last: "tail.", r"UPNet\.": "upsampler."}), 255.0
    channels, layers = tensors["head.weight"].shape[0], count(tensors, r"blocks\.0\.layers\.(\d+)\.")
    return restore(
        tensors,
        name="rdn",
        scale=scale_of(tensors, "upsampler."),
        blocks=count(tensors, r"blocks\.(\d+)\."),
        layers=layers,
        channels=channels,
        growth=tensors["blocks.0.layers.0.weight"].shape[0],
        mean=(0.0, 0.0, 0.0),
        value_range=value_range,
    )
