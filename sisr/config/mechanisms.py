"""The mechanisms that a comparison names: registered ones, own classes in packages and files, with options.

Own code is looked at, never run: the workflow is planned without torch, and a plan must not execute anything.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sisr.config import specs
from sisr.config.own_code import source
from sisr.config.schema import nearest
from sisr.utils.errors import UsageError

REFERENCE = "enlca"
"""The mechanism that the others are compared with unless another is named."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One mechanism of a comparison."""

    label: str
    """Short and unique: `enlca`, `enlca k=4`, `MyAttention`."""
    attention: str | None
    """Registered name, `package.module:Class` or `file.py:Class`; None for the backbone without attention."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options over those of the preset."""


def read(listed: Sequence[Any], known: Sequence[str], root: Path = Path()) -> tuple[Entry, ...]:
    """Entries of a list as it stands in a configuration.

    listed: each a name, `name:option=value,…`, or a mapping with `name`, perhaps `label`, and options.
    known: registered names. root: folder that paths of files and packages are relative to.
    Raises UsageError with one sentence: fewer than two, an unknown name, a file or class that is not there, a file that
    is not Python, two entries with the same label.
    """
    if len(listed) < 2:
        raise UsageError(
            f"a comparison needs at least two mechanisms, and attention names {len(listed)}; "
            "for example attention=[enlca, nlsa]."
        )
    found = [_entry(item) for item in listed]
    for entry in found:
        check(entry.attention, known, root)
    for index, entry in enumerate(found):
        if entry.label in [other.label for other in found[:index]]:
            raise UsageError(
                f"the comparison has two entries called {entry.label!r}; "
                "take one out, or give it a name of its own: {name: …, label: …}."
            )
    return tuple(found)


def reference(entries: Sequence[Entry], label: str | None) -> str:
    """Label of the entry that the others are compared with: the one named, ENLCA, or the first.

    Raises UsageError where the comparison has no entry of that label.
    """
    labels = [entry.label for entry in entries]
    if label is not None:
        if label not in labels:
            raise UsageError(f"the reference {label!r} is not in the comparison; {nearest(label, labels)}")
        return label
    return next((entry.label for entry in entries if entry.attention == REFERENCE), labels[0])


def check(attention: str | None, known: Sequence[str], root: Path = Path()) -> None:
    """Raise UsageError with one sentence where a mechanism cannot be there: by its name, file, module and class."""
    if attention is None or attention in known:
        return
    if ":" not in attention:
        if attention.endswith(".py"):
            raise UsageError(f"{attention} names no class; write {attention}:Class.")
        hint = f"{nearest(attention, list(known))} Your own is given as package.module:Class or file.py:Class."
        raise UsageError(f"there is no attention {attention!r}; {hint}")
    file, name = source(attention, root), attention.rpartition(":")[2]
    if file is None:
        raise UsageError(f"the module of {attention} was not found; give package.module:Class or file.py:Class.")
    if not (root / file).is_file():
        raise UsageError(f"there is no file {file}, which {attention} names.")
    if file.suffix != ".py":
        return  # a compiled module: what it defines shows when it is imported
    defined = _defined(root / file)
    if defined is not None and name not in defined:
        raise UsageError(f"{file} defines no {name}; {nearest(name, defined) if defined else 'it defines nothing.'}")


def _entry(item: Any) -> Entry:
    if isinstance(item, str):
        name, options = specs.parse(item)
        label = None
    elif isinstance(item, dict) and isinstance(item.get("name"), str):
        options = {key: specs.value(v) if isinstance(v, str) else v for key, v in item.items()}
        name, label = item["name"], item.get("label")
        options = {key: value for key, value in options.items() if key not in ("name", "label")}
    else:
        raise UsageError(f"{item!r} names no mechanism; write a name, or {{name: enlca, k: 4}}.")
    if name == "none" and options:
        raise UsageError(f"no attention has no option {min(options)!r}; leave it out.")
    if "k" in options and isinstance(options["k"], int):
        options["k"] = float(options["k"])  # 6 and 6.0 are one amplification factor, and one run
    words = [name.rpartition(":")[2] or name, *(f"{key}={_short(value)}" for key, value in options.items())]
    return Entry(
        label=str(label) if label else " ".join(words), attention=None if name == "none" else name, options=options
    )


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _defined(file: Path) -> list[str] | None:
    """Names that a module binds at its top level, classes first; None where a star import hides some."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8"), filename=str(file)).body
    except SyntaxError as error:
        raise UsageError(f"{file} is not Python: line {error.lineno}: {error.msg}.") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{file} is not Python: {error}.") from error
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
