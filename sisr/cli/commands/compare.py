"""`sisr compare table | check | choose | crops | figures | page`: finished runs of several mechanisms, compared."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from sisr.cli import arguments
from sisr.cli.main import Subcommand
from sisr.config.layout import Results
from sisr.utils.errors import UsageError
from sisr.utils.files import check_writable

HELP = "compare finished runs: differences with intervals, corrected p-values, verdicts, cost, figures and a page"
EXAMPLE = (
    "python -m sisr compare --results results/quick --method enlca=enlcn-x4-k6-m128-s0-1f3a9c2e \\\n"
    "    --method none=edsr-x4-s0-5c0ffee1 --output my_comparison\n"
    "  python -m sisr compare page --results results/quick"
)


def _table_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_results(parser)
    add = parser.add_argument
    add(
        "--method",
        action="append",
        metavar="LABEL=RUN[,RUN…]",
        help="the runs of one mechanism, one run a seed: ids, or paths of run folders; repeat for each mechanism",
    )
    add("--runs", nargs="+", metavar="ID", help="or runs, which are called by their attention")
    add("--reference", metavar="LABEL", help="what the others are compared with (default: the paper's, or the first)")
    add("--search", type=Path, metavar="FILE.csv", help="learning rates, as compare choose writes them")
    add("--complexity", type=Path, metavar="FILE.csv", help="cost, as python -m sisr complexity --label writes it")
    add("--output", type=Path, metavar="DIR", help="write compare.csv and compare.md there")
    add("--show", action="store_true", help="print the comparison in the results, and the paths of its files")


def _choose_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_results(parser)
    add = parser.add_argument
    add(
        "--candidate",
        action="append",
        required=True,
        metavar="LABEL=RUN[,RUN…]",
        help="the runs of one mechanism, one a learning rate; repeat for each mechanism",
    )
    add("--test", nargs="+", required=True, metavar="SET", help="test sets, which must not choose")
    add("--data", type=Path, default=Path("data/prepared"), metavar="DIR", help="the prepared sets [data/prepared]")


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("networks", nargs="+", metavar="SPEC", help="network with its attention: name:option=value,…")


def _crops_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_results(parser)
    add = parser.add_argument
    add("--data", type=Path, nargs="+", required=True, metavar="FOLDER", help="the prepared sets that were compared on")
    add("--images", type=arguments.whole(1), default=4, metavar="N", help="images to show (default: 4)")
    add(
        "--size",
        type=arguments.whole(8),
        default=80,
        metavar="PIXELS",
        help="side of a crop in HR pixels (default: 80)",
    )
    arguments.add_device(parser)


def _table(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.comparison import select_runs, table_view
    from sisr.report import tables
    from sisr.report.tables import render

    if args.show:
        if args.method or args.runs or args.output:
            raise UsageError("--show prints the comparison that is there; leave --method, --runs and --output out.")
        table = tables.read(table_view.NAME, args.results)
    else:
        if not (args.method or args.runs):
            raise UsageError("name at least two methods by --method LABEL=RUN, or their --runs; or give --show.")
        if args.output:
            check_writable(args.output, folder=True)
        table = select_runs.compare_runs(
            args.results, args.method, args.runs, args.reference, args.complexity, args.search
        )
    paths = _made(args.results) if args.show else []
    if args.output:
        paths = tables.write_view(table_view.view(table), table, args.output)
    if not args.json:
        width = shutil.get_terminal_size(fallback=(200, 50)).columns
        print(f"{render.terminal(table_view.view(table), width)}\n")
        print("\n".join(map(str, paths)))
        if not args.show:
            print("\n".join(_next(args, table)))
    return {"cells": _plain(table), "files": list(map(str, paths))}


def _next(args: argparse.Namespace, table: Any) -> list[str]:
    """Keep the comparison, and look at the images of the compared runs."""
    from sisr.cli.last_screen import next_steps

    python, results = ["python", "-m", "sisr"], ["--results", str(args.results)]
    labelled = [word.partition("=") for word in args.method or []]
    runs = [run for _, _, several in labelled for run in several.split(",")] or list(args.runs)
    chosen = [f"--method={label}={runs_}" for label, _, runs_ in labelled] or ["--runs", *runs]
    folders = [run if Path(run).is_dir() else str(Results(args.results).run(run)) for run in runs]
    shown = [f"data/prepared/{next(filter(None, table['dataset']))}", "--scale", str(int(table["scale"].max()))]
    steps = [] if args.output else [("keep it", [*python, "compare", *results, *chosen, "--output", "my_comparison"])]
    return next_steps([*steps, ("show crops", [*python, "crops", *shown, "-o", "crops.png", "--method", *folders])])


def _choose(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.comparison import learning_rates, select_runs

    path = Results(args.results).learning_rates
    check_writable(path)
    if not args.data.is_dir():
        raise UsageError(f"there is no folder {args.data}, whose images show that no test set chooses; set --data.")
    candidates = select_runs.parse(args.candidate, "--candidate")
    table = learning_rates.choose(args.results, candidates, args.test, args.data)
    learning_rates.write(table, path)
    if not args.json:
        print("\n".join(f"{label}: {words}" for label, words in learning_rates.in_words(table).items()))
        print(path)
    return {"candidates": table.to_dict("records"), "file": str(path)}


def _check(args: argparse.Namespace) -> list[dict[str, Any]]:
    from sisr.training import smoke_test

    rows = smoke_test.run(args.networks)
    if not args.json:
        print("\n".join(f"works: {row['spec']}" for row in rows))
    return rows


def _crops(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.comparison import crops, figures, result

    check_writable(args.results, folder=True)
    scenes = crops.make(result.read(args.results), args.results, args.data, args.images, args.size, args.device)
    paths = [str(path) for path in figures.write_crops(args.results)]
    if not args.json:
        for scene in scenes:
            print(f"{scene.dataset} {scene.image} at {scene.x},{scene.y}: {scene.why}")
        print("\n".join(paths))
    return {"crops": [f"{scene.dataset}/{scene.image}:{scene.x},{scene.y}" for scene in scenes], "files": paths}


def _figures(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.comparison import figures

    check_writable(args.results, folder=True)
    paths = [str(path) for path in figures.write(args.results)]
    if not args.json:
        print("\n".join(paths))
    return {"files": paths}


def _page(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.comparison import page

    check_writable(args.results, folder=True)
    path = page.write(args.results)
    if not args.json:
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return {"page": str(path), "bytes": path.stat().st_size}


SUBCOMMANDS = {
    "table": Subcommand(
        "compare finished runs and print the table (`compare` without a subcommand)",
        EXAMPLE.partition("\n  ")[0].replace("sisr compare", "sisr compare table"),
        _table_arguments,
        _table,
    ),
    "check": Subcommand(
        "try custom mechanisms in their networks, in seconds, before training",
        "python -m sisr compare check 'edsr:blocks=1,channels=8,attention=my_attention.py:MyAttention,slots=[0]'",
        _check_arguments,
        _check,
    ),
    "choose": Subcommand(
        "choose a learning rate for each mechanism by PSNR on the validation sets, in validation/ of the results",
        "python -m sisr compare choose --results results/quick --test Set5 \\\n"
        "    --candidate enlca=enlcn-x4-k6-m128-s0-1f3a9c2e,enlcn-x4-k6-m128-s0-2b4d6f81 \\\n"
        "    --candidate none=edsr-x4-s0-5c0ffee1,edsr-x4-s0-7e8f9a0b",
        _choose_arguments,
        _choose,
    ),
    "crops": Subcommand(
        "show where compared mechanisms differ most: crops of the test images, side by side",
        "python -m sisr compare crops --results results/quick --data data/prepared/photographs-test",
        _crops_arguments,
        _crops,
    ),
    "figures": Subcommand(
        "draw a comparison: differences with intervals, PSNR over cost, cost over image size",
        "python -m sisr compare figures --results results/quick",
        arguments.add_results,
        _figures,
    ),
    "page": Subcommand(
        "write a comparison as one HTML page that contains everything and opens offline",
        "python -m sisr compare page --results results/quick",
        arguments.add_results,
        _page,
    ),
}


def _made(results: Path) -> list[Path]:
    """Everything of the comparison that is there."""
    made = [path for kind in ("tables", "figures", "notebooks") for path in sorted((results / kind).glob("compare*"))]
    page = Results(results).comparison_page
    return [*made, page] if page.is_file() else made


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
