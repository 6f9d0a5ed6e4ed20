"""Tools of the benchmarks: arguments, description of the machine, comparison of methods, CSV and figure."""

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch

from sisr.cost.timing import Call, peak_memory, take_turns
from sisr.utils.files import atomic_write
from sisr.utils.provenance import device_name


def arguments(text: str | None, *, repeats: int, device: str = "cpu") -> argparse.ArgumentParser:
    """A parser with the arguments of all benchmarks; `text` is the module's own."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help=f"maximum number of rounds (default {repeats})")
    parser.add_argument("--device", type=torch.device, default=torch.device(device), help=f"(default {device})")
    parser.add_argument("--threads", type=int, help="CPU threads; 1 gives stable times on a shared machine")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for what is measured")
    return parser


def machine(device: torch.device, threads: int | None = None) -> str:
    """Set the number of CPU threads; machine, load and versions in one line."""
    if threads:
        torch.set_num_threads(threads)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{device_name(device)}, {torch.get_num_threads()} threads of {os.cpu_count()} cores{load}; "
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}"
    )


def compare(title: str, calls: Mapping[str, Call], device: torch.device, repeats: int) -> pd.DataFrame:
    """Time calls in turn for some 10 seconds, and print a line for each; the first one is the reference."""
    times = take_turns(calls, device, rounds=repeats, seconds=10)
    measured = pd.DataFrame(
        {
            "method": name,
            "milliseconds": 1e3 * statistics.median(times[name]),
            "fastest_milliseconds": 1e3 * min(times[name]),
            "megabytes": peak_memory(call, device) / 1e6,
            "rounds": len(times[name]),
        }
        for name, call in calls.items()
    )
    print(f"\n{title}: median (fastest) ms, peak MB; speed-up and memory relative to: {measured['method'][0]}")
    first = measured.iloc[0]
    for _, row in measured.iterrows():
        print(
            f"  {row['method']:26s} {row['milliseconds']:9.2f} ({row['fastest_milliseconds']:8.2f}) "
            f"{row['megabytes']:8.1f}   {first['milliseconds'] / row['milliseconds']:6.2f}x "
            f"{row['megabytes'] / first['megabytes']:6.3f}"
        )
    return measured


def report(name: str, measured: pd.DataFrame, output: Path | None, above: int) -> None:
    """Print how the fastest times grow from `above` tokens on; write CSV, with the exponent, and figure."""
    growth = {}
    for method, rows in measured.groupby("method", sort=False):
        large = rows[(rows["tokens"] >= above) & (rows["fastest_milliseconds"] > 0)]  # without sizes not measured
        points = [large[column].map(math.log) for column in ("tokens", "fastest_milliseconds")]
        growth[str(method)] = statistics.linear_regression(*points).slope if len(large) > 1 else math.nan
    print(f"\ntime grows with N to the power (fastest times, from {above:,} tokens on):")
    for method, slope in growth.items():
        print(f"  {method:26s} {slope:.2f}")
    if output:
        save(measured.assign(exponent=measured["method"].map(growth)), output / f"{name}.csv")
        plot(measured, output / f"{name}.png", growth)


def save(measured: pd.DataFrame, path: Path) -> None:
    """Write CSV."""
    with atomic_write(path) as temporary:
        measured.to_csv(temporary, index=False)
    print(f"written: {path}")


def save_json(content: object, path: Path) -> None:
    """Write JSON."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    print(f"written: {path}")


def plot(measured: pd.DataFrame, path: Path, growth: Mapping[str, float]) -> None:
    """Time and memory over the number of tokens, one line a method, logarithmic; the exponent in the legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5), layout="constrained")
    labels = {"milliseconds": "time in ms, median", "megabytes": "peak memory in MB"}
    axes = figure.subplots(1, 2)
    for axis, (field, label) in zip(axes, labels.items(), strict=True):
        for number, (method, rows) in enumerate(measured.groupby("method", sort=False)):
            slope = growth[str(method)]
            grows = "" if math.isnan(slope) else f" (N^{slope:.2f})"
            style = "-" if number < 10 else "--"  # there are ten colours
            axis.plot(rows["tokens"], rows[field], style, marker="o", markersize=4, label=f"{method}{grows}")
        axis.set(xscale="log", yscale="log", xlabel="tokens N", ylabel=label)
        axis.grid(alpha=0.3, which="both")
    lines = axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside right upper", fontsize=8, title="time grows with", handlelength=3)
    figure.suptitle(measured["device"].iloc[0], fontsize=9)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150)
    print(f"written: {path}")
