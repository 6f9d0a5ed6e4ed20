"""What the output of an attention must be."""

from typing import Any

from torch import Tensor, nn


def same_shape(module: nn.Module, x: Tensor, output: Any) -> None:
    """Raise ValueError unless the output of a module is a tensor of the shape of its input."""
    if not isinstance(output, Tensor):
        raise ValueError(f"its output is of the type {type(output).__name__}, not a tensor")
    if output.shape != x.shape:
        raise ValueError(f"its output has the shape {tuple(output.shape)} for an input of {tuple(x.shape)}")
