"""Registry of networks and of the readers of their authors' files. Every registered network is also available as
`timm.create_model(name)`."""

import difflib
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from models import custom
from models.attention._registry import build

_NETWORKS: dict[str, Callable[..., nn.Module]] = {}
Network = Callable[..., nn.Module]
MAX_SCALE = 16


@dataclass(frozen=True)
class Reader:
    """Recognises the names of an authors' weights, and makes the network of them.

    any_scale: the weights serve all scales; `load` needs the argument `scale` as well.
    """

    title: str
    recognises: Callable[[Mapping[str, Tensor]], bool]
    load: Callable[..., nn.Module]
    any_scale: bool = False


READERS: list[Reader] = []
"""Of those networks whose names no other network has."""


def reader(
    title: str, recognises: Callable[[Mapping[str, Tensor]], bool], any_scale: bool = False
) -> Callable[[Network], Network]:
    """Decorator that registers a function `load(state) -> nn.Module`; arguments as in `Reader`."""

    def add(load: Network) -> Network:
        READERS.append(Reader(title, recognises, load, any_scale))
        return load

    return add


def register(constructor: Network) -> Network:
    """Decorator that registers a function `name(scale=4, *, option=…) -> nn.Module` under its name.

    The module it returns has `scale: int` and `config: dict` ({"name", "scale", **options}).

    It may have a method `outputs(x) -> Sequence[Tensor]` for training: each output has the shape of the SR image, or
    one channel, which is its luma (Y of studio range divided by 255), and the loss is the mean of their L1 distances
    to HR. Without it, the loss is that of the module's own result.
    """
    _NETWORKS[constructor.__name__] = constructor
    if "timm.models" in sys.modules:
        _register_in_timm(constructor)
    return constructor


def _register_in_timm(constructor: Network) -> None:
    from timm.models import register_model

    name = constructor.__name__

    @functools.wraps(constructor)
    def for_timm(pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise ValueError(f"{name} has no pretrained weights to download; give a weights file to models.load")
        ours = {key: value for key, value in options.items() if not key.startswith(("pretrained_", "cache_dir"))}
        return create(name, **ours)

    register_model(for_timm)


class _TimmImport(MetaPathFinder):
    """Registers the networks in timm when timm is imported. Importing it here would more than double the time that
    `import models` takes."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != "timm.models":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_and_register(module: Any) -> None:
                execute(module)
                for constructor in _NETWORKS.values():
                    _register_in_timm(constructor)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if "timm.models" not in sys.modules:
    sys.meta_path.insert(0, _TimmImport())


def available() -> list[str]:
    """Names of all registered networks, sorted."""
    return sorted(_NETWORKS)


def create(name: str, scale: int = 4, **options: Any) -> nn.Module:
    """Build a network from (B, 3, H, W), RGB in [0, 1], to (B, 3, scale·H, scale·W), not clamped.

    The options are the keyword arguments of the network's function. The result's `config` rebuilds it:
    `create(**model.config)`. A network of one's own is named as `file.py:Class` or `package.module:Class`.
    Raises ValueError for an unknown name, an unknown option or a value out of range.
    """
    network = None if custom.is_custom(name) else find(name)
    if not isinstance(scale, Integral) or isinstance(scale, bool) or scale > MAX_SCALE:
        raise ValueError(f"scale must be a whole number up to {MAX_SCALE}, not {scale!r}")
    if network is None:
        return custom.create(name, int(scale), **options)
    return build(network, f"network {name!r}", {"scale": int(scale)}, options)


def find(name: str) -> Network:
    """The function behind a registered name. Raises ValueError, with the nearest name, if it is unknown."""
    if name not in _NETWORKS:
        near = difflib.get_close_matches(str(name).lower(), _NETWORKS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown network {name!r}: {hint}registered are {', '.join(available())}")
    return _NETWORKS[name]
