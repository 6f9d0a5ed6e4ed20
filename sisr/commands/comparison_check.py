"""`python -m sisr comparison-check`: try mechanisms in their networks before anything is trained."""

import argparse
from pathlib import Path
from typing import Any

HELP = "try own mechanisms in their networks, in seconds, before anything is trained"
EXAMPLE = "python -m sisr comparison-check 'edsr:blocks=1,channels=8,attention=my_attention.py:MyAttention,slots=(0,)'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("networks", nargs="*", metavar="SPEC", help="network with its attention: name:option=value,…")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.json", help="write what was tried, with SHA-256 of its files"
    )


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Try, write, print."""
    rows: list[dict[str, Any]] = []
    if args.networks:  # torch is imported only if there is something to try
        from sisr.comparison import trial

        rows = trial.run(args.networks)
    if args.output:
        import json

        from sisr.files import atomic_write

        with atomic_write(args.output) as temporary:
            temporary.write_text(json.dumps(rows, indent=1) + "\n")
    if not args.json:
        print("\n".join(f"works: {row['spec']}" for row in rows) or "no mechanism of one's own to try.")
    return rows
