"""`sisr VERB …` or `python -m sisr VERB …`: one verb, one module in `sisr.cli.commands`, imported when it is called."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NoReturn

from sisr import __version__
from sisr.utils.errors import SisrError, UsageError

COMMANDS = Path(__file__).with_name("commands")
RENAMED = {
    "checks": ["reference-checks"],
    "comparison-check": ["compare", "check"],
    "comparison-crops": ["compare", "crops"],
    "comparison-figures": ["compare", "figures"],
    "comparison-page": ["compare", "page"],
}
"""Names of verbs in version 0.1; they work in this version, and no help lists them."""


@dataclass(frozen=True)
class Subcommand:
    """What follows a verb. A verb lists its own as `SUBCOMMANDS`; without one on the command line, the first is run."""

    help: str
    example: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Any]


def verbs() -> list[str]:
    """Names of all verbs, sorted."""
    return sorted(module.name.replace("_", "-") for module in iter_modules([str(COMMANDS)]))


class _Parser(argparse.ArgumentParser):
    """argparse with a one-sentence error message instead of the usage block."""

    subcommands: tuple[str, ...] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        if self.subcommands and (not words or words[0].startswith("-")) and words[:1] not in (["-h"], ["--help"]):
            words.insert(0, self.subcommands[0])
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _command(verb: str) -> ModuleType:
    return import_module(f"sisr.cli.commands.{verb.replace('-', '_')}")


def parser(verb: str) -> argparse.ArgumentParser:
    """The parser of a verb, with its subcommands."""
    command = _command(verb)
    main_parser = _Parser(prog=f"sisr {verb}", **_described(command.HELP, command.EXAMPLE))
    if not hasattr(command, "SUBCOMMANDS"):
        return _filled(main_parser, command.configure, command.run)
    main_parser.subcommands = tuple(command.SUBCOMMANDS)
    group = main_parser.add_subparsers(metavar="SUBCOMMAND", title="subcommands")
    for name, part in command.SUBCOMMANDS.items():
        _filled(group.add_parser(name, help=part.help, **_described(part.help, part.example)), part.configure, part.run)
    return main_parser


def _described(help_: str, example: str) -> dict[str, Any]:
    layout = argparse.RawDescriptionHelpFormatter
    return {"description": help_, "epilog": f"example:\n  {example}", "formatter_class": layout}


def _filled(
    parser_: argparse.ArgumentParser,
    configure: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], Any],
) -> argparse.ArgumentParser:
    configure(parser_)
    parser_.add_argument("--json", action="store_true", help="print the result as JSON, for machines")
    parser_.set_defaults(run=run, prog=parser_.prog)
    return parser_


def _overview() -> str:
    lines = ["usage: sisr VERB …   (sisr VERB --help explains one; python -m sisr is the same)", ""]
    width = max(map(len, verbs()))
    for verb in verbs():
        lines.append(f"  {verb:<{width}}  {_command(verb).HELP}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Exit status: 0, 1 (the work failed) or 2 (the call is wrong); 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        _replace_unprintable(stream)
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            return _run(words)
        finally:  # also after SystemExit, by which argparse ends
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe, such as head, has ended
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at exit
        return 1


def _replace_unprintable(stream: Any) -> None:
    """Print characters that a terminal's encoding does not have as question marks."""
    unicode = str(stream.encoding).lower().replace("-", "") == "utf8"
    if hasattr(stream, "reconfigure") and not (unicode and stream.errors == "surrogateescape"):
        stream.reconfigure(errors="replace")


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        print(__version__)
        return 0
    words = [*RENAMED.get(words[0], words[:1]), *words[1:]]
    if words[0] not in verbs():
        close = get_close_matches(words[0], verbs(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(verbs())}."
        print(f"sisr: no verb {words[0]!r}; {hint}", file=sys.stderr)
        return 2
    prog = f"sisr {words[0]}"
    try:
        args = parser(words[0]).parse_args(words[1:])
        prog = args.prog
        result = args.run(args)
        if args.json:
            print(json.dumps(result, indent=2, allow_nan=False))
    except UsageError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except SisrError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    except SystemExit as stopped:  # argparse has printed what is wrong
        if stopped.code != 2:
            raise
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        if not (reason := _of_machine(error) or _of_custom_code(error)):
            raise
        print(f"{prog}: {reason}", file=sys.stderr)
        return 1
    return int(getattr(args, "exit_status", 0))  # set by verbs whose result is a failure


def _of_custom_code(error: BaseException) -> str:
    """A sentence for an error in a network or mechanism of the user's own, "" for any other."""
    if "models.attention" in sys.modules:
        from models.attention._errors import in_custom_code, sentence

        if in_custom_code(error):
            return f"{sentence(error)}."
    return ""


def _of_machine(error: BaseException) -> str:
    """A sentence for an error of the disk or a lack of memory, "" for an error in the code."""
    if isinstance(error, OSError) and error.errno is not None:
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror}."
    if isinstance(error, MemoryError):
        return "there is not enough memory."
    if "torch" in sys.modules:
        from sisr.utils.memory import is_shortage

        if is_shortage(error):
            return "there is not enough memory; use a smaller size, tiles or another device."
    return ""
