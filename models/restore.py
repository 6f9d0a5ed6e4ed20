"""A network from a configuration and tensors that may come from an untrusted file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from models.registry import create

_SPARE = 1 << 24
"""Elements of a tensor that a network may create without having one of this size among its weights."""
_PART = 1 << 20
_CREATING = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye, torch.arange)
"""Functions that a network's constructor creates tensors with."""
_INITIALISING = {
    *(name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_")),
    *("uniform_", "normal_", "fill_", "zero_", "erfinv_", "mul_", "add_", "clamp_"),
}
"""Names of functions that give a parameter its first values."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def restore(tensors: Mapping[str, Tensor], **config: Any) -> nn.Module:
    """The network `create(**config)` with these weights, in eval mode, on the CPU, in float32.

    Half and double precision are converted. A network that needs more or larger tensors than there are is refused
    before they are allocated. Raises ValueError, which names the differences, unless every weight is there, fits, and
    is a finite number.
    """
    try:
        with building(tensors):
            model = create(**config)
    except Exception as error:  # the configuration may contain anything
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"its network cannot be built: {_short(reason[0].rstrip('.'))}") from error
    fill(model, tensors)
    return model.eval()


def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors into a network, whose own values are replaced: `restore` for a network that exists already.

    The network keeps the tensors where their type fits; nothing else may use them any more.
    Raises ValueError, which names the differences, unless every weight is there, fits, and is a finite number.
    """
    expected = model.state_dict()
    for name, tensor in tensors.items():
        if name in expected and not (
            tensor.dtype in _FLOATS if expected[name].is_floating_point() else tensor.dtype == expected[name].dtype
        ):
            raise ValueError(f"{name} is of type {tensor.dtype}, not {expected[name].dtype}".replace("torch.", ""))
    try:
        with _Moving():
            model.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        problems = "; ".join(_short(line.strip()) for line in str(error).splitlines()[1:6])
        raise ValueError(f"the weights do not fit {type(model).__name__}: {problems}") from None
    check_finite(model)


def check_finite(model: nn.Module) -> None:
    """Raise ValueError where a weight or buffer of a network is NaN or infinite."""
    tensors = model.state_dict()
    # part by part, since isfinite makes a copy
    finite = {
        name: all(part.isfinite().all() for part in tensor.flatten().split(_PART)) for name, tensor in tensors.items()
    }
    broken = [name for name, is_finite in finite.items() if not is_finite]
    if broken:
        raise ValueError(f"{len(broken)} of {len(tensors)} tensors contain NaN or infinite values ({broken[0]} first)")


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:150]} … {text[-150:]}"


class _Moving(TorchFunctionMode):
    """Instead of copying a tensor into a parameter, the parameter takes it over: memory is needed once, not twice."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: set[int] = set()  # two parameters may be filled from one tensor

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.copy_ and len(args) == 2 and isinstance(args[0], nn.Parameter):
            parameter, tensor = args
            same = (parameter.shape, parameter.dtype, parameter.device) == (tensor.shape, tensor.dtype, tensor.device)
            if same and tensor.is_contiguous() and tensor.untyped_storage().data_ptr() not in self.taken:
                self.taken.add(tensor.untyped_storage().data_ptr())
                parameter.data = tensor.detach()
                return parameter
        return func(*args, **(kwargs or {}))


class _Building(_Moving):
    """Refuses to create a tensor of more elements than the limit, and leaves parameters uninitialised: memory that is
    not written is not used, and the values come from the file."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _CREATING:
            given = [each for each in (*args, kwargs.get("size")) if each is not None]
            shapes = [each for each in given if isinstance(each, Sequence)]
            numbers = math.prod(shapes[0] if shapes else (each for each in given if isinstance(each, int | float)))
            if numbers > self.limit:
                raise ValueError(f"it needs a tensor of {numbers:,} elements, more than the file's weights")
        first = args[0] if args else kwargs.get("tensor")
        if isinstance(first, nn.Parameter) and getattr(func, "__name__", "") in _INITIALISING:
            return first
        return super().__torch_function__(func, types, args, kwargs)


@contextmanager
def building(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """For a network with these weights: one that is built in this block has about as many and as large parameters.

    They are not initialised: `fill`, or `load_state_dict` in this block, gives them their values. Raises ValueError
    for a network that needs more.
    """
    count, elements = 2 * len(tensors) + 100, 2 * sum(tensor.numel() for tensor in tensors.values()) + _SPARE

    def registered(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count, elements
        count, elements = count - 1, elements - parameter.numel()
        if count < 0 or elements < 0:
            raise ValueError("it has more weights than the file")

    handle = register_module_parameter_registration_hook(registered)
    largest = max((tensor.numel() for tensor in tensors.values()), default=0)
    try:
        with _Building(4 * largest + _SPARE):
            yield
    finally:
        handle.remove()
