"""From what a YAML file or a command line holds to a valid configuration: one value, however it was written.

Everything that reads a preset goes through `read` and `check`: the workflow, `launch`, tests.
"""

import math
from pathlib import Path
from typing import Any

from sisr.config.mechanisms import read_value
from sisr.config.run import LARGEST
from sisr.config.schema import check_schema, printable, shown, violations
from sisr.utils import yaml_files
from sisr.utils.errors import UsageError
from sisr.utils.files import is_file

LONGEST = 1_000
"""Most items of a list or mapping."""


def read(file: Path) -> dict[str, Any]:
    """The preset in a file, not checked yet. Raises UsageError where there is no mapping in it."""
    if not is_file(file):
        raise UsageError(f"there is no preset at {file}; config/mini.yaml is one.")
    content = yaml_files.read(file)
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"is {shown(content)}"
        raise UsageError(f"{file} {what}; it must be a preset of `key: value`, see config/README.md.")
    return content


def plain(config: Any) -> dict[str, Any]:
    """A copy of a configuration in JSON's types, with text for keys.

    Raises UsageError for anything else: a number that is not finite, a value that contains itself.
    """
    if not isinstance(config, dict):
        raise UsageError(f"the configuration is {shown(config)}; it must be a mapping, see config/README.md.")
    copied: dict[str, Any] = _plain(config, "", [0])
    return copied


def check(config: Any) -> dict[str, Any]:
    """A valid configuration, with numbers where the schema requires them.

    config: as read, or as Snakemake merged it: `snakemake --config 'k_sweep={k: [1, 6]}'` passes all values within
    braces as text. Nothing in it is changed.
    Raises UsageError with one sentence, which names the key, for the first value that is not valid.
    """
    copied = plain(config)
    for key in ("attention_options", "network_options"):
        if isinstance(options := copied.get(key), dict):
            copied[key] = _numbers(options, key)
    for error in violations(copied):
        if error.validator == "type" and error.absolute_path:
            *parents, last = error.absolute_path
            part: Any = copied
            for parent in parents:
                part = part[parent]
            types: Any = error.validator_value
            part[last] = _typed(part[last], types, ".".join(map(str, error.absolute_path)))
    copied = plain(copied)  # a number that was text may be infinite
    check_schema(copied)
    return copied


def _plain(value: Any, where: str, count: list[int]) -> Any:
    """A copy in JSON's types. count: how many values there have been, for a configuration that contains itself."""
    count[0] += 1
    if count[0] > yaml_files.MOST or where.count(".") > yaml_files.DEEPEST:
        raise UsageError(f"the configuration has too many values, or too deep ones, at {shown(where)}.")
    if isinstance(value, dict | list) and len(value) > LONGEST:
        raise UsageError(f"{where or 'the configuration'} has {len(value)} values; it can have at most {LONGEST}.")
    match value:
        case dict():
            mapping = {}
            for key, item in value.items():
                name = _key(key, where)
                if name in mapping:
                    raise UsageError(
                        f"{_below(where, name)} is there twice, as a number and as text; keep one of them."
                    )
                mapping[name] = _plain(item, _below(where, name), count)
            return mapping
        case list():
            return [_plain(item, _below(where, str(number)), count) for number, item in enumerate(value)]
        case str():
            return _text(value, where)
        case float() if not math.isfinite(value):
            raise UsageError(f"{where} is {value}; it must be a finite number.")
        case int() if abs(value) > LARGEST:
            raise UsageError(f"{where} is {shown(value)}; it must be at most {LARGEST}.")
        case None | bool() | int() | float():
            return value
    raise UsageError(f"{where} is {shown(value)}; it must be text, a number, a list or a mapping.")


def _key(key: Any, where: str) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise UsageError(f"{where or 'the configuration'} has the key {shown(key)}; it must be text, put it in quotes.")
    return _text(str(key), where)


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{where} is {shown(value)}, which is not Unicode text.") from error
    if "\0" in value:
        raise UsageError(f"{where} is {shown(value)}, which holds a NUL character.")
    return value


def _below(where: str, name: str) -> str:
    return f"{where}.{printable(name)}" if where else printable(name)


def _numbers(value: Any, where: str) -> Any:
    """Text as the notation of mechanisms reads it, also within lists and mappings."""
    if isinstance(value, dict):
        return {key: _numbers(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item, f"{where}.{number}") for number, item in enumerate(value)]
    try:
        return read_value(value) if isinstance(value, str) else value
    except UsageError as error:
        raise UsageError(f"{where} {error}") from error


def _typed(value: Any, types: str | list[str], where: str) -> Any:
    """A value of another type than the schema requires, converted where nothing is lost."""
    wanted = {types} if isinstance(types, str) else set(types)
    if isinstance(value, str) and value.strip() and wanted & {"boolean", "integer", "null", "number"}:
        value = _numbers(value, where)
    whole = isinstance(value, float) and value.is_integer() and "integer" in wanted
    return int(value) if whole else value
