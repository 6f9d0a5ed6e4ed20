"""`python -m sisr tables`: the paper's tables from per-image rows, as CSV, Markdown, HTML and figures."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from sisr.cli import arguments
from sisr.config.layout import Results
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import check_writable

HELP = "make a table and its figure from per-image rows, or show all tables that are there"
EXAMPLE = (
    "python -m sisr tables table1 --results results/quick --runs enlcn-x4-k6-m128-s0-1f3a9c2e edsr-x4-s0-5c0ffee1\n"
    "  python -m sisr tables --show --results results/quick"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="table1, table2, table4, k_sweep or compare")
    arguments.add_results(parser)
    add("--runs", nargs="+", metavar="ID", help="runs to use (default: all that were evaluated, or the preset's)")
    add(
        "--complexity",
        type=Path,
        metavar="FILE.csv",
        help="for table4 (default: complexity/table4.csv in the results) and compare (comparison/cost.csv)",
    )
    add("--method", action="append", metavar="LABEL=RUN[,RUN…]", help="for compare, instead of --runs: one mechanism")
    add("--search", type=Path, metavar="FILE.csv", help="for compare: learning rates, as compare choose writes them")
    add("--reference", metavar="LABEL", help="for compare: what the others are compared with [enlca or the first]")
    add("--show", action="store_true", help="print the tables that are there, and where everything is")


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.show == bool(args.name):
        raise UsageError(
            "name one table (table1, table2, table4, k_sweep, compare), or give --show to print those that are there."
        )
    return _show(args) if args.show else _make(args)


def _make(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.comparison import table_view
    from sisr.report import figures, tables

    if args.name == table_view.NAME:
        return _compare(args)
    tables.check(args.name)
    if args.method or args.reference or args.search:
        raise UsageError(f"--method, --reference and --search are for compare only, not for {args.name}.")
    if args.complexity and args.name != "table4":
        raise UsageError(f"--complexity is for table4 and compare only, not for {args.name}.")
    for folder in (Results(args.results).tables, args.results / "figures"):
        check_writable(folder, folder=True)
    table = tables.build(args.name, args.results, args.runs, args.complexity)
    # the CSV comes last: where it exists, the others do
    drawn = figures.write(args.name, table, args.results)
    drawn += figures.write_gain(table, args.results) if args.name == "table2" else []
    paths = [str(path) for path in [*tables.write(args.name, table, args.results), *drawn]]
    if not args.json:
        print("\n".join(paths))
    return {"table": args.name, "cells": len(table), "files": paths}


def _compare(args: argparse.Namespace) -> dict[str, Any]:
    """The comparison; its figures are drawn by `compare figures`."""
    from sisr.comparison import select_runs, table_view
    from sisr.report import tables

    check_writable(Results(args.results).tables, folder=True)
    costs = args.complexity or Results(args.results).cost
    table = select_runs.compare_runs(
        args.results, args.method, args.runs, args.reference, costs if costs.is_file() else None, args.search
    )
    paths = tables.write_view(table_view.view(table), table, Results(args.results).tables)
    if not args.json:
        print("\n".join(map(str, paths)))
    return {"table": args.name, "cells": len(table), "files": list(map(str, paths))}


def _show(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.comparison import table_view
    from sisr.report import tables
    from sisr.report.tables import render

    names = [name for name in (*tables.NAMES, table_view.NAME) if Results(args.results).table(name).is_file()]
    if not names:
        raise SisrError(f"there are no tables in {args.results}/tables; make one with python -m sisr tables table1.")
    if not args.json:
        width = shutil.get_terminal_size(fallback=(200, 50)).columns
        for name in names:
            table = tables.read(name, args.results)
            view = table_view.view(table) if name == table_view.NAME else tables.view(name, table)
            print(f"{render.terminal(view, width)}\n")
    files = {
        kind: [str(path) for path in sorted((args.results / kind).glob("*")) if path.is_file() and path.name[0] != "."]
        for kind in ("tables", "figures", "notebooks")
    }
    if not args.json:
        for kind, paths in files.items():
            print(f"{kind}:" + "".join(f"\n  {path}" for path in paths) if paths else f"{kind}: none")
    return {"shown": names, **files}
