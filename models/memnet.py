"""MemNet: memory blocks, each of which learns how much of every earlier block to keep, on bicubically upscaled luma.

Tai, Yang, Liu, Xu: "MemNet: A Persistent Memory Network for Image Restoration", ICCV 2017. A memory block applies one
residual block several times (batch normalisation, ReLU and convolution, twice; the convolutions are shared by the
recursions, the normalisations are not). Its gate, a 1x1 convolution, reads all these states and the outputs of all
blocks before it: B_m = gate[B_0, …, B_(m-1), H_1, …, H_R]. Each B_m gives an image y_m = x + reconstruction(B_m), and
the result is Σ w_m y_m with learned w_m. The loss is the paper's multi-supervision: with its α = 1 / (M + 1), the mean
of the losses of the result and of all y_m.

Layout and sizes are those of the authors' Caffe definition (github.com/tyshiwo/MemNet, MemNet_M6R6_80C64), in which
each y_m has a normalisation of its own. Differences: w_m starts at 1 / M, not at 1; statistics of the normalisations
are moving averages with PyTorch's momentum of 0.1, where Caffe's is 0.001. One network serves all scales.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from models.colour import to_ycbcr, upscale
from models.luma import LumaNetwork
from models.registry import reader, register
from models.restore import restore
from models.trunk import at_least, count


class Memory(nn.Module):
    """All memories so far, each (B, channels, H, W) → the next one.

    number: how many there are. recursions: of the residual block.
    """

    def __init__(self, number: int, recursions: int, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2 * recursions))
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate_norm = nn.BatchNorm2d((number + recursions) * channels)
        self.gate = nn.Conv2d((number + recursions) * channels, channels, 1)

    def forward(self, memories: list[Tensor]) -> Tensor:
        states = [memories[-1]]
        for one, two in zip(self.norms[::2], self.norms[1::2], strict=True):
            inner = self.first(torch.relu(one(states[-1])))
            states.append(states[-1] + self.second(torch.relu(two(inner))))
        memory: Tensor = self.gate(torch.relu(self.gate_norm(torch.cat([*memories, *states[1:]], dim=1))))
        return memory


class MemNet(LumaNetwork):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped.

    Options: number of memory blocks, recursions in each, channels.
    """

    config: dict[str, Any]

    def __init__(self, scale: int, memories: int, recursions: int, channels: int) -> None:
        super().__init__()
        at_least(1, scale=scale, memories=memories, recursions=recursions, channels=channels)
        self.scale = scale
        sizes = {"memories": memories, "recursions": recursions, "channels": channels}
        self.config = {"name": "memnet", "scale": scale, **sizes}
        self.head_norm = nn.BatchNorm2d(1)
        self.head = nn.Conv2d(1, channels, 3, padding=1)
        self.memories = nn.ModuleList(Memory(number + 1, recursions, channels) for number in range(memories))
        self.tail_norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(memories))
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)
        self.mixture = nn.Parameter(torch.full((memories,), 1 / memories))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def luma(self, y: Tensor) -> Tensor:
        return self._mixed(self._planes(y))

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The result and the plane of each memory block, all luma: (B, 1, scale·H, scale·W)."""
        planes = self._planes(to_ycbcr(x)[:, :1])
        return [self._mixed(planes), *planes]

    def _mixed(self, planes: list[Tensor]) -> Tensor:
        return torch.einsum("m,mbchw->bchw", self.mixture, torch.stack(planes))

    def _planes(self, y: Tensor) -> list[Tensor]:
        y = upscale(y, self.scale)
        memories = [self.head(torch.relu(self.head_norm(y)))]
        for memory in self.memories:
            memories.append(memory(memories))
        pairs = zip(self.tail_norms, memories[1:], strict=True)
        return [y + self.tail(torch.relu(norm(memory))) for norm, memory in pairs]


@register
def memnet(scale: int = 4, *, memories: int = 6, recursions: int = 6, channels: int = 64) -> MemNet:
    """MemNet (Tai et al., ICCV 2017) on luma. Options as in `MemNet`."""
    return MemNet(scale, memories, recursions, channels)


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the blobs of the authors' Caffe network, blob i of layer NAME as `NAME.i`."""
    return {"conv01_01_a.0", "bn_conv_transition_01.0", "weight_output_end_01.0"} <= state.keys()


@reader("MemNet", recognises, any_scale=True)
def load(state: Mapping[str, Tensor], scale: int) -> nn.Module:
    """The network from those blobs; sizes follow from names and shapes. It serves all scales: `scale` must be given.

    Caffe stores the shared convolutions once for every recursion. Raises ValueError where these are not equal.
    """
    memories = count(state, r"conv_transition_(\d+)\.")
    recursions = count(state, r"conv01_(\d+)_a\.")
    convolutions = {"conv1": "head", "conv_end_01": "tail"}
    norms = {"conv1": "head_norm"}
    copies = {}  # of shared convolutions, and what they must equal
    for m in range(1, memories + 1):
        convolutions[f"conv_transition_{m:02}"] = f"memories.{m - 1}.gate"
        norms[f"conv_transition_{m:02}"] = f"memories.{m - 1}.gate_norm"
        norms[f"conv_end_{m:02}"] = f"tail_norms.{m - 1}"
        copies[f"conv_end_{m:02}"] = "conv_end_01"
        for r, (part, name) in product(range(1, recursions + 1), (("a", "first"), ("b", "second"))):
            layer = f"conv{m:02}_{r:02}_{part}"
            norms[layer] = f"memories.{m - 1}.norms.{2 * (r - 1) + (part == 'b')}"
            convolutions[f"conv{m:02}_01_{part}"] = f"memories.{m - 1}.{name}"
            copies[layer] = f"conv{m:02}_01_{part}"
    left = dict(state)
    for layer, original in copies.items():
        for blob in (".0", ".1"):
            if not torch.equal(left[layer + blob], left[original + blob]):
                raise ValueError(f"{layer} and {original} must be equal, as they are one shared convolution of MemNet")
    left = {key: tensor for key, tensor in left.items() if copies.get(key[:-2], key[:-2]) == key[:-2]}
    tensors: dict[str, Tensor] = {}
    for old, new in convolutions.items():
        tensors |= {f"{new}.weight": left.pop(f"{old}.0"), f"{new}.bias": left.pop(f"{old}.1")}
    for old, new in norms.items():
        mean, variance, factor = (left.pop(f"bn_{old}.{blob}").float() for blob in range(3))
        # the stored sums are divided by their weight
        inverse = torch.where(factor == 0, 0, 1 / factor)
        tensors |= {
            f"{new}.running_mean": mean * inverse,
            f"{new}.running_var": variance * inverse,
            f"{new}.num_batches_tracked": torch.tensor(0),
            f"{new}.weight": left.pop(f"scale_{old}.0"),
            f"{new}.bias": left.pop(f"scale_{old}.1"),
        }
    weights = [left.pop(f"weight_output_end_{m:02}.0").reshape(1) for m in range(1, memories + 1)]
    channels = state["conv1.0"].shape[0]
    sizes = {"memories": memories, "recursions": recursions, "channels": channels}
    return restore({**tensors, **left, "mixture": torch.cat(weights)}, name="memnet", scale=scale, **sizes)
