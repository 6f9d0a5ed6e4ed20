"""A network of one's own: a class in a file or package, `my_net.py:MyNet`, from (B, 3, H, W), RGB in [0, 1], to
(B, 3, scale·H, scale·W).

The constructor takes the upscaling factor as `scale` (or another name of `SCALES`), if it takes it at all, and the
options. The network gets the attributes `scale` and `config`, as registered ones have them.
"""

import inspect
from typing import Any

from torch import nn

from models.attention._errors import BrokenCodeError, sentence
from models.attention._registry import build, import_class

SCALES = ("scale", "upscale", "upscale_factor", "upscaling_factor", "scale_factor")
"""Names of the argument for the upscaling factor."""


def is_custom(name: object) -> bool:
    """Whether a network's name is `file.py:Class` or `package.module:Class`."""
    return isinstance(name, str) and (":" in name or name.endswith(".py"))


def create(name: str, scale: int, **options: Any) -> nn.Module:
    """Build the network. Raises ValueError with one sentence where its code, or an option, is wrong."""
    constructor, what = import_class(name, "network"), f"network {name!r}"
    taken = scale_argument(name)
    try:
        module = build(constructor, what, {taken: scale} if taken else {}, options)
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(what):
            raise
        raise BrokenCodeError(f"{what} cannot be built: {sentence(error)}") from error
    for attribute, value in (("scale", scale), ("config", {"name": name, "scale": scale, **options})):
        present = getattr(module, attribute, value)
        if type(present) is not type(value) or present != value:
            raise ValueError(
                f"{what} has an attribute {attribute!r} of its own, {str(present)[:60]!r}, where the suite keeps "
                f"{value!r}; rename it in the class"
            )
        setattr(module, attribute, value)
    return module


def scale_argument(name: str) -> str | None:
    """The constructor's argument for the upscaling factor, None where it has none."""
    parameters = inspect.signature(import_class(name, "network")).parameters
    return next((word for word in SCALES if word in parameters), None)


def default_scale(name: str) -> int | None:
    """The upscaling factor that the constructor has as a default; None where it has none."""
    taken = scale_argument(name)
    default = inspect.signature(import_class(name, "network")).parameters[taken].default if taken else None
    return default if isinstance(default, int) else None


def is_network(name: str) -> bool:
    """Whether a class is a network, and not an attention mechanism, whose first argument is `channels`."""
    return next(iter(inspect.signature(import_class(name, "network")).parameters), "") != "channels"
