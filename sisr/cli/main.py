"""`python -m sisr VERB …`: one verb, one module in `sisr.cli.commands`, imported only when it is called."""

import argparse
import json
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import NoReturn

from sisr import __version__
from sisr.utils.errors import SisrError, UsageError

COMMANDS = Path(__file__).with_name("commands")


def verbs() -> list[str]:
    """Names of all verbs, sorted."""
    return sorted(module.name.replace("_", "-") for module in iter_modules([str(COMMANDS)]))


class _Parser(argparse.ArgumentParser):
    """argparse with a one-sentence error message instead of the usage block."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _command(verb: str) -> ModuleType:
    return import_module(f"sisr.cli.commands.{verb.replace('-', '_')}")


def _parser(verb: str) -> argparse.ArgumentParser:
    command = _command(verb)
    parser = _Parser(
        prog=f"sisr {verb}",
        description=command.HELP,
        epilog=f"example:\n  {command.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.configure(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=command.run)
    return parser


def _overview() -> str:
    lines = ["usage: python -m sisr VERB …   (details: python -m sisr VERB --help)", ""]
    width = max(map(len, verbs()))
    for verb in verbs():
        lines.append(f"  {verb:<{width}}  {_command(verb).HELP}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Exit status: 0, 1 (the work failed) or 2 (the call is wrong)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        print(__version__)
        return 0
    if words[0] not in verbs():
        close = get_close_matches(words[0], verbs(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(verbs())}."
        print(f"sisr: no verb {words[0]!r}; {hint}", file=sys.stderr)
        return 2
    try:
        args = _parser(words[0]).parse_args(words[1:])
        result = args.run(args)
        if args.json:
            print(json.dumps(result, indent=2, allow_nan=False))
    except UsageError as error:
        print(f"sisr {words[0]}: {error}", file=sys.stderr)
        return 2
    except SisrError as error:
        print(f"sisr {words[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"sisr {words[0]}: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    return int(getattr(args, "exit_status", 0))  # set by verbs whose result is a failure
