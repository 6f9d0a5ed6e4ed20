"""`python -m sisr comparison-page`: a comparison as one HTML file, to be mailed and opened without a network."""

import argparse
from pathlib import Path
from typing import Any

HELP = "write a comparison as one HTML page that holds everything and opens without a network"
EXAMPLE = "python -m sisr comparison-page --results results/quick"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "--results", type=Path, default=Path("results/quick"), help="folder of a preset (default: results/quick)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write the page from the table, the figures and the crops that are there."""
    from sisr.comparison import page

    path = page.write(args.results)
    if not args.json:
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return {"page": str(path), "bytes": path.stat().st_size}
