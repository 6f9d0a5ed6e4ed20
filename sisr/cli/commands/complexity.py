"""`python -m sisr complexity`: parameters, operations, time and memory of mechanisms and networks."""

import argparse
from pathlib import Path
from typing import Any

from sisr.cli import arguments

HELP = "count the operations and measure time and memory of attention mechanisms and networks"
EXAMPLE = (
    "python -m sisr complexity convolution nla nlsa:rounds=4 enlca:m=128 --channels 64 --size 100 100 "
    "--output results/mine/complexity/table4.csv"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("specs", nargs="+", metavar="SPEC", help="name[:option=value,…] of a mechanism, a network or file.py:Class")
    add(
        "--channels",
        type=arguments.whole(1, 65536),
        metavar="C",
        default=64,
        help="channels of the mechanisms' feature map (default: 64)",
    )
    add(
        "--embedding",
        type=arguments.whole(1, 65536),
        default=64,
        metavar="C",
        help="channels of query and key (default: 64, as in the paper's Table 4 and in ENLCN; a spec's reduction "
        "overrides it)",
    )
    add(
        "--size",
        type=arguments.whole(1, 65536),
        nargs=2,
        default=(100, 100),
        metavar=("H", "W"),
        help="feature map or LR image (100 100)",
    )
    add(
        "--seconds",
        type=arguments.number(above=True),
        default=2.0,
        metavar="S",
        help="duration of the timing of each forward pass (default: 2)",
    )
    arguments.add_device(parser)
    add("--output", type=Path, metavar="FILE.csv", help="write one row a SPEC")
    series = parser.add_argument_group(
        "comparison", "also time forward and backward at several sizes, with labels; networks at the largest size"
    )
    series.add_argument("--label", action="append", metavar="LABEL", help="label of a SPEC, one for each in order")
    series.add_argument(
        "--sizes",
        type=arguments.whole(1, 65536),
        nargs="+",
        metavar="SIDE",
        help="sides of square feature maps, before --size",
    )
    series.add_argument("--by-size", type=Path, metavar="FILE.csv", help="write the mechanisms' cost over size")


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    from sisr.cost import measure
    from sisr.evaluation.inference import device
    from sisr.utils.files import check_writable

    for path in (args.output, args.by_size):
        if path:
            check_writable(path)
    where = device(args.device)
    if args.label or args.sizes or args.by_size:
        return _series(args, where)
    subjects = [measure.build(spec, args.channels, tuple(args.size), args.embedding, where) for spec in args.specs]
    rows = []
    for subject in subjects:
        rows.append(measure.measure_cost(subject, args.seconds))
        if not args.json:
            print(_line(rows[-1], heading=len(rows) == 1), flush=True)
    if args.output:
        measure.write(rows, args.output)
        if not args.json:
            print(f"wrote {args.output}")
    return rows


def _series(args: argparse.Namespace, where: Any) -> list[dict[str, Any]]:
    from sisr.cost import by_size as series
    from sisr.utils.errors import UsageError

    labels = args.label or args.specs
    if len(labels) != len(args.specs):
        raise UsageError(f"there are {len(args.specs)} SPECs and {len(labels)} labels; give one --label for each SPEC.")
    sizes = list(dict.fromkeys([*((side, side) for side in args.sizes or ()), tuple(args.size)]))
    rows = []
    for row in series.rows(args.specs, labels, sizes, args.channels, args.embedding, where, args.seconds):
        rows.append(row)
        if not args.json:
            shown = {**row, "spec": f"{row['label']} {row['height']}x{row['width']}"}
            print(_line(shown, heading=len(rows) == 1), flush=True)
    series.write(rows, args.output, args.by_size)
    if not args.json:
        print("\n".join(f"wrote {path}" for path in (args.output, args.by_size) if path))
    return rows


def _line(row: dict[str, Any], heading: bool) -> str:
    from sisr.results.cells import bounded

    heads = ("spec", "parameters", "GMAC", "core", "GFLOP paper", "ms [quartiles]", "peak MB", "not counted")
    paper, core = row["paper_gflops"], row["core_gmacs"]
    cells = (
        row["spec"],
        f"{row['parameters']:,}",
        bounded(f"{row['gmacs']:.3f}", row["at_least"]),
        "–" if core is None else bounded(f"{core:.3f}", row["core_at_least"]),
        "–" if paper is None else f"{paper:.2f}",
        f"{row['seconds_median'] * 1e3:.2f} [{row['seconds_low'] * 1e3:.2f}, {row['seconds_high'] * 1e3:.2f}]",
        f"{row['peak_memory_bytes'] / 1e6:.1f}",
        row["at_least"] or "–",
    )
    widths = (24, 12, 12, 11, 12, 26, 9, 0)

    def joined(words: tuple[str, ...]) -> str:
        return "".join(
            word.ljust(width) if index in (0, len(words) - 1) else word.rjust(width) + " "
            for index, (word, width) in enumerate(zip(words, widths, strict=True))
        )

    return f"{joined(heads)}\n{joined(cells)}" if heading else joined(cells)
