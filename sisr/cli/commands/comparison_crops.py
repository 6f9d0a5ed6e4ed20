"""`python -m sisr comparison-crops`: the places where compared mechanisms differ most, as crops side by side."""

import argparse
from pathlib import Path
from typing import Any

from sisr.utils import gpus

HELP = "show where compared mechanisms differ most: crops of the test images, side by side"
EXAMPLE = "python -m sisr comparison-crops --results results/quick --data data/prepared/photographs-test"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add = parser.add_argument
    add("--results", type=Path, default=Path("results/quick"), help="folder of a preset (default: results/quick)")
    add("--data", type=Path, nargs="+", required=True, metavar="FOLDER", help="the prepared sets that were compared on")
    add("--images", type=int, default=4, metavar="N", help="images to show (default: 4)")
    add("--size", type=int, default=80, metavar="PIXELS", help="side of a crop in HR pixels (default: 80)")
    add("--device", default="auto", help=gpus.HELP)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the networks on a few images, write the crops, and draw the figure."""
    from sisr.utils.errors import UsageError

    if args.images < 1 or args.size < 8:
        raise UsageError("at least one image is shown (--images), and a crop has at least 8 pixels a side (--size).")
    from sisr.comparison import crops, figures, result

    scenes = crops.make(result.read(args.results), args.results, args.data, args.images, args.size, args.device)
    paths = [str(path) for path in figures.write_crops(args.results)]
    if not args.json:
        for scene in scenes:
            print(f"{scene.dataset} {scene.image} at {scene.x},{scene.y}: {scene.why}")
        print("\n".join(paths))
    return {"crops": [f"{scene.dataset}/{scene.image}:{scene.x},{scene.y}" for scene in scenes], "files": paths}
