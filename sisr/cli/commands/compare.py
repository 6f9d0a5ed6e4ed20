"""`python -m sisr compare`: finished runs beside each other, with intervals, corrected p-values and verdicts."""

import argparse
import shutil
from pathlib import Path
from typing import Any

HELP = "compare finished runs: differences with intervals, corrected p-values, verdicts, and cost if it was measured"
EXAMPLE = (
    "python -m sisr compare --results results/quick --method enlca=enlcn-x4-k6-m128-s0-1f3a9c2e \\\n"
    "    --method none=edsr-x4-s0-5c0ffee1 --output my_comparison"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add = parser.add_argument
    add("--results", type=Path, default=Path("results/quick"), help="folder of a preset (default: results/quick)")
    add(
        "--method",
        action="append",
        metavar="LABEL=RUN[,RUN…]",
        help="the runs of one mechanism, one run a seed: ids, or paths of run folders; repeat for each mechanism",
    )
    add("--runs", nargs="+", metavar="ID", help="or runs, which are called by their attention")
    add("--reference", metavar="LABEL", help="what the others are compared with (default: enlca, or the first)")
    add("--complexity", type=Path, metavar="FILE.csv", help="cost, as python -m sisr complexity --label writes it")
    add("--output", type=Path, metavar="DIR", help="write compare.csv and compare.md there")
    add("--show", action="store_true", help="print the comparison that stands in the results, and where everything is")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Compare and print, or print what is there."""
    from sisr.comparison import select_runs, table_view
    from sisr.report import tables
    from sisr.report.tables import render
    from sisr.utils.errors import UsageError

    if args.show:
        if args.method or args.runs or args.output:
            raise UsageError("--show prints the comparison that is there; leave --method, --runs and --output out.")
        table = tables.read(table_view.NAME, args.results)
    else:
        if not (args.method or args.runs):
            raise UsageError("name at least two methods by --method LABEL=RUN, or their --runs; or give --show.")
        table = select_runs.compare_runs(args.results, args.method, args.runs, args.reference, args.complexity)
    paths = _made(args.results) if args.show else []
    if args.output:
        paths = tables.write_view(table_view.view(table), table, args.output)
    if not args.json:
        width = shutil.get_terminal_size(fallback=(200, 50)).columns
        print(f"{render.terminal(table_view.view(table), width)}\n")
        print("\n".join(map(str, paths)))
    return {"cells": _plain(table), "files": list(map(str, paths))}


def _made(results: Path) -> list[Path]:
    """Everything of the comparison that is there."""
    from sisr.config.layout import Results

    found = [path for kind in ("tables", "figures", "notebooks") for path in sorted((results / kind).glob("compare*"))]
    return [*found, *(path for path in (Results(results).comparison_page,) if path.is_file())]


def _plain(table: Any) -> list[dict[str, Any]]:
    """Cells for JSON, which has no NaN and no infinity."""
    from math import isfinite

    from sisr.results.cells import number

    rows = []
    for record in table.to_dict("records"):
        measured = number(record["measured"])
        record["measured"] = (
            record["measured"] if measured is None else measured if isfinite(measured) else str(measured)
        )
        rows.append({key: None if value != value or value == "" else value for key, value in record.items()})
    return rows
