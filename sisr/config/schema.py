"""Validation of a configuration, with one-sentence errors.

jsonschema is optional on machines that only train: without it, only the sections of a configuration are looked for.
"""

from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sisr.config.layout import REPOSITORY
from sisr.utils import yaml_files
from sisr.utils.errors import UsageError
from sisr.utils.imports import without

if TYPE_CHECKING:
    import jsonschema

SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"

_TYPES = {
    "array": "list",
    "boolean": "boolean (true or false)",
    "integer": "integer",
    "null": "null",
    "number": "number",
    "object": "mapping",
    "string": "text",
}
_LIMITS = {"exclusiveMinimum": "above", "minimum": "at least", "maximum": "at most", "exclusiveMaximum": "below"}


def check_schema(config: dict[str, Any], schema_file: Path = SCHEMA) -> None:
    """Raise UsageError for the first violation of the schema; without jsonschema, for a missing section only."""
    if not can_check():
        schema = yaml_files.read(schema_file)
        for name in schema["required"]:
            if name not in config or (schema["properties"][name].get("type") == "object") > isinstance(
                config[name], dict
            ):
                raise UsageError(f"the configuration lacks the section {name!r}; config/README.md explains it.")
    if found := violations(config, schema_file):
        raise UsageError(_sentence(min(found, key=lambda error: list(map(str, error.absolute_path)))))


def violations(config: dict[str, Any], schema_file: Path = SCHEMA) -> "list[jsonschema.ValidationError]":
    """All violations of the schema; none if jsonschema is missing."""
    return list(_validator(schema_file).iter_errors(config)) if can_check() else []


def nearest(word: str, known: list[str]) -> str:
    """`did you mean X?` if a name is similar, else the list of names."""
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}."


def can_check() -> bool:
    """Whether jsonschema is installed; without it, configurations are not validated."""
    return find_spec("jsonschema") is not None


@cache
def _validator(schema_file: Path) -> "jsonschema.protocols.Validator":
    # an optional parser of international addresses, which takes a second to load and which no schema here uses
    with without("rfc3987_syntax"):
        import jsonschema

    draft = jsonschema.Draft202012Validator
    # 4.0 is not a whole number here: `sisr.config.settings` makes it 4
    strict = draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return jsonschema.validators.extend(draft, type_checker=strict)(yaml_files.read(schema_file))


def _sentence(error: "jsonschema.ValidationError") -> str:
    where = ".".join(printable(str(part)) for part in error.absolute_path)
    value: Any = error.instance
    bound: Any = error.validator_value
    schema: Any = error.schema
    match error.validator:
        case "additionalProperties":
            known = list(schema["properties"])
            unknown = next(key for key in value if key not in known)
            name = f"{where}.{unknown}" if where else unknown
            return f"the configuration has an unknown key {shown(name)}; {nearest(str(unknown), known)}"
        case "required":
            missing = next(key for key in bound if key not in value)
            name = f"{where}.{missing}" if where else missing
            return f"the configuration lacks the key {name!r}; config/README.md explains it."
        case "enum":
            return f"{where} is {shown(value)}; {nearest(str(value), [str(item) for item in bound])}"
        case "exclusiveMinimum" | "minimum" | "maximum" | "exclusiveMaximum" as limit:
            return f"{where} is {shown(value)}; it must be {_LIMITS[limit]} {bound}."
        case "type":
            names = [_TYPES[name] for name in ([bound] if isinstance(bound, str) else bound)]
            return f"{where or 'the configuration'} is {shown(value)}; it must be of type {' or '.join(names)}."
        case "minItems":
            return f"{where} has {len(value)} values; it needs at least {bound}."
        case "maxItems":
            return f"{where} has {len(value)} values; it can have at most {bound}."
        case "minLength":
            return f"{where} is empty; it needs a value."
        case "maxLength":
            return f"{_named(error)} is {shown(value)}, which is too long; it can have at most {bound} characters."
        case "pattern":
            return f"{_named(error)} is {shown(value)}; it must consist of {schema['description']}."
        case "uniqueItems":
            return f"{where} contains a duplicate: {shown(value)}."
    return f"{where or 'the configuration'} does not match the schema: {error.message}."


def _named(error: "jsonschema.ValidationError") -> str:
    """Where a value is, or `a name in …` for a key."""
    where = ".".join(printable(str(part)) for part in error.absolute_path)
    return f"a key of {where}" if "propertyNames" in error.absolute_schema_path else where


def printable(name: str) -> str:
    """A key in a message; a line break in it is none in the message."""
    return name if name.isprintable() else shown(name)


def shown(value: Any) -> str:
    """A value in a message: as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]} … ({len(text)} characters)"
