"""Matrix products of one call, counted operator by operator as torch executes them.

A dispatch mode sees every operator after torch has decomposed the composite ones: einsum, tensordot, inner and linear
arrive as mm, bmm or addmm, scripted code and `torch.autograd.Function` as the operators inside. Fused paths that hide
their products are switched off; fused attention has a formula.

Convention, as in fvcore: a fused multiply-add is one, four for complex numbers, and elementwise operators are free. Two
elementwise ways to write a product are counted where they are more than 1 % of the rest: a multiplication that repeats
both factors (an outer product), and a multiplication whose result is summed. An FFT of N complex points has 5 N log₂ N
operations (half of that for real ones), two of them counted as one multiply-add. A distance of two vectors has one
multiply-add a channel.

What may multiply and has no formula is named in `Products.at_least`: the count is then a lower bound. This holds for
operators of other libraries, torch's operators of two floating-point tensors that are not known to be elementwise or
copies, matrix decompositions that are not negligible, and data that leave torch (`Tensor.numpy`, `Tensor.data_ptr`) or
come from code that torch does not see.

`torch.utils.flop_counter.register_flop_formula` gives a custom operator a count.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import log2, prod
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

from models.attention._errors import CRASHES

Formula = Callable[..., float]
OUTSIDE = "code outside torch's operators"


@dataclass(frozen=True)
class Products:
    """Multiply-adds by operator, and what may multiply but is not counted."""

    multiply_adds: dict[str, float]
    at_least: tuple[str, ...]
    """Names of uncounted operators, sorted; empty where the count is complete."""

    @property
    def total(self) -> float:
        return sum(self.multiply_adds.values())


def count(call: Callable[[], Any]) -> Products:
    """Count the products of one call, which is executed. Where it fails under the counter, the count is partial."""
    counter = _Counter()
    try:
        with decomposed(), _Exports(counter), counter:
            out = call()
        counter.read(out)
    except CRASHES as error:
        counter.at_least.add(f"what follows a {type(error).__name__} of the counter")
    return counter.products()


@contextmanager
def decomposed() -> Iterator[None]:
    """Without what hides products: the fast path of `nn.MultiheadAttention`, fusion by the JIT, and torch.compile."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, enabled)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(torch.jit.optimized_execution(False))
        if "torch._dynamo" in sys.modules:  # nothing was compiled without it, and its import takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


class _Counter(TorchDispatchMode):
    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.multiply_adds: defaultdict[str, float] = defaultdict(float)
        self.at_least: set[str] = set()
        self._written_out: defaultdict[str, float] = defaultdict(float)
        self._decompositions: defaultdict[str, float] = defaultdict(float)
        # results of elementwise multiplications, with their multiply-adds: a sum makes a product of them
        self._multiplied: WeakIdKeyDictionary = WeakIdKeyDictionary()
        # allocated, and not written by any operator
        self._unwritten: dict[int, StorageWeakRef] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name, packet = _name(func), getattr(func, "overloadpacket", func)
        if name not in FORMULAS and packet not in flop_registry and hasattr(func, "decompose"):
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        self._follow(func, name, args, kwargs, out)
        self._count(func, name, packet, args, kwargs, out)
        return out

    def products(self) -> Products:
        """What was counted, without what is negligible."""
        total = sum(self.multiply_adds.values())
        counted = dict(self.multiply_adds)
        if sum(self._written_out.values()) > total / 100:
            counted |= self._written_out
        large = {name for name, most in self._decompositions.items() if most > sum(counted.values()) / 1000}
        return Products(counted, tuple(sorted(self.at_least | large)))

    def read(self, value: Any) -> None:
        """Note where tensors hold values that no operator has written."""
        for tensor in _tensors(value):
            if tensor.numel() and self._unwritten.pop(_storage(tensor), None) is not None:
                self.at_least.add(OUTSIDE)

    def _count(
        self, func: Any, name: str, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        tensors = [x for x in _tensors((args, kwargs)) if _is_real_or_complex(x)]
        counted = name in FORMULAS or packet in flop_registry
        if counted and any(tensor.layout != torch.strided for tensor in tensors):
            self.at_least.add(f"{name} (sparse)")
        elif counted:
            try:
                self.multiply_adds[name] += _multiply_adds(name, packet, args, kwargs, out)
            except CRASHES:
                self.at_least.add(name)
        elif name.startswith(_DECOMPOSITIONS) and name not in _NO_PRODUCT:
            # a singular value decomposition, the most costly, has some 30 n³ operations
            self._decompositions[name] += sum(30 * x.numel() * max(x.shape[-2:]) for x in tensors if x.ndim > 1)
        elif _may_multiply(func, name, tensors):
            self.at_least.add(name)
        else:
            self._elementwise(func, name, args, out)

    def _elementwise(self, func: Any, name: str, args: tuple[Any, ...], out: Any) -> None:
        """Count outer products, and multiplications that are summed."""
        if name in ("mul", "addcmul"):
            one, two = args[-2:]
            if not (isinstance(one, Tensor) and isinstance(two, Tensor)) or not _is_real_or_complex(out):
                return
            number = out.numel() * _weight([out])
            if out.numel() > max(one.numel(), two.numel()):
                self._written_out[name] += number
            elif one is not two and min(one.numel(), two.numel()) > 1:
                self._multiplied[out] = number
        elif not args or not isinstance(args[0], Tensor) or args[0] not in self._multiplied:
            return
        elif name in ("sum", "mean") and out.numel() < args[0].numel():
            self._written_out[f"mul, {name}"] += self._multiplied.pop(args[0])
        elif _is_view(func, name) and isinstance(out, Tensor) and out.numel() == args[0].numel():
            self._multiplied[out] = self._multiplied[args[0]]

    def _follow(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Follow which storages an operator reads, writes and allocates."""
        arguments = getattr(getattr(func, "_schema", None), "arguments", ())
        given = [*zip(arguments, args, strict=False), *((a, kwargs[a.name]) for a in arguments if a.name in kwargs)]
        for argument, value in given:
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in _tensors(value):
                    self._unwritten.pop(_storage(tensor), None)
            elif not (_is_view(func, name) or name.startswith("new_") or name.endswith("_like")):
                self.read(value)
        if _is_view(func, name):
            return
        for tensor in _tensors(out):
            self._unwritten.pop(_storage(tensor), None)
            if name in _UNWRITTEN:
                self._unwritten[_storage(tensor)] = StorageWeakRef(tensor.untyped_storage())


class _Exports(TorchFunctionMode):
    """Notes where floating-point data leave torch."""

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        if name in _EXPORTS and args[0].is_floating_point():
            self.counter.at_least.add(f"Tensor.{_EXPORTS[name]}")
        return func(*args, **(kwargs or {}))


def _multiply_adds(name: str, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> float:
    if name not in FORMULAS:  # torch's own formulas count two operations a multiply-add
        return float(flop_registry[packet](*args, **kwargs, out_val=out)) / 2
    return FORMULAS[name](out, *args, **kwargs) * (1 if "fft" in name else _weight(_tensors(args)))


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _is_real_or_complex(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _storage(tensor: Tensor) -> int:
    """An identity of the memory of a tensor; 0 where it has none."""
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else 0


def _name(func: Any) -> str:
    """`bmm`, `index_put` (of index_put_), `torchvision::nms`."""
    name = str(getattr(func, "_schema", func).name if hasattr(func, "_schema") else func.name())
    space, _, operator = name.partition("::")
    if not operator:
        return name
    operator = operator.partition(".")[0]
    return operator.rstrip("_") if space == "aten" else f"{space}::{operator}"


def _is_view(func: Any, name: str) -> bool:
    return getattr(func, "is_view", False) or name in _VIEWS


def _weight(tensors: list[Tensor]) -> int:
    """Multiply-adds of real numbers in one multiply-add."""
    return 4 if any(tensor.is_complex() for tensor in tensors) else 1


def _may_multiply(func: Any, name: str, tensors: list[Tensor]) -> bool:
    """Whether an operator without a formula may hold a product. tensors: its floating-point inputs."""
    if "::" in name or not hasattr(func, "tags"):
        return bool(tensors)
    return len(tensors) > 1 and not (
        torch.Tag.pointwise in func.tags or name in _NO_PRODUCT or name.startswith(_NO_PRODUCTS) or _is_view(func, name)
    )


def _product(first: int) -> Formula:
    """(…, n, k) at position `first` of the arguments times (…, k, m): n·k·m for each pair."""
    return lambda out, *args, **_: args[first].numel() * args[first + 1].shape[-1]


def _vector(first: int) -> Formula:
    """One multiply-add for each element of the argument at this position: matrix times vector, or a dot product."""
    return lambda out, *args, **_: args[first].numel()


def _attention(out: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> float:
    """Query (…, L, E), key (…, S, E), value (…, S, Ev): L·S·E and L·S·Ev for each head of the query."""
    pairs = prod(query.shape[:-1]) * key.shape[-2]
    return pairs * (query.shape[-1] + value.shape[-1])


def _distances(out: Tensor, x: Tensor, other: Tensor, *args: Any, **kwargs: Any) -> float:
    """(…, P, M) and (…, R, M): M for each pair, for any norm."""
    return out.numel() * x.shape[-1]


def _distances_among(out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> float:
    return out.numel() * x.shape[-1]


def _fft(out: Tensor, x: Tensor, dim: list[int], *args: Any, **kwargs: Any) -> float:
    """5 N log₂ N operations for each transform of N complex points, half of it for real input or output."""
    real = next((tensor for tensor in (x, out) if not tensor.is_complex()), None)
    points = x if real is None else real
    operations = (5 if real is None else 2.5) * points.numel() * log2(prod(points.shape[axis] for axis in dim))
    return operations / 2


def _recurrent(out: Any, x: Tensor, weight: Tensor, recurrent: Tensor, *args: Any, **kwargs: Any) -> float:
    """Both matrices of one layer, for each step of each sequence."""
    return x.numel() // x.shape[-1] * (weight.numel() + recurrent.numel())


def _bilinear(out: Tensor, x: Tensor, weight: Tensor, other: Tensor, *args: Any, **kwargs: Any) -> float:
    """xᵀ W other, as `F.bilinear` calls it: I·J and J for each output, with x (…, I) and other (…, J)."""
    return out.numel() * (x.shape[-1] + 1) * other.shape[-1]


def _deformable(out: Tensor, x: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> float:
    """As a convolution; the sampling is elementwise."""
    return out.numel() * prod(weight.shape[1:])


FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("mm", "bmm", "_int_mm"), _product(0)),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "_addmm_activation"), _product(1)),
    **dict.fromkeys(("mv", "dot", "vdot"), _vector(0)),
    "addmv": _vector(1),
    "addr": lambda out, *args, **_: out.numel(),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable", "_scaled_dot_product_attention_math_for_mps",
        ),
        _attention,
    ),
    **dict.fromkeys(("_cdist_forward", "_euclidean_dist"), _distances),
    "_pdist_forward": _distances_among,
    **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _fft),
    "mkldnn_rnn_layer": _recurrent,
    "_trilinear": _bilinear,
    "torchvision::deform_conv2d": _deformable,
}  # fmt: skip
"""Multiply-adds of an operator from its output and arguments; torch's `flop_registry` has the others."""

_EXPORTS = {"numpy": "numpy", "array": "numpy", "data_ptr": "data_ptr", "dlpack": "dlpack"}
_UNWRITTEN = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted")
_VIEWS = ("_unsafe_view", "_reshape_alias", "alias", "detach", "lift_fresh", "set", "resize", "resize_as")
_DECOMPOSITIONS = ("linalg_", "_linalg_", "cholesky", "geqrf")
_NO_PRODUCTS = ("_foreach_", "_native_batch_norm", "_batch_norm", "_thnn_fused", "index_", "scatter", "_unsafe_index")
_NO_PRODUCT = frozenset((
    "_add_relu", "_chunk_cat", "_copy_from", "_embedding_bag", "_embedding_bag_forward_only", "_fused_rms_norm",
    "_index_put_impl", "_linalg_check_errors", "_masked_scale", "_prelu_kernel", "_stack", "_standard_gamma_grad",
    "_to_copy", "_transform_bias_rescale_qkv", "_unsafe_masked_index", "_unsafe_masked_index_put_accumulate",
    "_weight_norm_interface", "allclose", "as_strided_scatter", "batch_norm_elemt", "batch_norm_gather_stats",
    "batch_norm_update_stats", "bernoulli", "binary_cross_entropy", "binary_cross_entropy_with_logits", "bucketize",
    "cat", "complex", "copy", "copysign", "cudnn_batch_norm", "cudnn_grid_sampler", "diagonal_scatter", "dist",
    "embedding", "eq", "equal", "fill", "floor_divide", "ge", "grid_sampler_2d", "grid_sampler_3d", "gt", "heaviside",
    "histogram", "huber_loss", "isin", "le", "lerp", "linalg__powsum", "linalg_cross", "linalg_vector_norm",
    "linspace", "logspace", "lt", "masked_fill", "masked_scatter", "max", "min", "miopen_batch_norm", "mse_loss",
    "native_batch_norm", "native_group_norm", "native_layer_norm", "ne", "normal", "polar", "put", "renorm",
    "rrelu_with_noise", "rsub", "searchsorted", "segment_reduce", "select_scatter", "slice_scatter", "smooth_l1_loss",
    "soft_margin_loss", "stack", "where", "xlogy",
))  # fmt: skip
