"""`python -m sisr diagnose`: which convention of an evaluation explains a PSNR."""

import argparse
from pathlib import Path
from typing import Any

from sisr.cli import arguments

HELP = "find the convention of an evaluation that explains a PSNR: colour, border, value range, LR, inference"
EXAMPLE = (
    "python -m sisr diagnose sr/ --data data/prepared/Set5 --scale 4 --expected 30.68\n"
    "  python -m sisr diagnose ENLCAx4.pt --data data/prepared/Set5 --scale 4 --expected 32.94"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "what",
        metavar="WHAT",
        help="folder of SR images; or run folder, weights file or pretrained: LR and inference are then varied, too",
    )
    add("--data", type=Path, required=True, metavar="SET", help="prepared set, or folder of HR images")
    add("--scale", type=int, required=True, help="upscaling factor: 2, 3, 4 …")
    add(
        "--expected",
        required=True,
        metavar="DB",
        help="PSNR to explain, of the paper or your own; its decimals decide how close a value must be",
    )
    arguments.add_device(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from functools import partial

    from tqdm import tqdm

    from sisr.data.pairs import open_pairs
    from sisr.evaluation.diagnose import AnySize, diagnose, expectation
    from sisr.evaluation.upscalers import Folder, method

    expected = expectation(args.expected)
    arguments.check_scale(args.scale)
    pairs = open_pairs(args.data, args.scale)
    what = method(args.what, args.scale, device=args.device)
    if isinstance(what, Folder):
        what = AnySize(what.folder)
    progress = partial(tqdm, desc=pairs.name, unit="image", leave=False, disable=None)
    found = diagnose(what, pairs, args.scale, expected, progress)
    shown = found.shown()
    if not args.json:
        digits = max(3, found.digits)
        print(f"    {'PSNR':>9} {'difference':>11}  convention")
        for each in shown:
            mark = "→" if each == found.best else "=" if each in found.reproducing else " "
            value = found.values[each]
            print(f"  {mark} {value:9.{digits}f} {value - float(expected):+11.{digits}f}  {each}")
        print(f"\n{found.sentence}")
    return {
        "expected": float(expected),
        "reproduced": found.best in found.reproducing,
        "convention": str(found.best),
        "sentence": found.sentence,
        "values": [{"convention": str(each), "psnr": _json(found.values[each])} for each in found.values],
    }


def _json(value: float) -> float | str:
    from math import isfinite

    return value if isfinite(value) else str(value)
