"""Tools of the benchmarks: functions timed in turn, medians, peak memory, growth."""

import csv
import ctypes
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

Call = Callable[[], object]


def machine(device: torch.device) -> str:
    """Machine, load and versions in one line."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{name}, {torch.get_num_threads()} threads of {os.cpu_count()} cores{load}; "
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def seconds(
    calls: Mapping[str, Call], device: torch.device, repeats: int, budget: float = 10.0
) -> dict[str, list[float]]:
    """Wall times of each call. Calls run in turn, so load affects all alike; the first round is not counted.

    Rounds end after `repeats`, or after `budget` seconds and at least three rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    for round_number in range(repeats + 1):
        for name, call in calls.items():
            wait(device)
            start = time.perf_counter()
            call()
            wait(device)
            if round_number:
                times[name].append(time.perf_counter() - start)
        if round_number >= 3 and time.perf_counter() - begin > budget:
            break
    return times


def wait(device: torch.device) -> None:
    """Wait until a GPU is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_megabytes(call: Call, device: torch.device) -> float:
    """Peak memory of a call beyond the memory in use before (10⁶ bytes); nan if the system does not report it.

    On the CPU this is the resident memory of the process, whose peak can be reset on Linux. Memory that the allocator
    has cached is released first.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        wait(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
        call()
        return (_resident("VmHWM") - before) / 1e6
    except (OSError, AttributeError):
        return math.nan


def _resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return float(line.split()[1]) * 1024
    return math.nan


def median(times: Sequence[float]) -> float:
    """Median in seconds; nan for an empty list."""
    return statistics.median(times) if times else math.nan


def exponent(sizes: Sequence[int], times: Sequence[float], above: int = 4096) -> float:
    """Slope of log time over log size by least squares, sizes from `above` on; nan with fewer than two of them."""
    points = [(math.log(n), math.log(t)) for n, t in zip(sizes, times, strict=True) if n >= above and t > 0]
    if len(points) < 2:
        return math.nan
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows with equal keys as CSV, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def plot(path: Path, rows: Sequence[Mapping[str, object]], title: str, fits: Mapping[str, float]) -> None:
    """Time and memory over the number of tokens, one line a method, logarithmic; the exponent in the legend."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for axis, field, label in (
        (axes[0], "milliseconds", "time in ms, median"),
        (axes[1], "megabytes", "peak memory in MB"),
    ):
        for method in dict.fromkeys(str(row["method"]) for row in rows):
            points = [(row["tokens"], row[field]) for row in rows if row["method"] == method]
            grows = f" (N^{fits[method]:.2f})" if field == "milliseconds" and not math.isnan(fits[method]) else ""
            axis.plot(*zip(*points, strict=True), marker="o", label=method + grows)
        axis.set(xscale="log", yscale="log", xlabel="tokens N", ylabel=label)
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    figure.suptitle(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    figure.savefig(temporary, dpi=150)
    pyplot.close(figure)
    temporary.replace(path)
