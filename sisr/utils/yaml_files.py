"""The only reader of YAML: UTF-8, JSON's types, no duplicate keys, and bounds that no preset comes near.

A file of a few lines can otherwise expand to gigabytes (aliases of aliases), contain itself, or hide a setting behind
a second one of the same name.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from sisr.utils.errors import UsageError

LARGEST = 1 << 18
"""Most bytes of a file or text."""
DEEPEST = 32
"""Most levels of nesting."""
MOST = 10_000
"""Most values, where an alias counts as all that it stands for."""

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times faster
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


class _Loader(_Parser):
    """YAML's types that JSON has; a date stays text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise _error(f"the key {key!r} is neither text nor a whole number; put it in quotes", key_node)
            if key in seen:
                raise _error(f"the key {key!r} is there twice; keep one of them", key_node)
            seen.add(key)


_Loader.yaml_constructors = {tag: make for tag, make in _Parser.yaml_constructors.items() if tag in _TAGS}
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)
_Loader.add_constructor(None, yaml.SafeLoader.construct_undefined)


def read(file: Path) -> Any:
    """The content of a YAML file: mappings, lists, text, numbers, booleans and None.

    Raises UsageError with one sentence where it is missing, not UTF-8, not YAML, ambiguous or out of bounds.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "such a name is not possible"
        raise UsageError(f"{file} cannot be read: {reason}.") from error
    try:
        # cut within a character: the length is refused below
        text = content.decode("utf-8-sig", errors="ignore" if len(content) > LARGEST else "strict")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8.") from error
    return parse(text, str(file))


def parse(text: str, name: str) -> Any:
    """The same of a text. name: what it is called in messages."""
    try:
        if len(text.encode("utf-8", errors="replace")) > LARGEST:
            raise _error(f"it has more than {LARGEST >> 10} KiB")
        _check_bounds(text)
        return yaml.load(text, Loader=_Loader)  # the loader is a safe one
    except yaml.YAMLError as error:
        raise UsageError(f"{name} is not valid YAML: {_sentence(error)}.") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        # `!!int text`, or a number of thousands of digits
        raise UsageError(f"{name} is not valid YAML: it has a value that does not have its type.") from error


def _check_bounds(text: str) -> None:
    """Count depth and values without building anything."""
    sizes: dict[str | None, tuple[int, int]] = {}
    """Of each anchor: number of values, and levels."""
    open_: list[list[Any]] = [[None, 0, 0]]
    """Of each enclosing list or mapping: anchor, values and levels so far."""
    for event in yaml.parse(text, Loader=_Parser):
        match event:
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                open_.append([event.anchor, 1, 0])
                values, levels = 0, 0
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                anchor, values, levels = open_.pop()
                sizes[anchor] = values, levels
                levels += 1
            case yaml.ScalarEvent():
                sizes[event.anchor] = values, levels = 1, 0
            case yaml.AliasEvent():
                if any(anchor == event.anchor for anchor, _, _ in open_):
                    raise _error(f"*{event.anchor} contains itself", event)
                values, levels = sizes.get(event.anchor, (1, 0))
                levels += 1
            case _:
                continue
        open_[-1][1] += values
        open_[-1][2] = max(open_[-1][2], levels)
        if len(open_) + open_[-1][2] - 1 > DEEPEST:
            raise _error(f"it is nested more than {DEEPEST} levels deep", event)
        if sum(values for _, values, _ in open_) > MOST:
            raise _error(f"it has more than {MOST} values", event)


def _error(problem: str, where: Any = None) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=getattr(where, "start_mark", None))


def _sentence(error: yaml.YAMLError) -> str:
    """`line 3: the problem`, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError):  # a character that YAML does not allow
        reason = getattr(error, "reason", "") or str(error)
        return " ".join(str(reason).split())
    line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
    return line + " ".join(str(error.problem or error.context or "it cannot be read").split())
