"""How an attention mechanism, or a network, is written with its options: `NAME:option=value,option=value`.

    enlca                                   a registered name
    enlca:k=4,relevant=[0,0.02]             with options; a value is JSON
    my_attention.py:MyAttention:chunk=64    a class in a file
    package.module:MyAttention              a class in a package

This is the only parser of that notation: the command line, presets and the tables use it. A value is JSON; `True`,
`False`, `None` and `none` are read as JSON's `true`, `false` and `null`; any other text is a string. A string that
contains `, word=` is quoted, as in JSON.

Custom code is read and never run: the workflow is planned without torch, and a plan must not execute anything.
"""

import ast
import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sisr.config.declared import check_options, paper
from sisr.config.schema import nearest, shown
from sisr.utils.errors import UsageError
from sisr.utils.files import is_file

_NAME = re.compile(r"(?P<name>.+?):(?P<options>[^\W\d]\w*=.*)", re.DOTALL)
_OPTION = re.compile(r"\s*([^\W\d]\w*)=")
_NEXT = re.compile(r"\s*(?:,(?=\s*[^\W\d]\w*=)|$)")
_WORDS = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True)
class Mechanism:
    """A mechanism or network and its options."""

    name: str
    """Registered name, `file.py:Class` or `package.module:Class`; `none` is the backbone without attention."""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Mechanism":
        """Inverse of `str`. Raises UsageError with one sentence where an option has no value or is given twice.

        Options begin behind the first colon that `word=` follows, so paths may contain colons (`C:\\mine.py:Class`).
        """
        match = _NAME.fullmatch(text)
        if match is None:
            if not text or text.endswith((":", "=")):
                raise UsageError(f"{text!r} is not NAME:option=value,…; for example enlca:m=128,k=6.")
            return cls(text)
        options: dict[str, Any] = {}
        rest = match["options"]
        while rest:
            key = _OPTION.match(rest)
            if key is None or key[1] in options:
                raise UsageError(f"{text!r}: the option {key[1] if key else rest} is given twice.")
            try:
                options[key[1]], rest = _first_value(rest[key.end() :])
            except UsageError as error:
                raise UsageError(f"{text!r}: the option {key[1]} {error}") from error
        return cls(match["name"], options)

    def __str__(self) -> str:
        """The text that `parse` reads as this."""
        return ":".join([self.name, *([",".join(write_options(self.options))] if self.options else [])])

    @property
    def attention(self) -> str | None:
        """The name, None for the backbone without attention."""
        return None if self.name == "none" else self.name

    @property
    def label(self) -> str:
        """Short: `enlca k=4`, `MyAttention`."""
        name = self.name.rpartition(":")[2] or self.name
        shown = (
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in self.options.items()
        )
        return " ".join([name, *shown])

    def check(self, registered: Collection[str], root: Path = Path(), kind: str = "attention") -> None:
        """Raise UsageError with one sentence where it cannot exist: name, file, module and class are looked up.

        registered: names of the registered mechanisms, or networks. root: folder that paths of files and packages are
        relative to. kind: what it is, for messages.
        """
        name = self.name
        if name == "none" or name in registered:
            return
        if name.endswith(".py"):
            raise UsageError(f"{name} names no class; write {name}:Class.")
        if ":" not in name:
            hint = f"{nearest(name, list(registered))} Your own is given as package.module:Class or file.py:Class."
            raise UsageError(f"there is no {kind} {name!r}; {hint}")
        location, _, class_name = name.rpartition(":")
        if not class_name.isidentifier() or not (location.endswith(".py") or _is_module(location)):
            raise UsageError(f"{shown(name)} names no class; write package.module:Class or file.py:Class.")
        file = source(name, root)
        if file is None:
            raise UsageError(f"the module of {name} was not found; give package.module:Class or file.py:Class.")
        if not is_file(root / file):
            raise UsageError(f"there is no file {file}, which {name} names.")
        if file.suffix != ".py":
            return  # a compiled module: what it defines shows when it is imported
        defined = _defined(root / file)
        if defined is not None and class_name not in defined:
            there = nearest(class_name, defined) if defined else "it defines nothing."
            raise UsageError(f"{file} defines no {class_name}; {there}")


def is_custom(name: str) -> bool:
    """Whether a name is that of a class in a file or package, `file.py:Class` or `package.module:Class`."""
    return ":" in name or name.endswith(".py")


def read_value(text: str) -> Any:
    """The value of an option. Raises UsageError where it is empty, or begins like a list but is not JSON."""
    word = text.strip()
    if not word:
        raise UsageError("has no value.")
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    readers: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)
    for reader in readers:  # version 0.1 wrote lists as Python does: (0, 0.02)
        try:
            return json.loads(json.dumps(reader(word), allow_nan=False))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    if word[0] in '[{"':
        raise UsageError(f"is {text!r}, which is not JSON; write a list as [0, 4] and a text as it is.")
    return text


def read_option(word: str) -> tuple[str, Any]:
    """`NAME=VALUE` as name and value, where one word of the command line holds one option."""
    key = _OPTION.match(word)
    if key is None:
        raise UsageError(f"{word!r} is not an option; write it as name=value, for example k=6.")
    try:
        return key[1], read_value(word[key.end() :])
    except UsageError as error:
        raise UsageError(f"the option {key[1]} {error}") from error


def write_options(options: Mapping[str, Any]) -> list[str]:
    """Words that `read_option` reads, in the options' order."""
    return [f"{key}={json.dumps(value)}" for key, value in options.items()]


def compared(listed: Sequence[Any], registered: Collection[str], root: Path = Path()) -> dict[str, Mechanism]:
    """Mechanisms of a comparison by their labels, from the list in a configuration.

    listed: each in the notation of this module, or a mapping with `name`, perhaps `label`, and options.
    Raises UsageError with one sentence: fewer than two, two with the same label, or one that cannot exist.
    """
    if len(listed) < 2:
        raise UsageError(
            f"a comparison needs at least two mechanisms, and attention names {len(listed)}; "
            "for example attention=[enlca, nlsa]."
        )
    by_label: dict[str, Mechanism] = {}
    for number, item in enumerate(listed):
        mechanism, label = _entry(item)
        mechanism.check(registered, root)
        check_options(mechanism.name, mechanism.options, f"attention.{number}")
        if label in by_label:
            raise UsageError(
                f"the comparison has two entries called {label!r}; "
                "take one out, or give it a name of its own: {name: …, label: …}."
            )
        by_label[label] = mechanism
    return by_label


def reference(mechanisms: Mapping[str, Mechanism], label: str | None) -> str:
    """Label that the others are compared with: the one named, the paper's mechanism, or the first.

    Raises UsageError where the comparison has none of that label.
    """
    if label is not None:
        if label not in mechanisms:
            raise UsageError(f"the reference {label!r} is not in the comparison; {nearest(label, list(mechanisms))}")
        return label
    return next(
        (each for each, entry in mechanisms.items() if entry.name == paper()["MECHANISM"]),
        next(iter(mechanisms)),
    )


def source(name: str | None, root: Path = Path()) -> Path | None:
    """The file that holds the class of `package.module:Class` or `file.py:Class`, relative to `root` where it is below.

    None for a registered name and for a module that is nowhere on the path. Nothing is imported.
    """
    location, _, _ = (name or "").rpartition(":")
    if location.endswith(".py"):
        return Path(location)
    if not _is_module(location):
        return None
    parts = location.split(".")
    for folder in (root, *map(Path, sys.path)):
        for file in (folder.joinpath(*parts).with_suffix(".py"), folder.joinpath(*parts, "__init__.py")):
            if is_file(file):
                return file.relative_to(root) if folder == root else file
    return None


def _is_module(location: str) -> bool:
    return all(part.isidentifier() for part in location.split("."))


def _first_value(text: str) -> tuple[Any, str]:
    """The value that options begin with, and the options behind it."""
    start = len(text) - len(text.lstrip())
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
        if follows := _NEXT.match(text, end):
            return read_value(text[:end]), text[follows.end() :]
    except (ValueError, RecursionError):
        pass
    follows = _NEXT.search(text)
    assert follows is not None  # it matches the end
    return read_value(text[: follows.start()]), text[follows.end() :]


def _entry(item: Any) -> tuple[Mechanism, str]:
    if isinstance(item, str):
        mechanism, label = Mechanism.parse(item), None
    elif isinstance(item, dict) and isinstance(item.get("name"), str):
        options = {
            key: read_value(v) if isinstance(v, str) else v for key, v in item.items() if key not in ("name", "label")
        }
        mechanism, label = Mechanism(item["name"], options), item.get("label")
    else:
        raise UsageError(f"{shown(item)} names no mechanism; write a name, or {{name: enlca, k: 4}}.")
    if mechanism.name == "none" and mechanism.options:
        raise UsageError(f"no attention has no option {min(mechanism.options)!r}; leave it out.")
    mechanism = replace(mechanism, options=float_k(mechanism.options))
    return mechanism, str(label) if label else mechanism.label


def float_k(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with 6 as 6.0 for k: they are one amplification factor, and one run."""
    k = options.get("k")
    return {**options, **({"k": float(k)} if type(k) is int and abs(k) < 2**53 else {})}


def _defined(file: Path) -> list[str] | None:
    """Names that a module binds at its top level, classes first; None where a star import hides some."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8"), filename=str(file)).body
    except SyntaxError as error:
        raise UsageError(f"{file} is not Python: line {error.lineno}: {error.msg}.") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{file} cannot be read as Python: {error}.") from error
    names = list(_bound(body))
    return None if "*" in names else names


def _bound(body: Sequence[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.If(body=inner, orelse=other):
                yield from _bound([*inner, *other])
            case ast.Try(body=inner, orelse=other, handlers=handlers):
                yield from _bound([*inner, *other, *(node for handler in handlers for node in handler.body)])
