"""Validation of a configuration, with one-sentence errors.

jsonschema is optional on machines that only train: without it, the configuration is not validated.
"""

from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sisr.config.layout import REPOSITORY
from sisr.utils.errors import UsageError
from sisr.utils.imports import without

if TYPE_CHECKING:
    import jsonschema

SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"

_LIMITS = {"exclusiveMinimum": "above", "minimum": "at least", "maximum": "at most", "exclusiveMaximum": "below"}


def check_schema(config: dict[str, Any], schema_file: Path = SCHEMA) -> None:
    """Raise UsageError for the first violation of the schema."""
    errors = _errors(config, schema_file)
    if errors:
        raise UsageError(_sentence(min(errors, key=lambda error: list(map(str, error.absolute_path)))))


def from_command_line(config: dict[str, Any], schema_file: Path = SCHEMA) -> dict[str, Any]:
    """The configuration with strings converted to numbers and booleans where the schema requires them.

    `snakemake --config 'k_sweep={k: [1, 6]}'` passes all values within braces as strings.
    """
    config = {**config, "attention_options": _plain(config.get("attention_options", {}))}
    for error in _errors(config, schema_file):
        if isinstance(error.instance, str | list | dict) and error.absolute_path:
            *parents, last = error.absolute_path
            part: Any = config
            for parent in parents:
                part = part[parent]
            part[last] = _plain(error.instance)
    return config


def _plain(value: Any) -> Any:
    """Convert strings to numbers and booleans, also within lists and mappings."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, str):
        return value
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(value.lower(), value)


def nearest(word: str, known: list[str]) -> str:
    """`did you mean X?` if a name is similar, else the list of names."""
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}."


def can_check() -> bool:
    """Whether jsonschema is installed; without it, configurations are not validated."""
    return find_spec("jsonschema") is not None


def _errors(config: dict[str, Any], schema_file: Path) -> "list[jsonschema.ValidationError]":
    """Violations of the schema; none if jsonschema is missing."""
    if not can_check():
        return []
    # an optional parser of international addresses, which takes a second to load and which no schema here uses
    with without("rfc3987_syntax"):
        import jsonschema

    return list(jsonschema.Draft202012Validator(yaml.safe_load(schema_file.read_text())).iter_errors(config))


def _sentence(error: "jsonschema.ValidationError") -> str:
    where = ".".join(str(part) for part in error.absolute_path)
    value: Any = error.instance
    bound: Any = error.validator_value
    schema: Any = error.schema
    match error.validator:
        case "additionalProperties":
            known = list(schema["properties"])
            unknown = next(key for key in value if key not in known)
            name = f"{where}.{unknown}" if where else unknown
            return f"the configuration has an unknown key {name!r}; {nearest(str(unknown), known)}"
        case "required":
            missing = next(key for key in bound if key not in value)
            name = f"{where}.{missing}" if where else missing
            return f"the configuration lacks the key {name!r}; config/README.md explains it."
        case "enum":
            return f"{where} is {value!r}; {nearest(str(value), [str(item) for item in bound])}"
        case "exclusiveMinimum" | "minimum" | "maximum" | "exclusiveMaximum" as limit:
            return f"{where} is {value}; it must be {_LIMITS[limit]} {bound}."
        case "type":
            return f"{where or 'the configuration'} is {value!r}; it must be of type {bound}."
        case "minItems":
            return f"{where} has {len(value)} values; it needs at least {bound}."
        case "uniqueItems":
            return f"{where} contains a duplicate: {value}."
    return f"{where or 'the configuration'} does not match the schema: {error.message}."
