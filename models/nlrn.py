"""NLRN: a recurrent network whose block has non-local attention, on bicubically upscaled luma.

Liu, Wen, Fan, Loy, Huang: "Non-Local Recurrent Network for Image Restoration", NeurIPS 2018. From the second recurrence
on, the correlations (θ(x)ᵀφ(x) before the softmax) of the one before are added: "correlation propagation". The
convolutions are shared by all recurrences, the batch normalisations are not.

Layout and sizes are those of the authors' TensorFlow code for super-resolution (github.com/Ding-Liu/NLRN_v0), with Y
from 0 to 255 inside. Attention is within windows of 45 x 45 pixels of the upscaled image, which overlap in evaluation
(stride 7, their outputs are averaged): for a stride of 7, a pixel is in up to 49 windows, and an image takes 41 times
the operations of the network itself. In training, windows lie side by side; a patch of at most 45 pixels is one window,
as in the authors' training. Differences: the statistics of the normalisations have PyTorch's momentum of 0.1, where
the authors' is 0.01. One network serves all scales.
"""

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from models.colour import upscale
from models.luma import LumaNetwork
from models.registry import reader, register
from models.restore import restore
from models.trunk import at_least

RANGE = 255.0  # of Y inside
EPSILON = 1e-3  # of TensorFlow's batch normalisation
AT_ONCE = 16  # windows in one batch, in evaluation


class NLRN(LumaNetwork):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped.

    Options:
        recurrences, channels, embedding: of the block; channels of query and key.
        propagation: add the correlations of the recurrence before.
        window, stride: of attention, and of the windows in evaluation, in pixels of the upscaled image.
    """

    config: dict[str, Any]
    no_onnx = "it attends within windows, whose number depends on the image size"

    def __init__(
        self, scale: int, recurrences: int, channels: int, embedding: int, propagation: bool, window: int, stride: int
    ) -> None:
        super().__init__()
        at_least(1, scale=scale, recurrences=recurrences, channels=channels, embedding=embedding, stride=stride)
        if window < stride:
            raise ValueError(f"window must be at least the stride, which is {stride}, not {window}")
        self.scale, self.propagation, self.window, self.stride = scale, propagation, window, stride
        sizes = {"recurrences": recurrences, "channels": channels, "embedding": embedding}
        windows = {"propagation": propagation, "window": window, "stride": stride}
        self.config = {"name": "nlrn", "scale": scale, **sizes, **windows}
        self.head_norm = nn.BatchNorm2d(1, eps=EPSILON)
        self.head = nn.Conv2d(1, channels, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, eps=EPSILON) for _ in range(3 * recurrences))
        self.query = nn.Conv2d(channels, embedding, 1)
        self.key = nn.Conv2d(channels, embedding, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.tail_norm = nn.BatchNorm2d(channels, eps=EPSILON)
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.value.weight)  # attention starts as the identity

    def luma(self, y: Tensor) -> Tensor:
        y = upscale(y, self.scale)
        height, width = (min(side, self.window) for side in y.shape[-2:])
        stride = self.window if self.training else self.stride
        corners = list(product(_starts(y.shape[-2], height, stride), _starts(y.shape[-1], width, stride)))
        at_once = len(corners) if self.training else AT_ONCE
        total, windows = torch.zeros_like(y), torch.zeros_like(y)
        for number in range(0, len(corners), at_once):
            places = [
                (..., slice(top, top + height), slice(left, left + width))
                for top, left in corners[number : number + at_once]
            ]
            details = self.detail(torch.cat([y[place] for place in places]))
            for place, detail in zip(places, details.chunk(len(places)), strict=True):
                total[place] += detail
                windows[place] += 1
        return y + total / windows

    def detail(self, y: Tensor) -> Tensor:
        """Windows (B, 1, H, W) → what is to be added to them."""
        x = start = self.head(self.head_norm(y * RANGE))  # (B, channels, H, W)
        correlation = None
        for one, two, three in zip(self.norms[::3], self.norms[1::3], self.norms[2::3], strict=True):
            x, correlation = self._attend(torch.relu(one(x)), correlation)
            x = start + self.second(torch.relu(three(self.first(two(x)))))
        detail: Tensor = self.tail(torch.relu(self.tail_norm(x)))
        return detail / RANGE

    def _attend(self, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """x + softmax(correlation) · value, and the correlation of N = H·W positions with all (B, N, N)."""
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))  # (B, c, N)
        correlation = query.transpose(1, 2) @ key
        if self.propagation and before is not None:
            correlation = correlation + before
        seen = value @ correlation.softmax(dim=2).transpose(1, 2)  # (B, channels, N)
        return x + seen.view_as(x), correlation


def _starts(length: int, side: int, stride: int) -> list[int]:
    """Where windows begin that cover a line; the last one ends with it."""
    return [*range(0, length - side, stride), length - side]


@register
def nlrn(
    scale: int = 4,
    *,
    recurrences: int = 12,
    channels: int = 128,
    embedding: int = 64,
    propagation: bool = True,
    window: int = 45,
    stride: int = 7,
) -> NLRN:
    """NLRN (Liu et al., NeurIPS 2018) on luma. Options as in `NLRN`."""
    return NLRN(scale, recurrences, channels, embedding, propagation, window, stride)


LAYERS = {
    "conv1": "head",
    "rnn/non_local_theta": "query",
    "rnn/non_local_phi": "key",
    "rnn/non_local_g": "value",
    "rnn/RB1_a": "first",
    "rnn/RB1_b": "second",
    "conv_end": "tail",
}
PARTS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_OPTIMISER = re.compile(r"(.*/)?(Adam(_\d+)?|beta[12]_power(_\d+)?|global_step|Variable(_\d+)?)")


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are variables of the authors' TensorFlow checkpoint."""
    return {"conv1/kernel", "rnn/non_local_theta/kernel", "conv_end/kernel"} <= _variables(state).keys()


@reader("NLRN", recognises, any_scale=True)
def load(state: Mapping[str, Tensor], scale: int) -> nn.Module:
    """The network from those variables; sizes follow from names and shapes.

    It serves all scales: `scale` must be given. The optimiser's variables are left out.
    """
    variables = _variables(state)
    tensors = {}
    for key, tensor in variables.items():
        layer, _, part = key.rpartition("/")
        if layer in LAYERS and part == "kernel":  # (height, width, in, out) → (out, in, height, width)
            tensors[f"{LAYERS[layer]}.weight"] = tensor.permute(3, 2, 0, 1).contiguous()
        elif layer in LAYERS and part == "bias":
            tensors[f"{LAYERS[layer]}.bias"] = tensor
        elif (norm := _norm(layer)) and part in PARTS:
            tensors |= {f"{norm}.{PARTS[part]}": tensor, f"{norm}.num_batches_tracked": torch.tensor(0)}
        else:
            tensors[key] = tensor  # unknown, which `restore` reports
    query = variables["rnn/non_local_theta/kernel"]
    norms = sum(key.startswith("rnn/batch_normalization") and key.endswith("/gamma") for key in variables)
    sizes = {"recurrences": norms // 3, "channels": query.shape[2], "embedding": query.shape[3]}
    return restore(tensors, name="nlrn", scale=scale, **sizes)


def _variables(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's own, without the scope around it."""
    return {key.removeprefix("model/"): tensor for key, tensor in state.items() if not _OPTIMISER.fullmatch(key)}


def _norm(layer: str) -> str | None:
    """The batch normalisation of a layer's name; TensorFlow numbers them in each scope, from the second on."""
    match = re.fullmatch(r"(rnn/)?batch_normalization(?:_(\d+))?", layer)
    if match is None:
        return None
    number = int(match[2] or 0)
    return f"norms.{number}" if match[1] else ("head_norm", "tail_norm")[number] if number < 2 else None
