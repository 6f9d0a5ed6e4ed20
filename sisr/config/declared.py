"""What networks and mechanisms declare in their own files. Read from the source: importing them would need torch.

A mechanism declares by class attributes that are literals, its own or those of a class that it derives from:

    random_projection = False   `training.redraw_every` does not matter to it
    own_loss = False            neither do `contrastive_weight` and `contrastive_start`
    in_paper = True             it is a row of the paper's tables
    recipes = {"paper": {…}}    its options under a recipe
    no_map = "…"                why it has no weights on positions

A network declares likewise in the class that its function returns (`unrounded_lr`, `luma_only`); the default of the
function's `attention` is the mechanism that the network is named after. `models/paper.py` has the paper's tables.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parents[2] / "models"


@dataclass(frozen=True)
class Declared:
    """A registered mechanism or network."""

    name: str
    class_name: str
    file: Path
    attributes: Mapping[str, Any]
    """Those that are literals."""

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
            by_name[name] = Declared(name, node.name, file, _attributes(node, classes))
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
            by_name[node.name] = Declared(node.name, _name(node.returns), file, attributes)
    return by_name


@cache
def paper(file: Path = MODELS / "paper.py") -> dict[str, Any]:
    """The constants of `models/paper.py`."""
    return _literals(ast.parse(file.read_text(encoding="utf-8")).body)


def published() -> list[str]:
    """Networks without slots for attention: only measured, with their authors' weights."""
    return [name for name, network in networks().items() if "attention" not in network.attributes]


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


def _literals(body: Iterable[ast.stmt]) -> dict[str, Any]:
    values = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                values[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return values
