"""`python -m sisr upscale`: upscale photographs with the pretrained, or any other trained network."""

import argparse
from pathlib import Path

from sisr.cli import arguments

HELP = "upscale photographs with the pretrained, or any other trained network"
EXAMPLE = (
    "python -m sisr upscale photo.jpg\n"
    "  python -m sisr upscale photo.jpg -o photo_x4.png --weights results/quick/runs/enlcn-x4-k6-m128-s0-1f3a9c2e\n"
    "  python -m sisr upscale holidays/ -o upscaled/ --weights ENLCAx4.pt --self-ensemble\n"
    "  python -m sisr upscale photo.jpg --weights bicubic --scale 4"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("sources", type=Path, nargs="+", metavar="PHOTO_OR_FOLDER", help="images, or folders of images")
    # not a Path, which drops the slash after a folder's name
    add("-o", "--output", help="file, or folder for several (default: photo_x4.png beside photo.jpg)")
    add(
        "--weights",
        default="pretrained",
        metavar="FILE_OR_RUN",
        help="weights file, run folder, or bicubic for comparison (default: the pretrained network for the scale)",
    )
    add("--network", metavar="FILE.py:CLASS", help="a network of your own that the weights belong to")
    add("--scale", type=int, help="upscaling factor (default: that of the weights, else 4)")
    arguments.add_inference(parser)


def run(args: argparse.Namespace) -> list[dict]:
    """Upscale all images; failures are reported, and the other images are processed."""
    import sys
    from functools import partial

    from tqdm import tqdm

    from sisr.evaluation import inference
    from sisr.evaluation.photos import plan, upscale_file
    from sisr.evaluation.upscalers import load, pretrained, weights_of
    from sisr.utils.errors import SisrError, UsageError
    from sisr.utils.precision import autocast

    mode = inference.Mode(tile=args.tile, overlap=args.overlap, self_ensemble=args.self_ensemble)
    device = inference.device(args.device)
    model = None
    if args.weights == "bicubic":
        scale = arguments.check_scale(4 if args.scale is None else args.scale)
    else:
        chosen = pretrained(args.scale or 4) if args.weights == "pretrained" else Path(args.weights)
        weights = weights_of(chosen)
        if weights is None:
            raise SisrError(f"{args.weights} is neither a weights file nor a run folder with weights.safetensors.")
        model = load(weights, args.scale, args.network).to(device)
        scale = int(model.scale)
        if args.scale not in (None, scale):
            raise UsageError(f"{weights} upscales x{scale}, not x{args.scale}.")

    def warn(sentence: str) -> None:
        tqdm.write(f"sisr upscale: {sentence}", file=sys.stderr)

    pairs = plan(args.sources, args.output, scale, warn)
    quiet = True if args.json else None
    results, failed = [], []
    images = tqdm(pairs, desc="images", unit="image", disable=True if len(pairs) == 1 else quiet)
    for source, target in images:
        tiles = partial(tqdm, desc=source.name, unit="tile", leave=False, disable=quiet)
        try:
            with autocast(args.precision, device):
                results.append(upscale_file(model, source, target, scale, mode, tiles, warn))
        except SisrError as error:
            if len(pairs) == 1:
                raise
            failed.append(source.name)
            warn(str(error))
            continue
        last = results[-1]
        if not args.json:
            tqdm.write(f"{source} -> {target} ({last['height']} x {last['width']}, {last['way']})")
    if failed:
        raise SisrError(f"{len(failed)} of {len(pairs)} images could not be upscaled: {', '.join(failed)}.")
    return results
