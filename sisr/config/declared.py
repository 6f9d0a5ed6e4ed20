"""What networks and mechanisms declare in their own files. Read from the source: importing them would need torch.

A mechanism declares by class attributes that are literals, its own or those of a class that it derives from:

    random_projection = False   `training.redraw_every` does not matter to it
    own_loss = False            neither do `contrastive_weight` and `contrastive_start`
    in_paper = True             it is a row of the paper's tables
    recipes = {"paper": {…}}    its options under a recipe
    no_map = "…"                why it has no weights on positions
    paper = "…"                 authors, venue and address of the paper it is from

A network declares likewise in the class that its function returns (`unrounded_lr`, `luma_only`); the default of the
function's `attention` is the mechanism that the network is named after. `models/paper.py` has the paper's tables.
"""

import ast
import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sisr.config.schema import nearest, shown
from sisr.utils.errors import UsageError

MODELS = Path(__file__).parents[2] / "models"


@dataclass(frozen=True)
class Declared:
    """A registered mechanism or network."""

    name: str
    class_name: str
    file: Path
    attributes: Mapping[str, Any]
    """Those that are literals."""
    options: Mapping[str, str] | None = None
    """Options of a mechanism's constructor or of a network's function with their types, as written (`int | None`, or
    ""); None where any option is taken: by a mechanism, or by EDSR and its configurations, whose settings are those of
    `Network`."""

    def get(self, name: str, default: Any = None) -> Any:
        """One attribute, or `default` where it is not declared."""
        return self.attributes.get(name, default)

    def option(self, name: str, options: Mapping[str, Any]) -> Any:
        """An option as given, or as the paper has it."""
        return options.get(name, self.get("recipes", {}).get("paper", {}).get(name))

    @property
    def title(self) -> str:
        """What readers call it: `ENLCA`, `LapSRN`, `convolution`; a network that shares its class: `ENLCN`."""
        if self.class_name.lower() == self.name and not self.class_name.istitle():
            return self.class_name
        return self.name.upper() if self.get("attention") else self.name


@cache
def mechanisms(folder: Path = MODELS / "attention") -> dict[str, Declared]:
    """The registered mechanisms by name."""
    nodes = list(_top_level(folder))
    classes = {node.name: node for _, node in nodes if isinstance(node, ast.ClassDef)}
    by_name = {}
    for file, node in nodes:
        if isinstance(node, ast.ClassDef) and (name := _registered(node)):
            by_name[name] = Declared(name, node.name, file, _attributes(node, classes), _options(node, classes))
    return by_name


@cache
def networks(folder: Path = MODELS) -> dict[str, Declared]:
    """The registered networks by name; `attention` is declared by those that have slots for it."""
    nodes = list(_top_level(folder))
    classes = {node.name: node for _, node in nodes if isinstance(node, ast.ClassDef)}
    by_name = {}
    for file, node in nodes:
        if isinstance(node, ast.FunctionDef) and any(_name(part) == "register" for part in node.decorator_list):
            defaults = zip((word.arg for word in node.args.kwonlyargs), node.args.kw_defaults, strict=True)
            attention = {name: ast.literal_eval(value) for name, value in defaults if value and name == "attention"}
            attributes = {**_attributes(classes[_name(node.returns)], classes), **attention}
            words = node.args.kwonlyargs
            options = {word.arg: ast.unparse(word.annotation) if word.annotation else "" for word in words}
            taken = None if node.args.kwarg else options
            by_name[node.name] = Declared(node.name, _name(node.returns), file, attributes, taken)
    return by_name


@cache
def defaults(folder: Path) -> dict[str, dict[str, Any]]:
    """Options, with their defaults, of the registered networks (in `MODELS`) or mechanisms (in `MODELS / "attention"`).

    Sorted by name. Raises ValueError for a default that is neither a literal nor a module's constant.
    """
    nodes = [node for _, node in _top_level(folder)]
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
    constants = _literals(nodes)
    by_name = {}
    for node in nodes:
        if isinstance(node, ast.ClassDef) and (name := _registered(node)):
            by_name[name] = _defaults(_constructor(node, classes), constants)
        elif isinstance(node, ast.FunctionDef) and any(_name(part) == "register" for part in node.decorator_list):
            passed_on = _constructor(classes[_name(node.returns)], classes) if node.args.kwarg else None
            by_name[node.name] = {**_defaults(passed_on, constants), **_defaults(node, constants)}
    return dict(sorted(by_name.items()))


@cache
def costs(file: Path = MODELS / "attention" / "costs.csv") -> dict[str, tuple[float, int]]:
    """GFLOPs, by the paper's convention, and parameters of the mechanisms, from the committed table.

    On 100x100 pixels with 64 channels of query, key and value, as in the paper's Table 4, with default options.
    `python -m sisr models --recount` writes it.
    """
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["mechanism"]: (float(row["gflops"]), int(row["parameters"])) for row in csv.DictReader(lines)}


@cache
def paper(file: Path = MODELS / "paper.py") -> dict[str, Any]:
    """The constants of `models/paper.py`."""
    return _literals(ast.parse(file.read_text(encoding="utf-8")).body)


def whole_numbers(attention: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a mechanism with 4.0 as 4, where a registered one takes a whole number."""
    known = mechanisms().get(attention or "")
    types = (known.options or {}) if known else {}
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() and _whole(types.get(name, "")) else value
        for name, value in options.items()
    }


def check_options(attention: str, options: Mapping[str, Any], where: str) -> None:
    """Raise UsageError for an option that a registered mechanism does not have, or of another type.

    where: the key that the options are under, for the message. Ranges are checked when the mechanism is built.
    """
    _check_options(mechanisms().get(attention), options, where)


def check_network_options(network: str, options: Mapping[str, Any], where: str) -> None:
    """As `check_options`, for `network_options`; the settings of EDSR and its configurations are not among these."""
    known = networks().get(network)
    if options and known is not None and known.options is None:
        raise UsageError(f"{where} is for other networks; {network} has the settings blocks, channels and others.")
    _check_options(known, options, where)


def _check_options(known: Declared | None, options: Mapping[str, Any], where: str) -> None:
    for name, value in options.items():
        if not name.isidentifier():
            raise UsageError(f"{where} has an option {shown(name)}; a name has letters, digits and _ only.")
        if known is None or known.options is None:
            continue
        if name not in known.options:
            hint = nearest(name, list(known.options)) if known.options else "it has no options."
            raise UsageError(f"{where} has an unknown key {name!r}; {hint}")
        if not _fits(known.options[name], value):
            raise UsageError(f"{where}.{name} is {shown(value)}; it must be {_in_words(known.options[name])}.")


_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "None": "none"}


def _fits(type_: str, value: Any) -> bool:
    """Whether a value of a configuration has a type; True for any but the types in `_WORDS`."""
    accepted = {name.strip() for name in type_.split("|")}
    if not accepted <= set(_WORDS):
        return True
    match value:
        case None | bool():
            return str(value) in accepted or (value is not None and "bool" in accepted)
        case int():
            return bool({"int", "float"} & accepted)
        case float():
            return "float" in accepted or (value.is_integer() and "int" in accepted)
        case str():
            return "str" in accepted
    return False


def _whole(type_: str) -> bool:
    """Whether the numbers of a type are whole."""
    return "int" in type_.replace("|", " ").split() and "float" not in type_


def _in_words(type_: str) -> str:
    return " or ".join(_WORDS[name.strip()] for name in type_.split("|"))


def published() -> list[str]:
    """Networks of an architecture of their own, which can be measured with their authors' weights."""
    return [name for name, network in networks().items() if network.options is not None]


def own_architecture(name: str) -> bool:
    """Whether a network has other settings than EDSR and its configurations: another registered one, or one's own."""
    known = networks().get(name)
    return known is None or known.options is not None


def network_of(attention: str | None) -> str:
    """The network that is named after an attention; the backbone for any other."""
    named = (name for name, network in networks().items() if attention and network.get("attention") == attention)
    return next(named, str(paper()["BACKBONE"]))


def _top_level(folder: Path) -> Iterator[tuple[Path, ast.stmt]]:
    for file in sorted(folder.glob("*.py")):
        yield from ((file, node) for node in ast.parse(file.read_text(encoding="utf-8")).body)


def _registered(node: ast.ClassDef) -> str | None:
    """The name that `@register` or `@register("name")` gives a class."""
    for part in node.decorator_list:
        if _name(part) == "register":
            words = part.args if isinstance(part, ast.Call) else []
            return str(ast.literal_eval(words[0])) if words else node.name.lower()
    return None


def _name(node: ast.expr | None) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.id if isinstance(node, ast.Name) else ""


def _attributes(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> dict[str, Any]:
    inherited: dict[str, Any] = {}
    for base in reversed(node.bases):
        if parent := classes.get(_name(base)):
            inherited |= _attributes(parent, classes)
    return inherited | _literals(node.body)


def _options(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> dict[str, str] | None:
    """The keyword-only arguments of a constructor with their annotations."""
    constructor = _constructor(node, classes)
    if constructor is None or constructor.args.kwarg:
        return None
    words = constructor.args.kwonlyargs
    return {word.arg: ast.unparse(word.annotation) if word.annotation else "" for word in words}


def _constructor(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> ast.FunctionDef | None:
    """`__init__` of a class, its own or an inherited one."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return part
    parents = [classes[name] for base in node.bases if (name := _name(base)) in classes]
    return _constructor(parents[0], classes) if parents else None


def _defaults(function: ast.FunctionDef | None, constants: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword-only arguments with a default: a literal, or the name of a constant."""
    if function is None:
        return {}
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    given = ((word.arg, value) for word, value in pairs if value is not None)
    return {name: constants[_name(value)] if _name(value) else ast.literal_eval(value) for name, value in given}


def _literals(body: Iterable[ast.stmt]) -> dict[str, Any]:
    values = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                values[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return values
