"""A results folder with a finished comparison, from per-image rows, by the suite's own functions."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import results_folder
from scipy import stats

from sisr import statistics
from sisr.comparison import result
from sisr.tables import cells, runs
from sisr.tables.runs import Setting

RUNS = {
    "enlca": ("enlcn", "enlca", {"k": 6.0, "m": 128}),
    "nlsa": ("nlsn", "nlsa", {"rounds": 4}),
    "my_attention": ("edsr", "my_attention", {}),
}
GAINS = {"enlca": 0.50, "nlsa": 0.46, "my_attention": 0.52}
SETS = {"photographs-test": 3, "Set14": 14}
_COSTS = {"parameters": 12480.0, "network_parameters": 48e3, "gflops": 0.66, "network_gflops": 9.1,
          "forward_seconds": 0.021, "training_seconds": 0.068, "peak_memory_bytes": 12.4e6}  # fmt: skip


def make(results: Path, labels: Sequence[str] = tuple(RUNS), seeds: tuple[int, ...] = (0,), sets: Any = None) -> None:
    """Write runs, per-image rows, the table and the costs of a comparison whose reference is the first label."""
    sets = sets or SETS
    ids: dict[str, list[str]] = {}
    for label in labels:
        name, attention, options = RUNS[label]
        for seed in seeds:
            each = results_folder.run(name, 4, attention, seed, **options)
            results_folder.add(results, each, GAINS[label], sets)
            ids.setdefault(label, []).append(each.id)
    for control in ("bicubic", "hr"):
        results_folder.evaluate(results, f"{control}-x4", 4, np.inf if control == "hr" else 0.0, 0, sets)
    write_table(results, ids)
    write_costs(results, labels)


def write_table(results: Path, ids: Mapping[str, Sequence[str]]) -> None:
    """Write `tables/compare.csv` from per-image rows; the first label is the reference."""
    settings = {label: runs.group(runs.load(results, names))[0] for label, names in ids.items()}
    found = list(_cells(settings, results))
    cells.write(cells.frame(found), results / "tables" / "compare.csv")


def _cells(settings: dict[str, Setting], results: Path) -> Iterator[cells.Cell]:
    reference = next(iter(settings))
    everything = {label: (setting, "mechanism") for label, setting in settings.items()}
    loaded = runs.group(runs.load(results, [run.id for setting in settings.values() for run in setting.runs]))
    for each in loaded:
        if each.first.control:
            everything[runs.CONTROLS[each.first.control]] = (each, "control")
    for dataset in settings[reference].datasets:
        for label, (setting, kind) in everything.items():
            base: dict[str, Any] = {
                "table": "compare", "row": label, "kind": kind, "scale": 4, "dataset": dataset,
            }  # fmt: skip
            for quantity, unit in (("psnr", "dB"), ("ssim", "")):
                note = "reference" if label == reference else ""
                cell = {**base, "quantity": quantity, "unit": unit, "note": note}
                yield cells.measured(cell, setting, statistics.mean(setting.values(dataset, quantity)), results.name)
                if kind == "control" or label == reference:
                    continue
                gain = cells.gain(setting, settings[reference], dataset, quantity)
                cell = {**base, "quantity": f"{quantity}_difference", "unit": unit}
                yield cells.measured(cell, setting, gain, results.name)
                one, two = (s.values(dataset, quantity).mean(axis=0) for s in (setting, settings[reference]))
                p = float(stats.wilcoxon(one, two).pvalue)
                corrected = min(1.0, p * (len(settings) - 1))
                verdict = "no difference" if corrected >= 0.05 else "better" if gain.value > 0 else "worse"
                if gain.images < 6:
                    verdict = f"cannot be told: with {gain.images} images no test can reach 5 %"
                told = {"p": p, "p_corrected": corrected, "verdict": verdict}
                for name, value in told.items():
                    yield cells.Cell(**base, quantity=f"{quantity}_{name}", unit="", measured=value)
    for index, label in enumerate(settings):
        for quantity, value in _COSTS.items():
            yield cells.Cell(
                table="compare", row=label, kind="mechanism", scale=4, quantity=quantity, unit="",
                measured=value * (1 + 0.7 * index), low=value * (0.9 + 0.7 * index), high=value * (1.1 + 0.7 * index),
                hardware="a processor (2 threads)", torch="2.14.1",
            )  # fmt: skip


def write_costs(results: Path, labels: Sequence[str]) -> None:
    """Write `comparison/cost_by_size.csv`: time that grows with the pixels, or with their square."""
    rows = []
    for index, label in enumerate(labels):
        for side in (32, 64, 128):
            seconds = 1e-6 * (index + 1) * float(side**2) ** (1 + 0.3 * (index % 2))
            rows.append(
                {
                    "label": label, "height": side, "width": side, "forward_seconds": seconds,
                    "forward_low": 0.9 * seconds, "forward_high": 1.2 * seconds, "training_seconds": 3 * seconds,
                    "peak_memory_bytes": 900.0 * side**2 * (index + 1), "gflops": 6.6e-5 * side**2 * (index + 1),
                    "device": "a processor",
                }
            )  # fmt: skip
    path = results / "comparison" / "cost_by_size.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(result.COST_COLUMNS)).to_csv(path, index=False)
