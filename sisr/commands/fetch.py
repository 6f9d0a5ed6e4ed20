"""`python -m sisr fetch`: get image sets onto the disk."""

import argparse
from pathlib import Path

HELP = "get image sets onto the disk, checked image by image"
EXAMPLE = "python -m sisr fetch photographs photographs-test"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="set of data/datasets.yaml, e.g. Set5")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds all sets (default: data)")


def run(args: argparse.Namespace) -> list[dict]:
    """Fetch the sets one after another."""
    from sisr import datasets
    from sisr.fetch import fetch
    from sisr.images import list_images

    result = []
    for dataset in [datasets.find(name) for name in args.names]:
        folder = fetch(dataset, args.data)
        count = len(list_images(folder / "HR"))
        result.append({"name": dataset.name, "folder": str(folder), "images": count, "licence": dataset.licence})
        if not args.json:
            print(f"{dataset.name}: {count} images in {folder} ({dataset.licence})")
    return result
