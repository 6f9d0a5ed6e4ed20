"""Verb `models`."""

import argparse
from typing import Any

HELP = "list the registered networks and attention mechanisms, with their options"
EXAMPLE = "python -m sisr models"


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(args: argparse.Namespace) -> dict[str, dict[str, dict[str, Any]]]:
    from sisr.config import declared  # not models: importing torch takes seconds

    listed = {
        "networks": declared.defaults(declared.MODELS),
        "attention": declared.defaults(declared.MODELS / "attention"),
    }
    if not args.json:
        for kind, constructors in listed.items():
            print(f"{kind}:")
            for name, options in constructors.items():
                print(f"  {name:<14}" + ", ".join(f"{option}={value!r}" for option, value in options.items()))
    return listed
