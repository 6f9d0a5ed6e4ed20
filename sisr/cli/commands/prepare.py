"""`python -m sisr prepare`: decode a set once, and make its LR images."""

import argparse
from pathlib import Path

from sisr.cli import arguments

HELP = "decode a set's images into one memory-mapped file, or create its LR images"
EXAMPLE = "python -m sisr prepare Set5 --scale 4 --output data/prepared/Set5/x4"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="NAME_OR_FOLDER", help="set in the data folder, or any folder of images")
    parser.add_argument("--scale", required=True, help="'hr' for the HR images, or 2, 3, 4 … for LR images")
    parser.add_argument("--output", type=Path, required=True, help="folder of the image store to write")
    arguments.add_data(parser)
    arguments.add_boundary(parser)


def run(args: argparse.Namespace) -> dict:
    from sisr.data import catalog
    from sisr.data.prepare import prepare_hr, prepare_lr
    from sisr.utils.errors import SisrError, UsageError

    dataset = catalog.known().get(args.source)
    folder = args.data / args.source
    if dataset is None and not folder.is_dir():
        folder = Path(args.source)
    if not folder.is_dir():
        dataset = dataset or catalog.find(args.source)
        raise SisrError(f"{dataset.name} is not in {args.data}; run `python -m sisr fetch {dataset.name}` first.")
    if args.scale == "hr":
        store = prepare_hr(folder, args.output, dataset)
    elif args.scale.isdigit() and 1 < int(args.scale) <= 16:
        store = prepare_lr(folder, int(args.scale), args.output, args.boundary, dataset)
    else:
        raise UsageError(f"--scale is 'hr' or a whole number from 2 to 16, not {args.scale!r}.")
    made, verified = store.index.get("lr"), store.index.get("verified")
    if not args.json:
        how = "" if made is None else f", LR from {made['from']}"
        if made is not None:
            how += f" ({made['boundary']} border)" if "boundary" in made else f", {made['says']}"
        print(f"{args.output}: {len(store)} images of {folder}{how}")
        for note in (verified or {}).get("notes", []):
            print(f"  note: {note}")
    return {
        "output": str(args.output),
        "images": len(store),
        "lr": made,
        "verified": verified,
        "sha256": store.index["sha256"],
    }
