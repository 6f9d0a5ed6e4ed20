"""`python -m sisr analyse`: what ENLA computes, on random features and in trained networks."""

import argparse
from pathlib import Path
from typing import Any

from sisr.cli import arguments
from sisr.config.layout import Results

HELP = "measure what ENLA computes: kernel noise, distance from exact attention, attended positions"
EXAMPLE = (
    "python -m sisr analyse --results results/quick --runs enlcn-x4-k6-m128-s0-1f3a9c2e \\\n"
    "    --data data/prepared/photographs-test --scale 4 --output results/quick/analysis"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    arguments.add_results(parser)
    add(
        "--runs",
        nargs="+",
        required=True,
        metavar="ID",
        help="trained runs; skipped without enla, enlca or nla",
    )
    add("--data", type=Path, required=True, metavar="FOLDER", help="prepared set, or folder of images, as input")
    add("--scale", type=int, default=4, help="upscaling factor of the runs (default: 4)")
    add("--output", type=Path, metavar="DIR", help="folder of the tables (default: analysis in the results folder)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, write kernel.csv, error.csv and attended.csv, and draw the figure."""
    from sisr.analysis import capture, figure, findings, kernel_noise, measure, rows
    from sisr.data.pairs import open_pairs
    from sisr.utils.files import check_writable

    output = args.output or Results(args.results).analysis
    for folder in (output, args.results / "figures"):
        check_writable(folder, folder=True)
    runs = capture.find_runs(args.results, args.runs, args.scale)
    pairs = open_pairs(args.data, args.scale)
    errors: list[rows.ErrorRow] = []
    attended: list[rows.AttendedRow] = []
    for each, (more, further) in zip(runs, measure.trained_rows(runs, args.results, pairs), strict=True):
        errors += more
        attended += further
        if not args.json:
            print(f"{measure.label(each)}: {each.id}", flush=True)
    more, further = measure.random_rows(sorted({row.channels for row in attended}), measure.DRAWS)
    tables = {
        "kernel": rows.frame(kernel_noise.kernel_rows(draws=kernel_noise.DRAWS)),
        "error": rows.frame([*more, *errors]),
        "attended": rows.frame([*further, *attended]),
    }
    # the tables come last: where they exist, the figure does
    paths = figure.write(tables, args.results) + [rows.write(name, table, output) for name, table in tables.items()]
    sentences = findings.describe_analysis(tables)
    if not args.json:
        print("\n".join([*(f"- {sentence}" for sentence in sentences), *map(str, paths)]))
    return {"runs": [each.id for each in runs], "files": list(map(str, paths)), "findings": sentences}
