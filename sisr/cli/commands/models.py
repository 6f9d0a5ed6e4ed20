"""Verb `models`."""

import argparse
from typing import Any

HELP = "list the registered networks and attention mechanisms, with their options"
EXAMPLE = "python -m sisr models"


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(args: argparse.Namespace) -> dict[str, dict[str, dict[str, Any]]]:
    from models import attention, registry
    from models.attention._registry import resolve

    listed = {
        "networks": {name: resolve(registry.find(name), {}) for name in registry.available()},
        "attention": {name: resolve(attention._registry.find(name), {}) for name in attention.available()},
    }
    if not args.json:
        for kind, constructors in listed.items():
            print(f"{kind}:")
            for name, options in constructors.items():
                print(f"  {name:<14}" + ", ".join(f"{option}={value!r}" for option, value in options.items()))
    return listed
