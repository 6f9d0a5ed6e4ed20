"""Counters for operators that fvcore does not count.

Convention, fvcore's own: a fused multiply-add is one. `MULTIPLY_ADDS` counts those. `OPERATIONS` counts work that is
not multiply-adds (exponentials, comparisons, reads): it is reported by operator and never added to the multiply-adds,
since one exp is not one multiply-add on any machine. fvcore reports all other operators as unsupported. A handle takes
the inputs and outputs of an operator in a traced graph (`torch._C.Value`).
"""

from collections.abc import Callable
from math import ceil, log2, prod
from typing import Any

Handle = Callable[[list[Any], list[Any]], float]


def scaled_dot_product_attention(inputs: list[Any], outputs: list[Any]) -> float:
    """Query (…, L, E), key (…, S, E), value (…, S, Ev): L·S·E for the products, L·S·Ev for the weighted sum."""
    query, key, value = (_shape(item) for item in inputs[:3])
    return float(prod(query[:-2]) * query[-2] * key[-2] * (query[-1] + value[-1]))


def elementwise(inputs: list[Any], outputs: list[Any]) -> float:
    """One operation an element of the output: exp and its like, however many instructions that takes, or a read."""
    return float(prod(_shape(outputs[0])))


def softmax(inputs: list[Any], outputs: list[Any]) -> float:
    """Three an element: exp, sum, division."""
    return 3 * elementwise(inputs, outputs)


def reduction(inputs: list[Any], outputs: list[Any]) -> float:
    """One an element of the input: an addition, or a comparison."""
    return float(prod(_shape(inputs[0])))


def mapped_reduction(inputs: list[Any], outputs: list[Any]) -> float:
    """Two an element of the input: square or exp, and sum."""
    return 2 * reduction(inputs, outputs)


def sort(inputs: list[Any], outputs: list[Any]) -> float:
    """n·⌈log₂ n⌉ comparisons for each sorted row of n."""
    shape = _shape(inputs[0])
    return float(prod(shape) * _depth(shape[_dimension(inputs[1:])]))


def topk(inputs: list[Any], outputs: list[Any]) -> float:
    """One comparison an element to select; then k·⌈log₂ k⌉ for each row of k, to sort it."""
    chosen = _shape(outputs[0])
    return float(prod(_shape(inputs[0])) + prod(chosen) * _depth(chosen[_dimension(inputs[2:])]))


def _shape(value: Any) -> list[int]:
    sizes: list[int] = value.type().sizes()
    return sizes


def _depth(length: int) -> int:
    return ceil(log2(length)) if length > 1 else 0


def _dimension(inputs: list[Any]) -> int:
    """The dimension a sort runs along: the first integer constant among `inputs`, else the last dimension."""
    constants = (item.toIValue() for item in inputs)
    return next((value for value in constants if isinstance(value, int) and not isinstance(value, bool)), -1)


MULTIPLY_ADDS: dict[str, Handle] = {"aten::scaled_dot_product_attention": scaled_dot_product_attention}

PRODUCTS = ("addmm", "bmm", "conv", "einsum", "linear", "matmul", "mm", "scaled_dot_product_attention")
"""Names that fvcore counts the matrix products under; its others are norms, pooling and interpolation."""

_READS = ("gather", "index", "index_select", "embedding", "scatter", "scatter_")
_ELEMENTWISE = ("exp", "exp_", "log", "sigmoid", "sigmoid_", "tanh", "gelu", "silu", "reciprocal", "sqrt")

OPERATIONS: dict[str, Handle] = {
    **{f"aten::{name}": elementwise for name in (*_ELEMENTWISE, *_READS)},
    **{f"aten::{name}": softmax for name in ("softmax", "_softmax", "log_softmax")},
    **{f"aten::{name}": reduction for name in ("sum", "mean", "amax", "max", "argmax", "cumsum")},
    **{f"aten::{name}": mapped_reduction for name in ("linalg_vector_norm", "norm", "logsumexp")},
    **{f"aten::{name}": sort for name in ("sort", "argsort")},
    "aten::topk": topk,
}
