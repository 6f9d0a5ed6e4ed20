"""`python -m sisr comparison-check`: try mechanisms in their networks before anything is trained."""

import argparse
from typing import Any

HELP = "try own mechanisms in their networks, in seconds, before anything is trained"
EXAMPLE = "python -m sisr comparison-check 'edsr:blocks=1,channels=8,attention=my_attention.py:MyAttention,slots=(0,)'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("networks", nargs="+", metavar="SPEC", help="network with its attention: name:option=value,…")


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Try and print."""
    from sisr.training import smoke_test

    rows = smoke_test.run(args.networks)
    if not args.json:
        print("\n".join(f"works: {row['spec']}" for row in rows))
    return rows
