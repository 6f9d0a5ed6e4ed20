"""Speed of `sisr.imresize`, Pillow and a dense reference implementation, compared in one run.

    python -m benchmarks.imresize [--repeats 15] [--json]

A photograph of 2040 x 1404 (the size of DIV2K's images) is reduced, and the result upscaled. Pillow computes another
bicubic, so only its time is comparable. Times are medians; the spread is from the first to the third quartile.
"""

import argparse
import json
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data as pictures

from benchmarks.common import machine
from sisr.cost.timing import quartiles, take_turns
from sisr.data.imresize import contributions, imresize
from sisr.utils.provenance import device_name

HEIGHT, WIDTH = 1404, 2040


def dense(image: np.ndarray, factor: Fraction) -> np.ndarray:
    """Reference implementation: each axis as a full matrix, in float64."""
    for axis in (0, 1):
        weights, source = contributions(image.shape[axis], factor)
        matrix = np.zeros((len(weights), image.shape[axis]))
        for row, (taps, positions) in enumerate(zip(weights, source, strict=True)):
            np.add.at(matrix[row], positions, taps)
        result = np.moveaxis(np.tensordot(matrix, image.astype(np.float64), axes=(1, axis)), 0, axis)
        image = np.clip(np.floor(result + 0.5), 0, 255).astype(np.uint8)
    return image


def main() -> None:
    """Print one line a factor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="most rounds of all three (default 15)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    photo = np.asarray(Image.fromarray(pictures.coffee()).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    device, rows = torch.device("cpu"), []
    for factor in (Fraction(1, 4), Fraction(1, 3), Fraction(1, 2), Fraction(2), Fraction(4)):
        image = photo if factor < 1 else imresize(photo, 1 / factor)
        assert np.abs(imresize(image, factor).astype(int) - dense(image, factor)).max() <= 1
        calls = {
            "sisr": partial(imresize, image, factor),
            "pillow": partial(
                Image.fromarray(image).resize,
                (round(image.shape[1] * factor), round(image.shape[0] * factor)),
                Image.Resampling.BICUBIC,
            ),
            "dense": partial(dense, image, factor),
        }
        times = take_turns(calls, device, rounds=args.repeats, seconds=20)
        row: dict[str, Any] = {"factor": str(factor), "from": f"{image.shape[1]} x {image.shape[0]}"}
        row |= {name: [1e3 * value for value in quartiles(values)] for name, values in times.items()}
        rows.append(row | {"sisr_over_pillow": row["sisr"][1] / row["pillow"][1]})
    if args.json:
        print(json.dumps({"machine": device_name(device), "rows": rows}, indent=1))
        return
    print(f"{machine(device)}; milliseconds, median [quartiles]")
    for row in rows:
        cells = [f"{name} {row[name][1]:.1f} [{row[name][0]:.1f}, {row[name][2]:.1f}]" for name in calls]
        ratio = f"sisr / pillow {row['sisr_over_pillow']:.2f}"
        print(f"x{row['factor']:<4} of {row['from']:<12} {'   '.join(cells)}   {ratio}")


if __name__ == "__main__":
    main()
