"""Parameters, operations, time and memory of mechanisms and networks, one after another in one process."""

import copy
import inspect
import json
import logging
import os
import statistics
import tempfile
import time
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
from sisr.config import specs
from sisr.cost import op_counters, paper_flops
from sisr.utils.errors import UsageError
from sisr.utils.files import atomic_write
from sisr.utils.memory import is_shortage

COLUMNS = (
    "spec", "kind", "channels", "height", "width", "parameters", "fvcore_gmacs", "core_gmacs", "torch_gflops",
    "fvcore_by_operator", "operations_by_operator", "paper_gflops", "paper_convention", "uncounted", "seconds_median",
    "seconds_low", "seconds_high", "peak_memory_bytes", "device", "threads", "torch",
)  # fmt: skip
TRAINING = ("training_seconds", "training_low", "training_high", "training_memory_bytes")
"""Columns of `measure_training`."""


@dataclass(frozen=True)
class Subject:
    """What one spec names, built and ready to run."""

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

    embedding: channels of query and key, unless the spec has `reduction`. 64 is the width of the paper's Table 4 (64
    channels, so `reduction` is 1) and of ENLCN's modules (256 channels, so it is 4).
    Raises UsageError for an unknown name, option or value.
    """
    name, options = specs.parse(spec)
    generator = torch.Generator().manual_seed(0)
    try:
        if name in models.available():
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


def measure(subject: Subject, seconds: float = 2.0) -> dict[str, Any]:
    """One row with the columns `COLUMNS`. seconds: for how long the forward is repeated."""
    module, example = subject.module, subject.input
    with torch.no_grad():
        counted, uncounted = count(module, example)
        multiply_adds = {
            name: value for name, value in counted.items() if f"aten::{name}" not in op_counters.OPERATIONS
        }
        core, c, c_out = _core(subject)
        times = _times(lambda: module(example), seconds, example.device)
        memory = peak_memory(lambda: module(example), example.device)
        flops = _torch_flops(lambda: module(example))
    paper, convention = None, "the paper's convention is for one mechanism, not for a network"
    if subject.kind == "mechanism":
        pixels = example.shape[-2] * example.shape[-1]
        paper, convention = paper_flops.gflops(subject.name, c, c_out, pixels, subject.options)
    median, low, high = _quartiles(times)
    return {
        "spec": subject.spec,
        "kind": subject.kind,
        "channels": example.shape[1],
        "height": example.shape[2],
        "width": example.shape[3],
        "parameters": sum(p.numel() for p in module.parameters()),
        "fvcore_gmacs": sum(multiply_adds.values()) / 1e9,
        "core_gmacs": core,
        "torch_gflops": flops / 1e9,
        "fvcore_by_operator": json.dumps(_sorted(multiply_adds)),
        "operations_by_operator": json.dumps(_sorted({k: v for k, v in counted.items() if k not in multiply_adds})),
        "paper_gflops": paper,
        "paper_convention": convention,
        "uncounted": json.dumps(_sorted(uncounted)),
        "seconds_median": median,
        "seconds_low": low,
        "seconds_high": high,
        "peak_memory_bytes": memory,
        "device": _device_name(example.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def measure_training(subject: Subject, seconds: float = 2.0) -> dict[str, Any]:
    """Columns `TRAINING`: time and peak memory of one forward and backward, with the auxiliary loss where there is one.

    Blank (None) where memory does not suffice: that is a finding, too.
    """
    step = gradient_step(subject)
    try:
        times = _times(step, seconds, subject.input.device)
        memory = peak_memory(step, subject.input.device)
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        return dict.fromkeys(TRAINING)
    median, low, high = _quartiles(times)
    return dict(zip(TRAINING, (median, low, high, memory), strict=True))


def gradient_step(subject: Subject) -> Callable[[], None]:
    """A function that takes one forward and backward in training mode, the auxiliary loss switched on.

    It works on a copy: the subject's own module is left as it is.
    """
    module, example = copy.deepcopy(subject.module).train(), subject.input.clone().requires_grad_()
    _switches.set_auxiliary_loss(module, True)

    def step() -> None:
        module.zero_grad(set_to_none=True)
        example.grad = None
        loss = module(example).float().mean()
        auxiliary = _switches.auxiliary_loss(module)
        (loss if auxiliary is None else loss + auxiliary).backward()

    return step


def _quartiles(times: Sequence[float]) -> tuple[float, float, float]:
    """Median, first and third quartile."""
    low, _, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else [times[0]] * 3
    return statistics.median(times), low, high


def write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the rows as CSV."""
    with atomic_write(path) as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(temporary, index=False)


def count(module: nn.Module, *inputs: Any) -> tuple[dict[str, float], dict[str, int]]:
    """fvcore's count of one forward, with the handles of this suite: {operator: count}, {uncounted operator: calls}.

    A fused multiply-add is one; operators in `handles.OPERATIONS` are counted in operations of their own.
    """
    with _quiet():
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis = analysis.tracer_warnings("none")
        analysis.set_op_handle(**{**op_counters.OPERATIONS, **op_counters.MULTIPLY_ADDS})
        counted = {name: float(value) for name, value in analysis.by_operator().items()}
        return counted, {str(name): int(calls) for name, calls in analysis.unsupported_ops().items()}


class _Core(nn.Module):
    """A mechanism without its embeddings: what the paper's Table 4 counts."""

    def __init__(self, mechanism: models.attention.Attention, size: tuple[int, int]) -> None:
        super().__init__()
        self.mechanism = mechanism
        self.size = size

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.mechanism.attend(query, key, value, self.size)


def _core(subject: Subject) -> tuple[float | None, int, int]:
    """(GMAC of the attention core, channels of query and key, of value); the whole of a free-form mechanism."""
    module, example = subject.module, subject.input
    if subject.kind == "network":
        return None, 0, 0
    channels = example.shape[1]
    if not isinstance(module, models.attention.Attention):
        counted, c, c_out = count(module, example)[0], channels, channels
    else:
        query, key, value = module.embed(example)
        counted = count(_Core(module, (example.shape[2], example.shape[3])), query, key, value)[0]
        c, c_out = query.shape[-1], value.shape[-1]
    return sum(v for k, v in counted.items() if f"aten::{k}" not in op_counters.OPERATIONS) / 1e9, c, c_out


def _torch_flops(forward: Callable[[], Any]) -> float:
    """torch's own count, two a multiply-add; a check on fvcore's, though some builds leave fused attention out."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        forward()
    return float(counter.get_total_flops())


def _times(forward: Callable[[], Any], seconds: float, device: torch.device) -> list[float]:
    """Seconds of each repeated forward, after two that are not counted: at least 3, at most 200."""
    for _ in range(2):
        forward()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 200):
        _synchronise(device)
        start = time.perf_counter()
        forward()
        _synchronise(device)
        times.append(time.perf_counter() - start)
    return times


def peak_memory(forward: Callable[[], Any], device: torch.device) -> int:
    """Bytes that torch's allocator held at most during one forward, beyond what it held before (weights, input).

    On a GPU from the allocator's own peak. On the CPU torch keeps no peak, so the profiler records every allocation
    and the running sum has one; temporaries inside an operator are seen, workspaces that oneDNN and MKL allocate
    themselves are not. The process's resident size would be worse: memory that was freed earlier stays in it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        forward()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    from torch.profiler import ProfilerActivity, profile

    with _without_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        forward()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    from sisr.utils.provenance import device_name

    return device_name(device)


def _sorted(counts: dict[str, Any]) -> dict[str, Any]:
    """Largest first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's warnings about Python values that become constants: the input's size is one, by intent."""
    loggers = [logging.getLogger(name) for name in ("fvcore", "fvcore.nn.jit_analysis")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Without what the profiler's C++ part writes to stderr on starting and stopping; it has no switch for that."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
