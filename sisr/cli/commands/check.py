"""Verb `check`."""

import argparse
from collections.abc import Sequence
from typing import Any

from sisr.cli import arguments
from sisr.utils.errors import SisrError, UsageError

HELP = "check that an attention mechanism meets all requirements, one line a check"
EXAMPLE = "python -m sisr check my_attention.py:MyAttention"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="registered name, package.module:Class or file.py:Class; options follow a colon: enlca:k=4,m=64",
    )
    parser.add_argument("--all", action="store_true", help="check every registered mechanism")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the mechanism; repeatable"
    )
    parser.add_argument(
        "--channels", type=arguments.whole(1, 65536), metavar="N", default=64, help="channels of the feature map [64]"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="run these checks only")
    parser.add_argument("--quick", action="store_true", help="skip the check that needs a C++ compiler")


def run(args: argparse.Namespace) -> list[dict[str, str]]:
    """Raises UsageError for a wrong call, SisrError when a check failed or the code cannot be imported."""
    from models import attention
    from models.attention import checks

    if bool(args.names) == args.all:
        raise UsageError(f"name a mechanism, or give --all for every registered one; for example: {EXAMPLE}.")
    wanted = _wanted(list(checks.CHECKS), args.only, checks.SLOW if args.quick else set())
    builders = {name: _builder(name, args) for name in (attention.available() if args.all else args.names)}
    rows = []
    width = max(map(len, wanted))
    for name, build in builders.items():
        if not args.json:
            print(f"{name}, {args.channels} channels:")
        for result in checks.run(build, args.channels, wanted):
            message = result.message or checks.about(result.check)
            note = result.note
            if result.check == "flops" and result.status == "passed":
                note = note or _uncounted(build, args.channels)
            row = {"mechanism": name, "check": result.check, "status": result.status, "message": message, "note": note}
            rows.append(row)
            if not args.json:
                status = result.status.upper() if result.status == "failed" else result.status
                print(f"  {status:<8}{result.check:<{width + 2}}{message}", flush=True)
                if note:
                    print(f"  {'note':<8}{result.check:<{width + 2}}{note}", flush=True)
    count = {status: sum(row["status"] == status for row in rows) for status in ("passed", "skipped", "failed")}
    if not args.json:
        print(", ".join(f"{number} {status}" for status, number in count.items() if number) + ".")
    args.exit_status = 1 if count["failed"] else 0
    return rows


def _uncounted(build: Any, channels: int) -> str:
    """A note on what may multiply and is not counted in the operations; blank where the count is complete."""
    import torch

    from sisr.cost import measure

    height, width = 48, 48
    with torch.no_grad():
        counted = measure.count_operations(build().eval(), torch.rand(1, channels, height, width))
    if not counted.at_least:
        return ""
    advice = "; torch.utils.flop_counter.register_flop_formula gives a custom operator its count"
    return (
        f"at least {2 * counted.multiply_adds / 1e9:.3g} GFLOP on a {height}x{width} feature map: {counted.at_least} "
        f"may multiply and cannot be counted{advice if '::' in counted.at_least else ''}"
    )


def _wanted(known: list[str], only: Sequence[str], left_out: set[str]) -> list[str]:
    from sisr.config.schema import nearest

    for name in only:
        if name not in known:
            raise UsageError(f"there is no check {name!r}; {nearest(name, known)}")
    return [name for name in known if (not only or name in only) and name not in left_out]


def _builder(spec: str, args: argparse.Namespace) -> Any:
    """A function that builds the mechanism, after building it once to report errors in the call or the code."""
    import torch

    from models import attention
    from models.attention._errors import CRASHES, BrokenCodeError, sentence
    from sisr.config.mechanisms import Mechanism, read_option

    for option in args.option:
        if args.all or "=" not in option:
            raise UsageError(f"--option {option} is not NAME=VALUE of one mechanism; for example --option k=4.")
    mechanism = Mechanism.parse(spec)
    name, options = mechanism.name, {**mechanism.options, **dict(map(read_option, args.option))}

    def build() -> Any:
        torch.manual_seed(0)
        return attention.create(name, args.channels, **options)

    try:
        build()
    except BrokenCodeError as error:
        raise SisrError(f"{error}.") from error
    except ValueError as error:
        raise UsageError(f"{str(error).rstrip('.')}.") from error
    except CRASHES as error:
        hint = "; its constructor must take channels, and options after a *" if isinstance(error, TypeError) else ""
        raise SisrError(f"{name} cannot be built: {sentence(error)}{hint}.") from error
    return build
