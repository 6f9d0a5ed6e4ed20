"""What every attention mechanism must do, as checks that say in a sentence what is wrong.

    for result in run(lambda: attention.create("my_attention.py:MyAttention", 64)):
        print(result)

A check takes a function that builds the module (the same module each time, weights apart) and raises `Failure`, or
`Skipped` with the reason. The tests of this suite run them over every registered mechanism.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Build = Callable[[], nn.Module]
Check = Callable[[Build, int], None]
# what a mechanism under test may raise besides: each is reported with its type
CRASHES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
SIZES = ((12, 10), (7, 11), (13, 13), (1, 5), (1, 1))  # pixels: even, odd, prime, a line, a point


class Failure(AssertionError):  # noqa: N818  (it is not an error of the program)
    """The mechanism does not do what the check asks for; the message says what and where."""


class Skipped(Exception):  # noqa: N818
    """The check cannot be made here; the message says why."""


@dataclass(frozen=True)
class Result:
    """Outcome of one check: status is "passed", "failed" or "skipped", message is empty when it passed."""

    check: str
    status: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.status}" + (f": {self.message}" if self.message else "")


def run(build: Build, channels: int = 64, names: list[str] | None = None) -> Iterator[Result]:
    """Make the checks called `names` (all of `CHECKS` if None), one result each; a crash is a failure."""
    for name in CHECKS if names is None else names:
        try:
            CHECKS[name](build, channels)
        except Skipped as reason:
            yield Result(name, "skipped", str(reason))
        except Failure as failure:
            yield Result(name, "failed", str(failure))
        except CRASHES as error:
            yield Result(name, "failed", f"{type(error).__name__}: {error}")
        else:
            yield Result(name, "passed")


def shapes(build: Build, channels: int) -> None:
    """The output has the shape and dtype of the input, at sizes that divide nothing, and is finite."""
    module = build().eval()
    for height, width in SIZES:
        x = _images(2, channels, height, width)
        with torch.no_grad():
            _same_form(module(x), x, f"at {height}x{width} pixels")
        for what, special in (("zeros", torch.zeros_like(x)), ("one colour", torch.ones_like(x))):
            with torch.no_grad():
                _finite(module(special), f"output for an image of {what} at {height}x{width} pixels")


def gradients(build: Build, channels: int) -> None:
    """All weights and the input get a gradient, and it is the slope that finite differences measure."""
    module = build().double().eval()
    x = _images(1, channels, 6, 7).double().requires_grad_()
    weighting = _images(1, channels, 6, 7, seed=1).double()

    def value() -> Tensor:
        return (module(x) * weighting).sum()

    value().backward()
    leaves = {"input": x} | dict(module.named_parameters())
    for name, leaf in leaves.items():
        if leaf.grad is None:
            raise Failure(f"{name} gets no gradient: remove it, or let the output depend on it")
        _finite(leaf.grad, f"gradient of {name}")
        direction = torch.randn(leaf.shape, dtype=leaf.dtype, generator=_generator(2))
        slope = (leaf.grad * direction).sum().item()
        step = 1e-6
        with torch.no_grad():
            leaf += step * direction
            above = value().item()
            leaf -= 2 * step * direction
            below = value().item()
            leaf += step * direction
        measured = (above - below) / (2 * step)
        if abs(slope - measured) > 1e-4 * max(abs(measured), 1):
            raise Failure(
                f"gradient of {name} along a random direction is {slope:.6g}, finite differences give {measured:.6g}"
            )


def dtypes(build: Build, channels: int) -> None:
    """In bfloat16, as module and under autocast, the output is nearly that of float32."""
    module = build().eval()
    x = _images(2, channels, 9, 8)
    with torch.no_grad():
        expected = module(x)
        short = copy.deepcopy(module).bfloat16()(x.bfloat16())
        with torch.autocast("cpu", torch.bfloat16):
            mixed = module(x)
    _same_form(short, x.bfloat16(), "in bfloat16")
    for what, out in (("bfloat16", short), ("autocast to bfloat16", mixed)):
        _finite(out, f"output in {what}")
        error = ((out.float() - expected).norm() / expected.norm()).item()
        if error > 0.05:
            raise Failure(
                f"output in {what} differs from float32 by {error:.1%}; compute exponentials and sums in float32"
            )


def batch_independence(build: Build, channels: int) -> None:
    """An image's output does not depend on the other images of the batch."""
    module = build().eval()
    x = _images(3, channels, 8, 9) * torch.tensor([1.0, 5.0, 0.2]).view(3, 1, 1, 1)
    with torch.no_grad():
        together = module(x)
        for index in range(len(x)):
            alone = module(x[index : index + 1])
            _close(together[index : index + 1], alone, 1e-4, f"image {index} of a batch of 3", "the same image alone")


def determinism(build: Build, channels: int) -> None:
    """Outside training two calls give the same bits, and the module does not draw from the global generator."""
    module = build().eval()
    x = _images(2, channels, 11, 13)
    state = torch.get_rng_state()
    with torch.no_grad():
        first, second = module(x), module(x)
    if not torch.equal(first, second):
        raise Failure(
            "two evaluations of the same image differ; draw random numbers in the constructor or in training only"
        )
    if not torch.equal(state, torch.get_rng_state()):
        raise Failure("an evaluation draws from torch's global generator; use a generator or buffer of its own")


def memory_format(build: Build, channels: int) -> None:
    """channels_last input, strided input and training mode without a loss give the same output."""
    module = build().eval()
    x = _images(2, channels, 10, 7)
    with torch.no_grad():
        expected = module(x)
        _close(
            module(x.contiguous(memory_format=torch.channels_last)), expected, 1e-4, "channels_last", "contiguous input"
        )
        wide = torch.cat([x, x], dim=3)[..., : x.shape[3]]
        _close(module(wide), expected, 1e-4, "a slice of a wider image", "its contiguous copy")


def flops(build: Build, channels: int) -> None:
    """A forward can be traced as operation counters do it, and what is counted does not depend on the image."""
    module = build().eval()
    x = _images(1, channels, 12, 10)
    counts = []
    for image in (x, -2 * x):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(image)
        counts.append(counter.get_total_flops())
    if counts[0] != counts[1]:
        raise Failure(f"the number of operations depends on the image: {counts[0]:,} and {counts[1]:,}")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer is deprecated, but it is what fvcore uses
        traced: Callable[[Tensor], Tensor] = torch.jit.trace(module, (x,), check_trace=False)
        _close(traced(x), module(x), 1e-5, "the traced module", "the module")


def state_dict(build: Build, channels: int) -> None:
    """A second module with the first one's state dict, and a deep copy, give the same output."""
    module, other = build().eval(), build().eval()
    x = _images(1, channels, 9, 9)
    other.load_state_dict(module.state_dict(), strict=True)
    with torch.no_grad():
        expected = module(x)
        if not torch.equal(other(x), expected):
            raise Failure("a module with the same state dict gives another output; register what it draws as a buffer")
        if not torch.equal(copy.deepcopy(module)(x), expected):
            raise Failure("a deep copy of the module gives another output")


def reference(build: Build, channels: int) -> None:
    """`attend` equals the written-out `reference`: output and gradients."""
    module: Any = build().eval()
    written_out = getattr(module, "reference", None)
    if written_out is None:
        raise Skipped("the mechanism has no written-out twin called reference")
    for height, width in SIZES:
        x = _images(2, channels, height, width).requires_grad_()
        if hasattr(module, "attend"):
            inputs = module.embed(x)
            fast, slow = module.attend(*inputs, (height, width)), written_out(*inputs, (height, width))
        else:
            fast, slow = module(x), written_out(x)
        where = f"at {height}x{width} pixels"
        _close(fast, slow, 2e-4, f"attend {where}", "reference")
        weighting = torch.randn(fast.shape, generator=_generator(1))
        # through the embeddings: along its own direction a normalised query may have any slope
        slopes = [torch.autograd.grad((out * weighting).sum(), x, retain_graph=True)[0] for out in (fast, slow)]
        _close(slopes[0], slopes[1], 1e-3, f"gradient of attend {where}", "that of reference")


def compiles(build: Build, channels: int, backend: str = "aot_eager") -> None:
    """torch.compile in one graph, forward and backward, gives the same output and gradient as without."""
    module = build().eval()
    x = _images(2, channels, 8, 6).requires_grad_()
    expected = module(x)
    (slope,) = torch.autograd.grad(expected.square().sum(), x)
    torch._dynamo.reset()
    try:
        out = torch.compile(module, backend=backend, fullgraph=True, dynamic=False)(x)
        (compiled_slope,) = torch.autograd.grad(out.square().sum(), x)
    except RuntimeError as error:
        if "compiler" in str(error).lower() and backend == "inductor":
            raise Skipped(f"no compiler works here: {str(error).splitlines()[0]}") from None
        raise
    _close(out, expected, 1e-4, f"output compiled with {backend}", "output without")
    _close(compiled_slope, slope, 1e-3, f"gradient compiled with {backend}", "gradient without")


def compiles_to_machine_code(build: Build, channels: int) -> None:
    """The same with torch.compile's default backend; skipped where no C++ compiler works."""
    compiles(build, channels, backend="inductor")


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        shapes,
        gradients,
        dtypes,
        batch_independence,
        determinism,
        memory_format,
        flops,
        state_dict,
        reference,
        compiles,
        compiles_to_machine_code,
    )
}
SLOW = {"compiles_to_machine_code"}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(batch: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=_generator(seed))


def _same_form(out: object, x: Tensor, where: str) -> None:
    if not isinstance(out, Tensor):
        raise Failure(f"output is a {type(out).__name__}, not a tensor")
    for axis, name in enumerate(("images", "channels", "rows", "columns")):
        if out.ndim != 4:
            raise Failure(f"output has {out.ndim} dimensions, it must have 4: (B, C, H, W)")
        if out.shape[axis] != x.shape[axis]:
            raise Failure(f"output has {out.shape[axis]} {name}, input has {x.shape[axis]}, {where}")
    if out.dtype != x.dtype:
        raise Failure(f"output is {out.dtype}, input is {x.dtype}, {where}")
    _finite(out, f"output {where}")


def _finite(x: Tensor, what: str) -> None:
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise Failure(f"{what}: {bad} of {x.numel()} values are not finite")


def _close(a: Tensor, b: Tensor, tolerance: float, what: str, other: str, floor: float = 1e-6) -> None:
    """Relative difference of two tensors in the Euclidean norm, at most `tolerance`; smaller norms count as `floor`."""
    error = ((a - b).norm() / b.norm().clamp_min(floor)).item()
    if not error <= tolerance:
        raise Failure(f"{what} differs from {other} by {error:.2g}, at most {tolerance:.2g} is rounding")
