"""`python -m sisr evaluate`: PSNR and SSIM, one row an image."""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path

from sisr.cli import arguments

HELP = "measure PSNR and SSIM of a run, a weights file, a folder of SR images, or of bicubic and HR themselves"
EXAMPLE = (
    "python -m sisr evaluate model.pth\n  "
    "python -m sisr evaluate my_net.py:MyNet --weights my.pth --scale 4 --data data/Set5\n  "
    "python -m sisr evaluate results/quick/runs/enlcn-x4-k6-m128-s0-1f3a9c2e "
    "--data data/prepared/Set5 data/prepared/Set14 --scale 4 --output-dir results/mine"
)

EVALUATIONS = Path("results/evaluations")
PREPARED = Path("data/prepared")


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "what",
        metavar="WHAT",
        help="run folder, weights file, file.py:Class, folder of SR images, pretrained, or the controls bicubic and hr",
    )
    add("--weights", type=Path, metavar="FILE", help="weights of the network file.py:Class")
    add(
        "--data",
        type=Path,
        nargs="+",
        metavar="SET",
        help="prepared sets, or folders of HR images (default: all test sets in data/prepared)",
    )
    add(
        "--not-evaluated",
        type=_left_out,
        action="append",
        default=[],
        metavar="SET=REASON",
        help="leave a set of --data out, and record why: tables show the reason in the place of its PSNR",
    )
    add("--scale", type=int, help="upscaling factor: 2, 3, 4 … (default: that of the weights)")
    add(
        "--output-dir",
        type=Path,
        help="folder for <set>_x<scale>.csv, and .json with the protocol (default: results/evaluations/<name>)",
    )
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
    from sisr.data.pairs import set_name
    from sisr.evaluation.evaluate import NotMeasuredError, evaluate, write_rows
    from sisr.evaluation.inference import Mode
    from sisr.evaluation.upscalers import Network, method
    from sisr.utils.errors import SisrError, UsageError
    from sisr.utils.files import check_writable

    left_out = dict(args.not_evaluated)
    output_dir = args.output_dir or EVALUATIONS / _name(args.what, args.weights)
    check_writable(output_dir, folder=True)
    mode = Mode(tile=args.tile, overlap=args.overlap, chop=args.chop, self_ensemble=args.self_ensemble)
    # what is wrong with the images is reported before a network is loaded, where the scale is given
    scale, opened = args.scale, None
    if scale is not None:
        opened = _open(args.data, arguments.check_scale(scale), args.boundary, left_out)
    what = method(
        args.what,
        scale,
        weights=args.weights,
        protocol=args.protocol,
        boundary=args.boundary,
        device=args.device,
        mode=mode,
        precision=args.precision,
        unrounded_lr=args.unrounded_lr,
    )
    if scale is None:
        if not isinstance(what, Network):
            raise UsageError(f"{args.what} states no upscaling factor; give it with --scale.")
        scale = arguments.check_scale(what.scale)
    data, sets = opened or _open(args.data, scale, args.boundary, left_out)
    for pairs in sets:
        what.check(pairs, scale)
    trained_on = _trained_on(Path(args.what), data)
    if trained_on:
        print(f"note: {describe(trained_on)}", file=sys.stderr)
    result, partial_files, failures = [], [], []
    for name, pairs in zip(map(set_name, data), sets, strict=True):
        path = output_dir / f"{name}_x{scale}.csv"
        partial_files.append(path.with_suffix(".partial.json"))
        try:
            rows, facts = evaluate(
                what,
                pairs,
                scale,
                args.protocol,
                args.greyscale,
                output_dir / path.stem if args.save_images else None,
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
            _print(name, scale, args.protocol, facts, result[-1])
    for name, reason in left_out.items():
        path = output_dir / f"{name}_x{scale}.csv"
        write_rows([], path, {"set": name, "scale": scale, "not_evaluated": reason})
        result.append({"set": name, "file": str(path), "not_evaluated": reason})
        if not args.json:
            print(f"{name} x{scale}: not evaluated: {reason}")
    if failures:
        # the partial rows of complete sets stay as well: Snakemake deletes all tables of a failed job
        raise SisrError(f"{'; '.join(failures)}.")
    for file in partial_files:
        file.unlink(missing_ok=True)
    if not args.json:
        print("\n".join(_next(args, data, scale, output_dir)))
    return result


def _left_out(text: str) -> tuple[str, str]:
    name, _, reason = text.partition("=")
    if not name or not reason.strip():
        raise argparse.ArgumentTypeError(f"must be SET=REASON, not {text[:40]}")
    return name, reason.strip()


def _name(what: str, weights: Path | None) -> str:
    """Name of the folder of an evaluation: of a run, a file without its suffix, or a class and its weights."""
    from sisr.config.mechanisms import Mechanism

    if weights is not None:
        return f"{Mechanism.parse(what).label.replace(' ', '-')}-{weights.stem}"
    path = Path(what).resolve()
    return path.stem if path.is_file() else path.name


def _open(data: list[Path] | None, scale: int, boundary: str, left_out: Collection[str]) -> tuple[list[Path], list]:
    """The image sets: those given, or all prepared test sets, less those left out. Raises UsageError where two have one
    name, there are none, or one that is left out is not among them."""
    from sisr.config.schema import nearest
    from sisr.data import catalog
    from sisr.data.pairs import open_pairs, set_name
    from sisr.data.store import INDEX
    from sisr.utils.errors import UsageError

    if data is None:
        tests = [name for name, dataset in catalog.known().items() if dataset.role == "test"]
        folders = [PREPARED / name for name in tests]
        data = [each for each in folders if all((each / part / INDEX).is_file() for part in ("hr", f"x{scale}"))]
        if not data:
            raise UsageError(
                f"no test set is prepared at x{scale} in {PREPARED}; give folders of HR images with --data, or prepare "
                "a set (`python -m sisr prepare --help`)."
            )
    names = [set_name(path) for path in data]
    if len(set(names)) < len(names):
        raise UsageError(f"two sets are called {max(names, key=names.count)}; use two output folders.")
    if unknown := next((name for name in left_out if name not in names), None):
        raise UsageError(f"--not-evaluated names {unknown}, which is not in --data; {nearest(unknown, names)}")
    data = [path for path, name in zip(data, names, strict=True) if name not in left_out]
    return data, [open_pairs(path, scale, boundary) for path in data]


def _next(args: argparse.Namespace, data: list[Path], scale: int, output_dir: Path) -> list[str]:
    """What to do with a measured method: look at it, and measure the controls in the same way."""
    from sisr.cli.last_screen import next_steps

    python = ["python", "-m", "sisr"]
    first = [str(data[0]), "--scale", str(scale), "-o", str(output_dir / "crops.png")]
    if args.what in ("bicubic", "hr"):
        return next_steps([("show crops", [*python, "crops", *first])])
    again = ["--data", *map(str, data), "--scale", str(scale)]
    floor = str(output_dir.with_name(f"{output_dir.name}-bicubic"))
    steps = [("measure bicubic", [*python, "evaluate", "bicubic", *again, "--output-dir", floor])]
    if args.weights is None:
        steps.append(("show crops", [*python, "crops", *first, "--method", args.what]))
    return next_steps(steps)


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
