"""Checks with operation counters, torch.compile and a simulated GPU."""

import re
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch._dynamo.exc import Unsupported
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from models.attention._errors import place
from models.attention.checks.tools import Build, Failure, Skipped, close, images


def flops(build: Build, channels: int) -> None:
    """The forward pass can be traced by operation counters, and the count does not depend on the image."""
    module = build().eval()
    x = images(1, channels, 12, 10)
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
        close(traced(x), module(x), 1e-5, "the traced module", "the module")


def device(build: Build, channels: int) -> None:
    """New tensors are created on the device of the input; simulated with fake tensors, without a GPU."""
    for training in (False, True):
        module = build().train(training)
        try:
            with FakeTensorMode(allow_non_fake_inputs=True), torch.set_grad_enabled(training):
                state = {
                    name: torch.empty(x.shape, dtype=x.dtype, device="cuda", requires_grad=x.requires_grad)
                    for name, x in (*module.named_parameters(), *module.named_buffers())
                }
                out = functional_call(module, state, (torch.empty(2, channels, 12, 10, device="cuda"),))
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise Skipped(f"this depends on values, which fake tensors do not have: {place(error)}") from None
        except RuntimeError as error:
            if "devices" in str(error):
                raise Failure(
                    f"on a GPU, tensors of the CPU and of the GPU meet: {place(error) or 'in the forward'}; make new "
                    "tensors with device=x.device, and register kept ones as buffers"
                ) from None
            raise
        if out.device.type != "cuda":
            raise Failure(
                f"the input is on a GPU, but the output is on the {out.device.type}; create it with device=x.device"
            )


def compiles(build: Build, channels: int, backend: str = "aot_eager") -> None:
    """torch.compile gives the same output and gradient, with one graph each for forward and backward."""
    module = build().eval()
    x = images(2, channels, 8, 6).requires_grad_()
    expected = module(x)
    (slope,) = torch.autograd.grad(expected.square().sum(), x)
    torch._dynamo.reset()
    try:
        out = torch.compile(module, backend=backend, fullgraph=True, dynamic=False)(x)
        (compiled_slope,) = torch.autograd.grad(out.square().sum(), x)
    except Unsupported as error:
        explained = re.search(r"Explanation: (.*)", str(error))
        reason = explained[1] if explained else str(error).splitlines()[0]
        raise Failure(
            f"torch.compile needs more than one graph: at {place(error) or 'the forward'}, {reason}"
        ) from None
    except RuntimeError as error:
        if backend == "inductor" and re.search(
            r"InvalidCxxCompiler|CppCompileError|working C\+\+ compiler", str(error)
        ):
            raise Skipped("torch.compile found no working C++ compiler") from None
        raise
    close(out, expected, 1e-4, f"output compiled with {backend}", "output without")
    close(compiled_slope, slope, 1e-3, f"gradient compiled with {backend}", "gradient without")


def compiles_to_machine_code(build: Build, channels: int) -> None:
    """The same with torch.compile's default backend; skipped without a working C++ compiler."""
    compiles(build, channels, backend="inductor")
