"""Verb `models`."""

import argparse
from typing import Any

HELP = "list the registered networks and attention mechanisms, with their options"
EXAMPLE = "python -m sisr models"


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Names of everything that can be created."""
    import models

    listed = {"networks": models.available(), "attention": models.attention.available()}
    if not args.json:
        for title, names in listed.items():
            print(f"{title}: {', '.join(names)}")
    return listed
