"""Arguments that several commands share, each defined once."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from sisr.utils import gpus
from sisr.utils.errors import UsageError

MAX_SEED = 2**63 - 1


def whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """Type of an argument: a whole number from `least` to `most`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text[:40]}")
        return value

    return read


def number(least: float = 0.0, *, above: bool = False) -> Callable[[str], float]:
    """Type of an argument: a finite number of at least `least`, or above it."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < least or (above and value == least):
            bound = f"above {least:g}" if above else f"of {least:g} or more"
            raise argparse.ArgumentTypeError(f"must be a number {bound}, not {text[:40]}")
        return value

    return read


def folder(text: str) -> Path:
    """Type of an argument: a folder whose name means something, as a preset's does; `.` and `..` are resolved."""
    path = Path(text)
    return path if path.name not in ("", "..") else path.resolve()


def add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=folder, default=Path("results/quick"), help="folder of a preset (default: results/quick)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`, as `sisr.evaluation.inference.device` reads it."""
    parser.add_argument("--device", default="auto", help=gpus.HELP)


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of all image sets (default: data)")


def add_origin(parser: argparse.ArgumentParser, help_: str) -> None:
    parser.add_argument("--from", dest="origin", type=Path, metavar="DIR_OR_ARCHIVE", help=help_)


def add_boundary(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--boundary",
        choices=["symmetric", "replicate"],
        default="symmetric",
        help="border of imresize: current MATLAB (symmetric, default) or older releases (replicate)",
    )


def add_inference(parser: argparse.ArgumentParser) -> None:
    """How a network is applied to an image: tiles, self-ensemble, precision, device."""
    add = parser.add_argument
    add("--tile", type=int, metavar="N", help="use LR tiles of N pixels (default: the whole image, if memory allows)")
    add("--overlap", type=int, default=32, metavar="N", help="LR pixels of context around each tile (default: 32)")
    add("--self-ensemble", action="store_true", help="mean over eight flips and rotations: better, 8 times slower")
    add(
        "--precision",
        choices=["float32", "bfloat16"],
        default="float32",
        help="precision of the network (default: float32)",
    )
    add_device(parser)


def check_scale(scale: int) -> int:
    """An upscaling factor from the command line. Raises UsageError outside of 2 to 16."""
    if not 1 < scale <= 16:
        raise UsageError(f"--scale must be an integer from 2 to 16, not {scale}.")
    return scale
