"""How a mechanism or network is named on the command line: `name[:option=value,…]`."""

import ast
import re
from typing import Any

from sisr.utils.errors import UsageError

_OPTIONS = re.compile(r"^(?P<name>.+?):(?P<options>[A-Za-z_]\w*=.*)$", re.DOTALL)


def parse(spec: str) -> tuple[str, dict[str, Any]]:
    """`enlca:m=128,relevant=(0, 0.02)` as ("enlca", {"m": 128, "relevant": (0, 0.02)}).

    A colon without options behind it belongs to the name (`package.module:Class`, `file.py:Class:m=4`). Values are
    Python literals; anything else is a string. Raises UsageError where an option has no value or stands there twice.
    """
    found = _OPTIONS.match(spec)
    if not found:
        if not spec or spec.endswith((":", "=")):
            raise UsageError(f"{spec!r} is not name[:option=value,…]; for example enlca:m=128,k=6.")
        return spec, {}
    options: dict[str, Any] = {}
    for part in re.split(r",(?=\s*[A-Za-z_]\w*=)", found["options"]):
        key, _, text = part.strip().partition("=")
        if not text or key in options:
            raise UsageError(f"{spec!r}: the option {key} {'stands there twice' if text else 'has no value'}.")
        options[key] = value(text)
    return found["name"], options


def form(name: str, options: dict[str, Any]) -> str:
    """The spec that `parse` reads as this name and these options."""
    return name + ("" if not options else ":" + ",".join(f"{key}={item}" for key, item in options.items()))


def value(text: str) -> Any:
    """A Python literal, true, false or none in any case, or else the text itself."""
    if text.lower() in ("true", "false", "none", "null"):
        return {"true": True, "false": False}.get(text.lower())
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
