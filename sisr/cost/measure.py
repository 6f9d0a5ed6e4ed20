"""Parameters, operations, time and memory of mechanisms and networks, one after another in one process."""

import copy
import inspect
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import models
from models.attention import _registry, _switches
from models.attention._errors import CRASHES
from models.custom import is_custom, is_network
from sisr.config.mechanisms import Mechanism
from sisr.cost import op_counters, products
from sisr.cost.timing import peak_memory, quartiles, seconds_of
from sisr.utils.errors import UsageError
from sisr.utils.files import atomic_write, is_file
from sisr.utils.memory import is_shortage
from sisr.utils.provenance import device_name

COLUMNS = (
    "spec", "kind", "channels", "height", "width", "parameters", "fvcore_gmacs", "core_gmacs", "torch_gflops",
    "fvcore_by_operator", "operations_by_operator", "paper_gflops", "paper_convention", "uncounted", "seconds_median",
    "seconds_low", "seconds_high", "peak_memory_bytes", "device", "threads", "torch", "gmacs", "counter", "at_least",
    "core_counter", "core_at_least", "products_by_operator",
)  # fmt: skip
"""`gmacs` and `core_gmacs` are the counts of `count_operations` for the module and its core, with the counter that they
are from and the names of what is not in them; the columns of fvcore and torch have what these count alone."""
TRAINING = ("training_seconds", "training_low", "training_high", "training_memory_bytes")
"""Columns of `measure_training`."""


@dataclass(frozen=True)
class Operations:
    """Multiply-adds of one forward, as counted in two ways."""

    multiply_adds: float
    """fvcore's where the two agree; where they differ, the larger."""
    counter: str
    """`fvcore` or `operators` (`sisr.cost.products`): what `multiply_adds` is from."""
    at_least: str
    """Names of operators that may multiply and are not counted, joined by commas: then the count is a lower bound."""
    fvcore: dict[str, float] | None
    """Multiply-adds by fvcore, by operator; None where it cannot trace the module."""
    others: dict[str, float]
    """Operations that are no multiply-adds, by operator."""
    uncounted: dict[str, int]
    """Calls of operators that fvcore does not count."""
    products: dict[str, float]
    """Multiply-adds of the matrix products alone, by operator, as executed."""


@dataclass(frozen=True)
class Subject:
    """The module of one spec and an example input."""

    spec: str
    name: str
    kind: str
    """`mechanism` or `network`."""
    module: nn.Module
    options: dict[str, Any]
    input: Tensor
    """(1, channels, H, W) feature map of a mechanism, (1, 3, H, W) image of a network."""


def build(spec: str, channels: int, size: tuple[int, int], embedding: int, device: torch.device) -> Subject:
    """A mechanism on a feature map of so many channels, or a network on an RGB image, of size (H, W).

    spec: as in `sisr.config.mechanisms`, or a weights file (any that `models.load` reads): the network in it.

    embedding: channels of query and key, unless the spec has `reduction`. 64 is the width of the paper's Table 4 (64
    channels, so `reduction` is 1) and of ENLCN's modules (256 channels, so it is 4).
    Raises UsageError for an unknown name, option or value.
    """
    generator = torch.Generator().manual_seed(0)
    weights = is_file(Path(spec)) and Path(spec).suffix != ".py"
    named = Mechanism(spec) if weights else Mechanism.parse(spec)
    name, options = named.name, dict(named.options)
    try:
        if weights:
            network: Any = models.load(spec).to(device)
            example = torch.rand(1, 3, *size, generator=generator)
            return Subject(spec, network.config["name"], "network", network, {}, example.to(device))
        if name in models.available() or (is_custom(name) and is_network(name)):
            module = models.create(name, **options)
            example = torch.rand(1, 3, *size, generator=generator)
            return Subject(spec, name, "network", module.to(device).eval(), options, example.to(device))
        mechanism = _registry.find(name)
        if "reduction" in inspect.signature(mechanism).parameters and "reduction" not in options:
            options = {**options, "reduction": max(1, channels // embedding)}
        module = models.attention.create(name, channels=channels, **options)
    except ValueError as error:
        raise UsageError(f"{spec}: {str(error).rstrip('.')}.") from error
    example = torch.rand(1, channels, *size, generator=generator)
    resolved = {**options, **getattr(module, "options", {})}
    return Subject(spec, name, "mechanism", module.to(device).eval(), resolved, example.to(device))


def measure_cost(subject: Subject, seconds: float = 2.0) -> dict[str, Any]:
    """One row with the columns `COLUMNS`. seconds: for how long the forward is repeated."""
    module, example = subject.module, subject.input
    with torch.no_grad():
        counted = count_operations(module, example)
        core, c, c_out = _core(subject, counted)
        low, median, high = quartiles(seconds_of(lambda: module(example), example.device, seconds))
        memory = peak_memory(lambda: module(example), example.device)
        flops = _torch_flops(lambda: module(example))
    paper, convention = paper_gflops(subject, c, c_out)
    return {
        "spec": subject.spec,
        "kind": subject.kind,
        "channels": example.shape[1],
        "height": example.shape[2],
        "width": example.shape[3],
        "parameters": sum(p.numel() for p in module.parameters()),
        "fvcore_gmacs": None if counted.fvcore is None else sum(counted.fvcore.values()) / 1e9,
        "core_gmacs": None if core is None else core.multiply_adds / 1e9,
        "torch_gflops": None if flops is None else flops / 1e9,
        "fvcore_by_operator": json.dumps(_sorted(counted.fvcore or {})),
        "operations_by_operator": json.dumps(_sorted(counted.others)),
        "paper_gflops": paper,
        "paper_convention": convention,
        "uncounted": json.dumps(_sorted(counted.uncounted)),
        "seconds_median": median,
        "seconds_low": low,
        "seconds_high": high,
        "peak_memory_bytes": memory,
        "device": device_name(example.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gmacs": counted.multiply_adds / 1e9,
        "counter": counted.counter,
        "at_least": counted.at_least,
        "core_counter": "" if core is None else core.counter,
        "core_at_least": "" if core is None else core.at_least,
        "products_by_operator": json.dumps(_sorted(counted.products)),
    }


def measure_training(subject: Subject, seconds: float = 2.0) -> dict[str, Any]:
    """Columns `TRAINING`: time and peak memory of one forward and backward, with the auxiliary loss if there is one.

    Blank (None) where memory does not suffice: that is a finding, too.
    """
    step = gradient_step(subject)
    try:
        low, median, high = quartiles(seconds_of(step, subject.input.device, seconds))
        memory = peak_memory(step, subject.input.device)
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        return dict.fromkeys(TRAINING)
    return dict(zip(TRAINING, (median, low, high, memory), strict=True))


def paper_gflops(subject: Subject, channels: int, out_channels: int) -> tuple[float | None, str]:
    """(GFLOP, formula) by the paper's convention, or (None, reason).

    The mechanism has the formula, in `paper_flops`; channels and out_channels are those of query and key, and of value.
    """
    if subject.kind == "network":
        return None, "the paper's convention is for one mechanism, not for a network"
    if not hasattr(subject.module, "paper_flops"):
        return None, f"the paper has no formula for {subject.name}"
    tokens = subject.input.shape[-2] * subject.input.shape[-1]
    flops, formula = subject.module.paper_flops(tokens, channels, out_channels)  # type: ignore[operator]
    return flops / 1e9, f"{formula}, c = {channels}, c_out = {out_channels}, N = {tokens}"


def mechanism_cost(name: str) -> tuple[float, int]:
    """GFLOPs by the paper's convention (0 without a formula) and parameters of a mechanism, as in `declared.costs`."""
    subject = build(name, 64, (100, 100), 64, torch.device("meta"))
    module = subject.module
    out_channels = subject.input.shape[1]
    width = out_channels // getattr(module, "options", {}).get("reduction", 1)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return paper_gflops(subject, width, out_channels)[0] or 0.0, parameters


def gradient_step(subject: Subject) -> Callable[[], None]:
    """A function for one forward and backward pass in training mode, with the auxiliary loss.

    It works on a copy: the subject's own module is left as it is. Gradients are dropped after each pass.
    """
    module, example = copy.deepcopy(subject.module).train(), subject.input.detach().requires_grad_()
    _switches.set_auxiliary_loss(module, True)

    def step() -> None:
        loss = module(example).float().mean()
        auxiliary = _switches.auxiliary_loss(module)
        (loss if auxiliary is None else loss + auxiliary).backward()
        module.zero_grad(set_to_none=True)
        example.grad = None

    return step


def write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the rows as CSV."""
    with atomic_write(path) as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(temporary, index=False)


def count_operations(module: nn.Module, *inputs: Any) -> Operations:
    """Multiply-adds of one forward, by fvcore and by `sisr.cost.products`, which executes it.

    fvcore's count is kept where its matrix products are as many as those that are executed. einsum may differ by a
    thousandth, since fvcore rounds it. Else the larger count of products is taken, with what else fvcore counts.
    """
    executed = products.count(lambda: module(*inputs))
    try:
        by_fvcore, uncounted = count(module, *inputs)
    except CRASHES:
        total, at_least = executed.total, ", ".join(executed.at_least)
        return Operations(total, "operators", at_least, None, {}, {}, executed.multiply_adds)
    adds = {name: value for name, value in by_fvcore.items() if f"aten::{name}" not in op_counters.OPERATIONS}
    missed = executed.total - sum(adds.get(name, 0) for name in op_counters.PRODUCTS)
    total, counter = sum(adds.values()), "fvcore"
    if missed > adds.get("einsum", 0) / 1000:
        total, counter = total + missed, "operators"
    return Operations(
        multiply_adds=total,
        counter=counter,
        at_least=", ".join(executed.at_least),
        fvcore=adds,
        others={name: value for name, value in by_fvcore.items() if name not in adds},
        uncounted=uncounted,
        products=executed.multiply_adds,
    )


def count(module: nn.Module, *inputs: Any) -> tuple[dict[str, float], dict[str, int]]:
    """fvcore's count of one forward, with the handles of this suite: {operator: count}, {uncounted operator: calls}.

    A fused multiply-add is one; operators in `op_counters.OPERATIONS` are counted in operations of their own.
    """
    with _quiet(), products.decomposed():
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis = analysis.tracer_warnings("none")
        analysis.set_op_handle(**{**op_counters.OPERATIONS, **op_counters.MULTIPLY_ADDS})
        counted = {name: float(value) for name, value in analysis.by_operator().items()}
        return counted, {str(name): int(calls) for name, calls in analysis.unsupported_ops().items()}


class _Core(nn.Module):
    """A mechanism without its embeddings, as counted in the paper's Table 4."""

    def __init__(self, mechanism: models.attention.Attention, size: tuple[int, int]) -> None:
        super().__init__()
        self.mechanism = mechanism
        self.size = size

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.mechanism.combine(self.mechanism.attend(query, key, value, self.size), value, self.size)


def _core(subject: Subject, whole: Operations) -> tuple[Operations | None, int, int]:
    """(count of the attention core, channels of query and key, of value); the whole of a free-form mechanism."""
    module, example = subject.module, subject.input
    if subject.kind == "network":
        return None, 0, 0
    if not isinstance(module, models.attention.Attention):
        return whole, example.shape[1], example.shape[1]
    query, key, value = module.embed(example)
    counted = count_operations(_Core(module, (example.shape[2], example.shape[3])), query, key, value)
    return counted, query.shape[-1], value.shape[-1]


def _torch_flops(forward: Callable[[], Any]) -> float | None:
    """torch's own count, two a multiply-add; some builds omit fused attention. None where it fails."""
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with FlopCounterMode(display=False) as counter, products.decomposed():
            forward()
    except CRASHES:
        return None
    return float(counter.get_total_flops())


def _sorted(counts: dict[str, Any]) -> dict[str, Any]:
    """Largest first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's warnings about Python values that become constants: the input's size is one, by intent."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)
