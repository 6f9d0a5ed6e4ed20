"""`python -m sisr claims`: the paper's claims, judged from the results of a preset."""

import argparse
import json
from typing import Any

from sisr.cli import arguments
from sisr.utils.files import check_writable

HELP = "judge each of the paper's claims: holds, does not hold or inconclusive, and the seeds that it needs"
EXAMPLE = "python -m sisr claims --results results/mini"


def configure(parser: argparse.ArgumentParser) -> None:
    arguments.add_results(parser)


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    from sisr.report import claims

    check_writable(args.results, folder=True)
    table = claims.judge(args.results)
    paths = claims.write(table, args.results)
    if not args.json:
        print("\n".join(claims.lines(table, args.results)))
        print("\n".join(map(str, paths)))
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))  # NaN and infinity become null
    return rows
