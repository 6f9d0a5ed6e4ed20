"""What RCAN, RDN, RNAN and SAN have in common with EDSR: the shift of colours, the first and the last convolution and
the upsampler around a body; and how their authors' files are read.

The authors' code computes with RGB values from 0 to 255 and shifts colours by two 1x1 convolutions, `sub_mean` and
`add_mean`. Here the mean is constant; `value_range` keeps the authors' range, so that their weights are used as they
are and training starts from the same distribution.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.edsr import RGB_MEAN, _upsampler

SCALES = (1, 2, 3, 4, 8)
_EXACT = 1e-6  # deviation from the mean, as a part of the range, that is the rounding of float32
_MOVED = 0.05  # how far training may have moved the shift of colours


class Trunk(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] → (B, 3, scale·H, scale·W), not clamped: tail(upsampler(head(x) + body(head(x)))).

    mean: RGB in [0, 1] that is subtracted first and added last. value_range: factor on RGB in between.
    """

    config: dict[str, Any]
    mean: Tensor

    def __init__(self, scale: int, channels: int, mean: Sequence[float], value_range: float) -> None:
        super().__init__()
        if scale not in SCALES:
            raise ValueError(f"scale must be {', '.join(map(str, SCALES[:-1]))} or {SCALES[-1]}, not {scale}")
        at_least(1, channels=channels)
        if len(mean) != 3 or not all(math.isfinite(value) for value in mean):
            raise ValueError(f"mean must be three numbers, not {mean!r}")
        if not 0 < value_range < math.inf:
            raise ValueError(f"value_range must be above 0, not {value_range}")
        self.scale, self.value_range = scale, value_range
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.upsampler = _upsampler(scale, channels)
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head((x - self.mean) * self.value_range)
        return self.tail(self.upsampler(x + self.body(x))) / self.value_range + self.mean

    def body(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → the same shape."""
        raise NotImplementedError


def at_least(smallest: int, **sizes: int) -> None:
    """Raise ValueError for a size that is not a whole number of at least `smallest`."""
    for name, value in sizes.items():
        if not isinstance(value, int) or value < smallest:
            raise ValueError(f"{name} must be at least {smallest}, not {value!r}")


def renamed(state: Mapping[str, Tensor], patterns: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors under new names: the start of a name that matches a pattern is replaced, other names stay."""
    names = {}
    for key in state:
        old = next((old for old in patterns if re.match(old, key)), None)
        names[key] = key if old is None else re.sub(rf"\A(?:{old})", patterns[old], key)
    if len(set(names.values())) < len(names):
        raise ValueError("two tensors of this checkpoint have the same place in the network")
    return {names[key]: tensor for key, tensor in state.items()}


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Number of different values of the pattern's group at the start of the names."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def scale_of(state: Mapping[str, Tensor], upsampler: str) -> int:
    """Scale of an upsampler by PixelShuffle: names of its convolutions' weights begin with `upsampler`."""
    weights = [tensor for key, tensor in state.items() if re.fullmatch(rf"{re.escape(upsampler)}\d+\.weight", key)]
    return math.prod(round((tensor.shape[0] / tensor.shape[1]) ** 0.5) for tensor in weights)


def shifted(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights with names of `Trunk` without `sub_mean` and `add_mean`, and the options that these are.

    The released code of RCAN, RNAN and SAN trains both convolutions (it clears `requires_grad` of the module, which
    has no effect on its parameters). With the range r, A r x + a = A r (x - m) for m = -A⁻¹a / r, and A joins the head;
    add_mean, B t + b, joins the tail. The result is the same, at borders too.
    Raises ValueError where one is missing or not near the expected shift for RGB in [0, 1] or [0, 255].
    """
    state = dict(state)
    names = [f"{shift}_mean.{part}" for shift in ("sub", "add") for part in ("weight", "bias")]
    if missing := [name for name in (*names, "head.weight", "tail.weight", "tail.bias") if name not in state]:
        raise ValueError(f"this checkpoint lacks {', '.join(missing)}")
    scaling, offset, gain, end = (state.pop(name).double() for name in names)
    value_range = 255.0 if end.abs().max() > 2 else 1.0
    options: dict[str, Any] = {"value_range": value_range}
    mean, eye = torch.tensor(RGB_MEAN, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    moved = 0.0
    for name, tensor, expected in (
        (names[0], scaling, eye.view(3, 3, 1, 1)),
        (names[1], offset / value_range, -mean),
        (names[2], gain, eye.view(3, 3, 1, 1)),
        (names[3], end / value_range, mean),
    ):
        if tensor.shape != expected.shape or not torch.allclose(tensor, expected, rtol=0, atol=_MOVED):
            raise ValueError(f"{name} of this checkpoint is not the shift of colours for RGB in [0, 1] or [0, 255]")
        moved = max(moved, float((tensor - expected).abs().max()))
    if moved > _EXACT:
        scaling, gain = scaling.view(3, 3), gain.view(3, 3)
        mean = -torch.linalg.solve(scaling, offset) / value_range
        head, tail, bias = (state[name].double() for name in ("head.weight", "tail.weight", "tail.bias"))
        state["head.weight"] = torch.einsum("ocyx,ci->oiyx", head, scaling).float()
        state["tail.weight"] = torch.einsum("oi,icyx->ocyx", gain, tail).float()
        state["tail.bias"] = (gain @ bias + end - value_range * mean).float()
        options["mean"] = mean.tolist()
    return state, options
