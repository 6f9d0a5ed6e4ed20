"""Training patches a second: the patch sampler compared with decoding PNG files, in one run.

    python -m benchmarks.input                                        # photographs included in scikit-image
    python -m benchmarks.input --images FOLDER --output results/benchmarks

A pair is an LR patch of 48 x 48 and its HR patch of 192 x 192 (x4), rotated and mirrored at random, in batches of 16 as
uint8 tensors. The methods are

  sampler                       sisr.data.patches.PatchSampler, from a prepared store
  PNG, one process              the common data set: open the HR and the LR file, decode, crop, rotate
  PNG, DataLoader               the same in as many worker processes as there are cores
  PNG cut beforehand, DataLoader   from files of 480 x 480 pixels, as by BasicSR's extract_subimages

The images have the size of DIV2K's, 2040 x 1404: photographs are placed side by side, so that the noise of photographs
is preserved; those included in scikit-image are resized. All files are in the page cache. Methods are timed in turn:
compare ratios of medians.
"""

import argparse
import os
import statistics
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.common import machine, save, save_json
from sisr.cost.timing import Call, take_turns
from sisr.data.image_files import list_images, read_image
from sisr.data.imresize import imresize
from sisr.data.patches import PatchSampler
from sisr.data.store import PairedStore, write

HEIGHT, WIDTH, SCALE = 1404, 2040, 4
PIECE = 480
TARGET = 20
SAMPLER, ONE, WORKERS, PIECES = "sampler", "PNG, one process", "PNG, DataLoader", "PNG cut beforehand, DataLoader"


class Files(Dataset[tuple[Tensor, Tensor]]):
    """The common data set of super-resolution code: every sample opens and decodes two files."""

    def __init__(self, folder: Path, patch: int, samples: int) -> None:
        self.hr = sorted((folder / "HR").glob("*.png"))
        self.lr = [folder / "LR" / path.name for path in self.hr]
        self.patch, self.samples = patch, samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng(index)
        number = int(random.integers(len(self.hr)))
        hr, lr = (np.asarray(Image.open(files[number])) for files in (self.hr, self.lr))
        top, left = (int(random.integers(side - self.patch + 1)) for side in lr.shape[:2])
        turns, mirrored = int(random.integers(4)), bool(random.integers(2))
        pair = []
        for image, scale in ((lr, 1), (hr, SCALE)):
            rows, columns = (slice(start * scale, (start + self.patch) * scale) for start in (top, left))
            patch = np.rot90(image[rows, columns], turns)
            patch = patch[:, ::-1] if mirrored else patch
            pair.append(torch.from_numpy(np.ascontiguousarray(patch.transpose(2, 0, 1))))
        return pair[0], pair[1]


def photographs(folder: Path | None) -> Iterator[NDArray[np.uint8]]:
    """Colour photographs: those of a folder, or those included in scikit-image, resized to 2040 x 1404."""
    if folder is not None:
        images = (read_image(path) for path in list_images(folder))
        yield from (image for image in images if image.ndim == 3)
        return
    from skimage import data

    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        image = Image.fromarray(getattr(data, name)())
        yield np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def mosaics(images: Iterator[NDArray[np.uint8]], count: int) -> Iterator[NDArray[np.uint8]]:
    """Images of 2040 x 1404, each filled row by row with photographs at their size; larger ones are cropped."""
    for _ in range(count):
        canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        top = 0
        while top < HEIGHT:
            left, height = 0, 0
            while left < WIDTH:
                image = next(images, None)
                if image is None:
                    return
                part = image[: HEIGHT - top, : WIDTH - left]
                canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
                left, height = left + part.shape[1], max(height, part.shape[0])
            top += height
        yield canvas


def lay_out(images: list[NDArray[np.uint8]], folder: Path) -> None:
    """Write the images as PNG files, as pieces of 480 x 480, and as a prepared store."""
    named = {f"{number:04d}": image for number, image in enumerate(images)}
    pieces = {
        f"{name}_{top}_{left}": image[top : top + PIECE, left : left + PIECE]
        for name, image in named.items()
        for top in range(0, HEIGHT - PIECE + 1, PIECE // 2)
        for left in range(0, WIDTH - PIECE + 1, PIECE // 2)
    }
    reduced = {name: imresize(image, 1 / SCALE) for name, image in named.items()}
    write(folder / "store" / "hr", named.items(), {})
    write(folder / "store" / f"x{SCALE}", reduced.items(), {})
    small = {name: reduced[name.split("_")[0]] for name in pieces}
    for name in pieces:
        top, left = (int(part) // SCALE for part in name.split("_")[1:])
        small[name] = small[name][top : top + PIECE // SCALE, left : left + PIECE // SCALE]
    for kind, hr, lr in (("whole", named, reduced), ("pieces", pieces, small)):
        for part, group in (("HR", hr), ("LR", lr)):
            (folder / kind / part).mkdir(parents=True)
            for name, image in group.items():
                Image.fromarray(image).save(folder / kind / part / f"{name}.png")


def calls(folder: Path, patch: int, batch: int, batches: int, workers: int) -> dict[str, tuple[int, Call]]:
    """For each method: the number of batches of a call, and the call."""
    sampler = PatchSampler([PairedStore(folder / "store", SCALE)], patch=patch, batch=batch, seed=0)

    def sample(steps: int) -> Callable[[], None]:
        def call() -> None:
            for step in range(steps):
                sampler(step)

        return call

    def files(kind: str, processes: int, steps: int) -> Call:
        data = Files(folder / kind, patch, steps * batch)
        loader = DataLoader(data, batch, num_workers=processes, persistent_workers=processes > 0)
        return partial(deque, loader, maxlen=0)  # one pass

    few, many = max(1, batches // 4), batches * 25
    return {
        SAMPLER: (many, sample(many)),
        ONE: (few, files("whole", 0, few)),
        WORKERS: (batches, files("whole", workers, batches)),
        PIECES: (4 * batches, files("pieces", workers, 4 * batches)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of photographs (default: those of scikit-image, resized)")
    parser.add_argument("--count", type=int, default=8, help="maximum number of images of 2040 x 1404 (default 8)")
    parser.add_argument("--patch", type=int, default=48, help="side of the LR patch (default 48)")
    parser.add_argument("--batch", type=int, default=16, help="pairs a batch (default 16)")
    parser.add_argument("--batches", type=int, default=8, help="batches of a DataLoader pass (default 8)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="worker processes (default: all cores)")
    parser.add_argument("--repeats", type=int, default=7, help="maximum number of rounds (default 7)")
    parser.add_argument("--output", type=Path, help="folder for input.csv and input.json")
    args = parser.parse_args()

    header = machine(torch.device("cpu"), threads=1)  # the sampler's work is single copies
    print(header)
    with tempfile.TemporaryDirectory(prefix="sisr-input-") as name:
        folder = Path(name)
        images = list(mosaics(photographs(args.images), args.count))
        if not images:
            parser.error(f"{args.images} contains too few colour photographs to fill one image of {WIDTH} x {HEIGHT}.")
        lay_out(images, folder)
        methods = calls(folder, args.patch, args.batch, args.batches, args.workers)
        passes = {name: call for name, (_, call) in methods.items()}
        times = take_turns(passes, torch.device("cpu"), rounds=args.repeats, seconds=60)
    rates = {name: [steps * args.batch / value for value in times[name]] for name, (steps, _) in methods.items()}
    rows = pd.DataFrame(
        {
            "method": name,
            "images": len(images),
            "pairs_per_second": statistics.median(rate),
            "slowest": min(rate),
            "fastest": max(rate),
            "processes": args.workers if name in (WORKERS, PIECES) else 1,
            "rounds": len(rate),
            "photographs": "scikit-image, enlarged" if args.images is None else "from a folder, side by side",
            "device": header,
        }
        for name, rate in rates.items()
    )
    report(rows, args.output)


def report(rows: pd.DataFrame, output: Path | None) -> None:
    """Print the rates and the speed-up of the sampler; write CSV and JSON."""
    print(f"\n{rows['images'][0]} images of {WIDTH} x {HEIGHT}: pairs a second, median (slowest to fastest round)")
    for _, row in rows.iterrows():
        print(f"  {row['method']:32s} {row['pairs_per_second']:10.1f} ({row['slowest']:.1f} to {row['fastest']:.1f})")
    rate = dict(zip(rows["method"], rows["pairs_per_second"], strict=True))
    ratios = {name: rate[SAMPLER] / rate[name] for name in rate if name != SAMPLER}
    for name, ratio in ratios.items():
        print(f"the sampler is {ratio:.1f} times as fast as: {name}")
    reached = bool(ratios[WORKERS] >= TARGET)
    print(f"target: at least {TARGET} times the DataLoader on whole files: {'reached' if reached else 'NOT reached'}")
    if output:
        save(rows, output / "input.csv")
        content = {"rows": rows.to_dict("records"), "ratios": ratios, "aim": TARGET, "reached": reached}
        save_json(content, output / "input.json")


if __name__ == "__main__":
    main()
