"""Verb `models`."""

import argparse
import math
from typing import Any

HELP = "list the registered networks and attention mechanisms, with options, papers and costs"
EXAMPLE = "python -m sisr models"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recount",
        action="store_true",
        help="first count the cost of the mechanisms again and write models/attention/costs.csv",
    )


def run(args: argparse.Namespace) -> dict[str, dict[str, dict[str, Any]]]:
    from sisr.config import declared  # not models: importing torch takes seconds

    if args.recount:
        _recount()
    costs, mechanisms = declared.costs(), declared.mechanisms()
    listed = {
        "networks": declared.defaults(declared.MODELS),
        "attention": declared.defaults(declared.MODELS / "attention"),
        "costs": {
            name: {"gflops": gflops, "parameters": parameters, "paper": mechanisms[name].get("paper", "")}
            for name, (gflops, parameters) in costs.items()
        },
    }
    if not args.json:
        print("networks:")
        for name, options in listed["networks"].items():
            print(f"  {name:<14}{_written(options)}")
        print(
            "attention: GFLOPs and parameters with 64 channels of query, key and value, 100x100 pixels; paper; options"
        )
        for name, options in listed["attention"].items():
            gflops, parameters = costs.get(name, (math.nan, 0))
            paper = mechanisms[name].get("paper", "(control)")
            print(f"  {name:<17}{gflops:>8.3f} {parameters:>8,}  {paper:<50} {_written(options)}".rstrip())
    return listed


def _written(options: dict[str, Any]) -> str:
    return ", ".join(f"{option}={value!r}" for option, value in options.items())


def _recount() -> None:
    from models import attention
    from sisr.config import declared
    from sisr.cost.measure import mechanism_cost
    from sisr.utils.files import atomic_write

    rows = [
        f"{name},{gflops:.6g},{parameters}"
        for name in attention.available()
        for gflops, parameters in [mechanism_cost(name)]
    ]
    with atomic_write(declared.MODELS / "attention" / "costs.csv") as temporary:
        temporary.write_text("\n".join(["mechanism,gflops,parameters", *rows, ""]), encoding="utf-8")
    declared.costs.cache_clear()
