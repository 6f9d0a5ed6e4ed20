"""`python -m sisr comparison-figures`: differences, gain over cost, and cost over image size."""

import argparse
from pathlib import Path
from typing import Any

HELP = "draw a comparison: differences with intervals, PSNR over cost, cost over image size"
EXAMPLE = "python -m sisr comparison-figures --results results/quick"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "--results", type=Path, default=Path("results/quick"), help="folder of a preset (default: results/quick)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Draw the figures from the table and the costs."""
    from sisr.comparison import figures

    paths = [str(path) for path in figures.write(args.results)]
    if not args.json:
        print("\n".join(paths))
    return {"files": paths}
