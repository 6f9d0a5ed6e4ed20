"""`python -m sisr evaluate`: PSNR and SSIM, one row an image."""

import argparse
import sys
from pathlib import Path

from sisr.cli import arguments

HELP = "measure PSNR and SSIM of a run, a weights file, a folder of SR images, or of bicubic and HR themselves"
EXAMPLE = (
    "python -m sisr evaluate results/quick/runs/enlcn-x4-k6-m128-s0-1f3a9c2e "
    "--data data/prepared/Set5 data/prepared/Set14 --scale 4 --output-dir results/mine"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "what",
        metavar="WHAT",
        help="run folder, weights file, folder of SR images, pretrained, or the controls bicubic and hr",
    )
    add("--data", type=Path, nargs="+", required=True, metavar="SET", help="prepared sets, or folders of HR images")
    add("--scale", type=int, required=True, help="upscaling factor: 2, 3, 4 …")
    add("--output-dir", type=Path, required=True, help="folder for <set>_x<scale>.csv, and .json with the protocol")
    add(
        "--protocol",
        choices=["P1", "P2", "P3"],
        default="P1",
        help="Y unrounded as in the paper (P1, default), Y rounded (P2), the bicubic row that papers copy (P3)",
    )
    arguments.add_boundary(parser)
    add(
        "--greyscale",
        choices=["as-is", "rgb"],
        default="as-is",
        help="use greyscale HR as it is (default), or repeat it to RGB and convert to Y, as EDSR-like code does",
    )
    arguments.add_inference(parser)
    add("--chop", action="store_true", help="four overlapping quadrants, as in the released code")
    add("--unrounded-lr", action="store_true", help="use HR reduced in floating point as input, as for SRMD")
    add("--save-images", action="store_true", help="also write the SR images: <output-dir>/<set>_x<scale>/<image>.png")


def run(args: argparse.Namespace) -> list[dict]:
    from functools import partial

    from tqdm import tqdm

    from sisr.data.overlap import describe
    from sisr.data.pairs import open_pairs, set_name
    from sisr.evaluation.evaluate import NotMeasuredError, evaluate, write_rows
    from sisr.evaluation.inference import Mode
    from sisr.evaluation.upscalers import method
    from sisr.utils.errors import SisrError, UsageError
    from sisr.utils.files import check_writable

    arguments.check_scale(args.scale)
    names = [set_name(path) for path in args.data]
    if len(set(names)) < len(names):
        raise UsageError(f"two sets are called {max(names, key=names.count)}; use two output folders.")
    check_writable(args.output_dir, folder=True)
    mode = Mode(tile=args.tile, overlap=args.overlap, chop=args.chop, self_ensemble=args.self_ensemble)
    sets = [open_pairs(path, args.scale, args.boundary) for path in args.data]
    what = method(
        args.what,
        args.scale,
        protocol=args.protocol,
        boundary=args.boundary,
        device=args.device,
        mode=mode,
        precision=args.precision,
        unrounded_lr=args.unrounded_lr,
    )
    for pairs in sets:
        what.check(pairs, args.scale)
    trained_on = _trained_on(Path(args.what), args.data)
    if trained_on:
        print(f"note: {describe(trained_on)}", file=sys.stderr)
    result, partial_files, failures = [], [], []
    for name, pairs in zip(names, sets, strict=True):
        path = args.output_dir / f"{name}_x{args.scale}.csv"
        partial_files.append(path.with_suffix(".partial.json"))
        try:
            rows, facts = evaluate(
                what,
                pairs,
                args.scale,
                args.protocol,
                args.greyscale,
                args.output_dir / path.stem if args.save_images else None,
                partial(tqdm, desc=name, unit="image", leave=False, disable=None),
                partial_files[-1],
            )
        except NotMeasuredError as error:
            failures.append(str(error).rstrip("."))
            continue
        shared = {train: len(images) for (train, test), images in trained_on.items() if test == pairs.name}
        write_rows(rows, path, {"set": name, **facts, **({"trained_on": shared} if shared else {})})
        result.append({"set": name, "file": str(path), **_summary(rows), "way": facts["way"]})
        if not args.json:
            _print(name, args.scale, args.protocol, facts, result[-1])
    if failures:
        # the partial rows of complete sets stay as well: Snakemake deletes all tables of a failed job
        raise SisrError(f"{'; '.join(failures)}.")
    for file in partial_files:
        file.unlink(missing_ok=True)
    if not args.json:
        print("\n".join(_next(args)))
    return result


def _next(args: argparse.Namespace) -> list[str]:
    """What to do with a measured method: look at it, and measure the controls in the same way."""
    from sisr.cli.last_screen import next_steps

    python = ["python", "-m", "sisr"]
    first = [str(args.data[0]), "--scale", str(args.scale), "-o", str(args.output_dir / "crops.png")]
    if args.what in ("bicubic", "hr"):
        return next_steps([("show crops", [*python, "crops", *first])])
    again = ["--data", *map(str, args.data), "--scale", str(args.scale)]
    floor = str(args.output_dir.with_name(f"{args.output_dir.name}-bicubic"))
    return next_steps(
        [
            ("measure bicubic", [*python, "evaluate", "bicubic", *again, "--output-dir", floor]),
            ("show crops", [*python, "crops", *first, "--method", args.what]),
        ]
    )


def _trained_on(what: Path, data: list[Path]) -> dict[tuple[str, str], list[str]]:
    """The images of prepared test sets that a run was trained on, if its training sets are prepared beside them."""
    from sisr.data.overlap import shared_sets
    from sisr.utils.files import read_run_json

    config = (what if what.is_dir() else what.parent) / "config.json"
    train = read_run_json(config).get("train", []) if config.is_file() else []
    shared: dict[tuple[str, str], list[str]] = {}
    for path in data:
        shared |= shared_sets(train, [path.resolve().name], path.resolve().parent)
    return shared


def _summary(rows: list) -> dict:
    """Means with their 95 % intervals; infinity, which JSON does not have, is a word."""
    from math import isfinite

    from sisr.results.significance import mean

    summary: dict = {"images": len(rows)}
    for key in ("psnr", "ssim"):
        average = mean([getattr(row, key) for row in rows])
        summary[key] = average.value if isfinite(average.value) else str(average.value)
        summary[f"{key}_interval"] = [average.low, average.high] if isfinite(average.low) else None
    summary["seconds"] = sum(row.seconds for row in rows)
    return summary


def _print(name: str, scale: int, protocol: str, facts: dict, summary: dict) -> None:
    words = []
    for key, digits, unit in (("psnr", 3, " dB"), ("ssim", 4, "")):
        value, interval = summary[key], summary[f"{key}_interval"]
        shown = value if isinstance(value, str) else f"{value:.{digits}f}"
        between = f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]" if interval else ""
        words.append(f"{key.upper()} {shown}{unit}{between}")
    print(f"{name} x{scale} ({protocol}, {summary['images']} images): {', '.join(words)}  {summary['file']}")
    if facts["other_ways"]:
        ways = ", ".join(f"{image}: {way}" for image, way in facts["other_ways"].items())
        print(f"  not {facts['way']}: {ways}")
    elif facts["way"] != "whole":
        print(f"  {facts['way']}")
