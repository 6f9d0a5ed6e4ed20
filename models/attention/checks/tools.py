"""Tools of the checks: images, comparisons, and the exceptions for failed and skipped checks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Build = Callable[[], nn.Module]
SIZES = ((12, 10), (7, 11), (13, 13), (1, 5), (1, 1))  # pixels: even, odd, prime, a line, a point


class Failure(AssertionError):  # noqa: N818  (not an error of the program)
    """The mechanism does not meet the condition of the check; the message states what and where."""


class Skipped(Exception):  # noqa: N818
    """The check cannot run here; the message states the reason."""


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=generator(seed))


def same_form(out: object, x: Tensor, where: str) -> None:
    if not isinstance(out, Tensor):
        raise Failure(f"output is a {type(out).__name__}, not a tensor")
    for axis, name in enumerate(("images", "channels", "rows", "columns")):
        if out.ndim != 4:
            raise Failure(f"output has {out.ndim} dimensions, it must have 4: (B, C, H, W)")
        if out.shape[axis] != x.shape[axis]:
            raise Failure(f"output has {out.shape[axis]} {name}, input has {x.shape[axis]}, {where}")
    if out.dtype != x.dtype:
        raise Failure(f"output is {out.dtype}, input is {x.dtype}, {where}")
    finite(out, f"output {where}")


def finite(x: Tensor, what: str) -> None:
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise Failure(f"{what}: {bad} of {x.numel()} values are not finite")


def close(a: Tensor, b: Tensor, tolerance: float, what: str, other: str, floor: float = 1e-6) -> None:
    """Relative difference of two tensors in the Euclidean norm, at most `tolerance`; smaller norms count as `floor`."""
    error = ((a - b).norm() / b.norm().clamp_min(floor)).item()
    if not error <= tolerance:
        raise Failure(f"{what} differs from {other} by {error:.2g}, at most {tolerance:.2g} is rounding")
