"""Registry of attention mechanisms."""

import difflib
import importlib
import importlib.util
import inspect
import math
import numbers
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from torch import nn

from models.attention._errors import CUSTOM_FILES, BrokenCodeError, sentence

_MECHANISMS: dict[str, type[nn.Module]] = {}
Mechanism = TypeVar("Mechanism", bound=type[nn.Module])


class _NotFoundError(Exception):
    """The file or module does not exist."""


def register(name: str | type[nn.Module]) -> Any:
    """Class decorator: `@register("name")`, or bare `@register` for the class's name in lower case.

    Raises ValueError if another class already has the name.
    """
    if not isinstance(name, str):
        return register(name.__name__.lower())(name)

    def add(mechanism: Mechanism) -> Mechanism:
        existing = _MECHANISMS.get(name)
        if existing is not None and (existing.__module__, existing.__qualname__) != (
            mechanism.__module__,
            mechanism.__qualname__,
        ):
            raise ValueError(f"attention {name!r} is already registered by {existing.__module__}; choose another name")
        _MECHANISMS[name] = mechanism
        return mechanism

    return add


def available() -> list[str]:
    """Names of all registered mechanisms, sorted."""
    return sorted(_MECHANISMS)


def find(name: str) -> type[nn.Module]:
    """The class behind a registered name, `package.module:Class` or `path/to/file.py:Class`.

    Raises ValueError, with the nearest name, if it is unknown, and `BrokenCodeError` (a ValueError), with file and
    line, if its code cannot be imported.
    """
    if ":" in name or name.endswith(".py"):
        return import_class(name)
    if name not in _MECHANISMS:
        near = difflib.get_close_matches(name.lower(), _MECHANISMS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"unknown attention {name!r}: {hint}registered are {', '.join(available())}; "
            "a custom mechanism is given as package.module:Class or file.py:Class"
        )
    return _MECHANISMS[name]


def create(name: str, channels: int = 64, **options: Any) -> nn.Module:
    """Build a mechanism: a module from (B, channels, H, W) to the same shape.

    `name` is a registered name, `package.module:Class` or `path/to/file.py:Class`. The options are the class's keyword
    arguments; all of them, defaults included, are kept as `module.options`. Raises ValueError for an unknown name, an
    unknown option or a value out of range.
    """
    mechanism = find(name)
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise ValueError(f"channels must be a positive integer, not {channels!r}")
    what = f"attention {name!r}"
    module = build(mechanism, what, {"channels": channels}, options)
    options = _checked(mechanism, options, what)
    module.options = resolve(mechanism, options)  # type: ignore[assignment]
    return module


def resolve(constructor: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """The keyword-only options of a constructor with their defaults, overridden by `options`."""
    parameters = inspect.signature(constructor).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty} | options


def build(
    constructor: Callable[..., nn.Module], what: str, given: dict[str, Any], options: dict[str, Any]
) -> nn.Module:
    """Call `constructor(**given, **options)` after checking the options; ValueError lists the valid ones.

    An option that is annotated as int, float, bool, str or None, or a union of these, must be of that type.
    """
    parameters = inspect.signature(constructor).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        valid = [name for name in parameters if name not in given]
        for option in options:
            if option not in valid:
                near = difflib.get_close_matches(option, valid, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                accepted = f"its options are {', '.join(valid)}" if valid else "it has no options"
                raise ValueError(f"{what} has no option {option!r}: {hint}{accepted}")
    try:
        return constructor(**_checked(constructor, {**given, **options}, what))
    except TypeError as error:
        if not constructor.__module__.startswith("models."):
            raise  # may be an error in a custom constructor
        raise ValueError(f"{what} cannot be built with {_written(options)}: {error}") from error


_TYPES: dict[type, tuple[type, str]] = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a finite number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
    type(None): (type(None), "none"),
}


def _checked(constructor: Callable[..., Any], options: dict[str, Any], what: str) -> dict[str, Any]:
    """Options with 4.0 as 4 for a whole number. ValueError where one is not of the type that it is annotated with;
    other annotations than those above are not checked."""
    parameters = inspect.signature(constructor).parameters
    checked = {}
    for option, value in options.items():
        hint = parameters[option].annotation if option in parameters else None
        kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        if all(kind in _TYPES for kind in kinds):
            if int in kinds and float not in kinds and isinstance(value, float) and value.is_integer():
                value = int(value)
            of_type = [
                isinstance(value, _TYPES[kind][0]) and (isinstance(value, bool) == (kind is bool)) for kind in kinds
            ]
            if not any(of_type) or (isinstance(value, float) and not math.isfinite(value)):
                words = " or ".join(_TYPES[kind][1] for kind in kinds)
                raise ValueError(f"{what} cannot be built with {_written({option: value})}: {option} must be {words}")
        checked[option] = value
    return checked


def _written(options: dict[str, Any]) -> str:
    return ", ".join(f"{option}={value!r}" for option, value in options.items())


def import_class(name: str, kind: str = "attention") -> type[nn.Module]:
    """The class behind `package.module:Class` or `path/to/file.py:Class`.

    kind: what it is, for messages. Raises ValueError where there is no such class, and `BrokenCodeError`, with file and
    line, where the code cannot be imported.
    """
    location, _, class_name = name.rpartition(":") if ":" in name else (name, "", "")
    try:
        module = _load_file(Path(location), kind) if location.endswith(".py") else _load_module(location, kind)
    except _NotFoundError as error:
        raise ValueError(str(error)) from None
    except (Exception, SystemExit) as error:
        raise BrokenCodeError(f"{kind} {name!r} cannot be imported: {sentence(error)}") from error
    CUSTOM_FILES.add(str(module.__file__))
    mechanism = getattr(module, class_name, None)
    if isinstance(mechanism, type) and issubclass(mechanism, nn.Module):
        return mechanism
    classes = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
    defined = [item.__name__ for item in classes if issubclass(item, nn.Module)]
    near = difflib.get_close_matches(class_name, defined, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(defined)}" if defined else ""
    if not class_name:
        raise ValueError(f"{kind} {name!r} names no class: give {location}:{defined[0] if defined else 'Class'}")
    raise ValueError(f"{kind} {name!r}: {location} defines no torch.nn.Module named {class_name!r}{hint}")


def _load_module(location: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(location)
    except ModuleNotFoundError as error:
        if error.name is None or not (location == error.name or location.startswith(error.name + ".")):
            raise  # the module exists, but one of its imports does not
        raise _NotFoundError(
            f"{kind} module {location!r} was not found; give package.module:Class or file.py:Class"
        ) from None


def _load_file(path: Path, kind: str) -> ModuleType:
    if not path.is_file():
        raise _NotFoundError(f"{kind} file {str(path)!r} does not exist")
    name = f"attention_file_{path.resolve().as_posix().strip('/').replace('/', '_').removesuffix('.py')}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
