"""The timer and the measure of peak memory, for costs and for benchmarks."""

import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from sisr.utils.memory import LiveBytes

Call = Callable[[], object]


def take_turns(
    calls: Mapping[str, Call],
    device: torch.device,
    *,
    seconds: float = math.inf,
    rounds: int = 200,
    fewest: int = 3,
    warm_up: int = 1,
) -> dict[str, list[float]]:
    """Wall times of each call in seconds, from an idle device until it is idle again.

    The calls take turns, so that a busy machine slows all of them alike.

    Args:
        calls: what is measured, by name.
        device: waited for before and after each call.
        seconds: time budget of the measured rounds; they end after it once there are `fewest`.
        rounds: most rounds.
        warm_up: rounds that are not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warm_up):
        for call in calls.values():
            call()
    begin = time.perf_counter()
    for number in range(1, rounds + 1):
        for name, call in calls.items():
            synchronise(device)
            start = time.perf_counter()
            call()
            synchronise(device)
            times[name].append(time.perf_counter() - start)
        if number >= fewest and time.perf_counter() - begin > seconds:
            break
    return times


def seconds_of(call: Call, device: torch.device, seconds: float) -> list[float]:
    """Wall times of one call, repeated for so many seconds: at least 3, at most 200, after two that are not counted."""
    return take_turns({"": call}, device, seconds=seconds, warm_up=2)[""]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return low, median, high


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory(call: Call, device: torch.device) -> int:
    """Most bytes that torch's allocator held at once during a call, beyond what it held before (weights, input).

    On a GPU from the allocator's own peak. On the CPU torch keeps no peak, so the profiler records every allocation
    and the running sum has one; temporaries inside an operator are seen, workspaces that oneDNN and MKL allocate
    themselves are not. The process's resident size would be worse: memory that was freed earlier stays in it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    if device.type == "mps":  # keeps no peak, and the profiler does not record its allocations
        with LiveBytes() as live:
            call()
        return live.peak
    from torch.profiler import ProfilerActivity, profile

    with _without_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


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
