"""`sisr leaderboard page | cost`: the mechanisms of all finished runs of a preset, compared with ENLCA."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from sisr.cli import arguments
from sisr.cli.main import Subcommand
from sisr.config.layout import Results
from sisr.utils.files import check_writable

HELP = "rank the mechanisms of all finished runs of a preset on one page, with cost and difference to ENLCA"
EXAMPLE = (
    "python -m sisr leaderboard --results results/quick\n  python -m sisr leaderboard cost --results results/quick"
)


def _page_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_results(parser)
    parser.add_argument(
        "--complexity", type=Path, metavar="FILE.csv", help="cost of the mechanisms (default: leaderboard/cost.csv)"
    )


def _cost_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_results(parser)
    add = parser.add_argument
    side = arguments.whole(8, 4096)
    add("--sizes", type=side, nargs="+", default=[25, 50, 100], metavar="SIDE", help="sides of the maps [25 50 100]")
    add("--seconds", type=arguments.number(above=True), default=0.5, metavar="S", help="time of each timing [0.5]")
    arguments.add_device(parser)


def _page(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.comparison import leaderboard, leaderboard_view
    from sisr.report import tables
    from sisr.report.tables import render

    table = leaderboard.build(args.results, args.complexity)
    view = leaderboard_view.view(table)
    check_writable(Results(args.results).tables, folder=True)
    check_writable(Results(args.results).leaderboard_page)
    paths = tables.write_view(view, table, Results(args.results).tables)
    paths.append(leaderboard_view.write(table, args.results))
    if not args.json:
        print(f"{render.terminal(view, shutil.get_terminal_size(fallback=(200, 50)).columns)}\n")
        print("\n".join(map(str, paths)))
    return {"cells": len(table), "files": list(map(str, paths))}


def _cost(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.comparison import leaderboard
    from sisr.cost import by_size
    from sisr.evaluation.inference import device

    path = Results(args.results).leaderboard_cost
    specs = leaderboard.specs(args.results)
    check_writable(path)
    sizes = [(side, side) for side in dict.fromkeys(args.sizes)]
    rows = []
    for row in by_size.rows(specs, specs, sizes, 64, 64, device(args.device), args.seconds):
        rows.append(row)
        if not args.json:
            print(f"{row['label']} {row['height']}x{row['width']}: {row['seconds_median'] * 1e3:.2f} ms", flush=True)
    by_size.write(rows, path, None)
    if not args.json:
        print(path)
    return {"mechanisms": specs, "file": str(path)}


SUBCOMMANDS = {
    "page": Subcommand(
        "write the page and the table (`leaderboard` without a subcommand)",
        "python -m sisr leaderboard page --results results/quick",
        _page_arguments,
        _page,
    ),
    "cost": Subcommand(
        "measure the cost of all its mechanisms at several sizes, one after another",
        "python -m sisr leaderboard cost --results results/quick --sizes 25 50 100",
        _cost_arguments,
        _cost,
    ),
}
