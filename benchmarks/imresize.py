"""Speed of `sisr.imresize` beside Pillow and a plain dense version, in one run on this machine.

    python benchmarks/imresize.py [--repeats 15] [--json]

A photograph of 2040 x 1404 (the size of DIV2K's images) is reduced and its reduction enlarged. Pillow computes another
bicubic (see sisr/data/imresize.py), so it is a yardstick for time only. Times are medians; the spread is from the first
to the third quartile.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from PIL import Image
from skimage import data as pictures

from sisr.data.imresize import contributions, imresize

HEIGHT, WIDTH = 1404, 2040


def dense(image: np.ndarray, factor: Fraction) -> np.ndarray:
    """The plain twin: each axis as a full matrix, in float64."""
    for axis in (0, 1):
        weights, source = contributions(image.shape[axis], factor)
        matrix = np.zeros((len(weights), image.shape[axis]))
        for row, (taps, positions) in enumerate(zip(weights, source, strict=True)):
            np.add.at(matrix[row], positions, taps)
        result = np.moveaxis(np.tensordot(matrix, image.astype(np.float64), axes=(1, axis)), 0, axis)
        image = np.clip(np.floor(result + 0.5), 0, 255).astype(np.uint8)
    return image


def milliseconds(call: Callable[[], object], repeats: int) -> list[float]:
    """First quartile, median and third quartile of the wall time; one call beforehand is not counted."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - started))
    return [float(value) for value in np.percentile(times, [25, 50, 75])]


def main() -> None:
    """Print one line a factor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    photo = np.asarray(Image.fromarray(pictures.coffee()).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    rows = []
    for factor in (Fraction(1, 4), Fraction(1, 3), Fraction(1, 2), Fraction(2), Fraction(4)):
        image = photo if factor < 1 else imresize(photo, 1 / factor)
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        pillow = Image.fromarray(image)
        row = {
            "factor": str(factor),
            "from": f"{image.shape[1]} x {image.shape[0]}",
            "sisr": milliseconds(lambda image=image, factor=factor: imresize(image, factor), args.repeats),
            "pillow": milliseconds(lambda p=pillow, size=size: p.resize(size, Image.Resampling.BICUBIC), args.repeats),
            "dense": milliseconds(lambda image=image, factor=factor: dense(image, factor), max(1, args.repeats // 5)),
        }
        row["sisr_over_pillow"] = row["sisr"][1] / row["pillow"][1]
        rows.append(row)
        assert np.abs(imresize(image, factor).astype(int) - dense(image, factor)).max() <= 1
    if args.json:
        print(json.dumps({"machine": platform.processor() or platform.machine(), "rows": rows}, indent=1))
        return
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"{platform.machine()}, {versions}; milliseconds, median [quartiles]")
    for row in rows:
        cells = [
            f"{name} {row[name][1]:.1f} [{row[name][0]:.1f}, {row[name][2]:.1f}]"
            for name in ("sisr", "pillow", "dense")
        ]
        ratio = f"sisr / pillow {row['sisr_over_pillow']:.2f}"
        print(f"x{row['factor']:<4} of {row['from']:<12} {'   '.join(cells)}   {ratio}")


if __name__ == "__main__":
    main()
