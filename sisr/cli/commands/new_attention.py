"""Verb `new-attention`."""

import argparse
from pathlib import Path
from typing import Any

HELP = "create a custom attention mechanism from a working template"
EXAMPLE = "python -m sisr new-attention my_attention"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the mechanism: my_attention or MyAttention")
    parser.add_argument(
        "--output", type=Path, default=Path(), metavar="PATH", help="the file (ends in .py), or its folder [this one]"
    )
    parser.add_argument(
        "--free",
        action="store_true",
        help="any module from (B, C, H, W) to the same shape, without query, key and value",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.cli import attention_template

    file, spec = attention_template.write(args.name, args.output, args.free)
    check, compare = attention_template.check_command(spec), attention_template.compare_command(spec)
    if not args.json:
        where = "forward" if args.free else "attend"
        print(f"wrote {file}: implement the mechanism in the method {where} of class {spec.rpartition(':')[2]}.")
        print(f"check it after every change:\n  {check}")
        print(f"compare it with ENLCA:\n  {compare}")
    return {"file": str(file), "attention": spec, "check": check, "compare": compare}
