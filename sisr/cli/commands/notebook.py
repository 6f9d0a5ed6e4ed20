"""Verb `notebook`."""

import argparse
from pathlib import Path

from sisr.cli import arguments

HELP = "execute a notebook on the results of a preset, and export it to HTML"
EXAMPLE = (
    "python -m sisr notebook notebooks/table1.ipynb results/quick/notebooks/table1.ipynb \\\n"
    "    --html results/quick/notebooks/table1.html --results results/quick"
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="notebook to execute")
    parser.add_argument("output", type=Path, help="path of the executed notebook")
    parser.add_argument("--html", type=Path, help="path of the HTML export")
    arguments.add_results(parser)


def run(args: argparse.Namespace) -> dict[str, str | None]:
    from sisr.report.notebooks import execute
    from sisr.utils.files import check_writable

    for path in filter(None, (args.output, args.html)):
        check_writable(path)
    execute(args.source, args.output, {"results": str(args.results)}, args.html)
    if not args.json:
        print("\n".join(str(path) for path in (args.output, args.html) if path))
    return {"notebook": str(args.output), "html": str(args.html) if args.html else None}
