"""A results folder with a finished comparison, from invented per-image rows and costs, by the suite's own functions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sisr.comparison import result, select_runs, table_view
from sisr.report import tables
from tests.helpers import results_folder

RUNS = {
    "enlca": ("enlcn", "enlca", {"k": 6.0, "m": 128}),
    "nlsa": ("nlsn", "nlsa", {"rounds": 4}),
    "my_attention": ("edsr", "my_attention", {}),
}
GAINS = {"enlca": 0.50, "nlsa": -1.2, "my_attention": 0.52}
SETS = {"Set14": 14, "photographs-test": 3}


def make(
    results: Path, labels: Sequence[str] = tuple(RUNS), seeds: tuple[int, ...] = (0, 1), sets: Any = None
) -> dict[str, list[str]]:
    """Write runs, per-image rows, the table and the costs of a comparison with `enlca`; ids of the runs by label."""
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
    write_costs(results, labels)
    write_table(results, ids)
    return ids


def write_table(results: Path, ids: Mapping[str, Sequence[str]]) -> None:
    """Write `tables/compare.{csv,md}` from per-image rows and `comparison/cost.csv`."""
    words = [f"{label}={','.join(names)}" for label, names in ids.items()]
    table = select_runs.compare_runs(results, words, costs=results / "comparison" / "cost.csv")
    tables.write_view(table_view.view(table), table, results / "tables")


def write_costs(results: Path, labels: Sequence[str]) -> None:
    """Write `comparison/cost.csv` and `cost_by_size.csv`: time that grows with the pixels, or faster."""
    measured, by_size = [], []
    for index, label in enumerate(labels):
        for side in (32, 64, 128):
            seconds = 1e-6 * (index + 1) * float(side**2) ** (1 + 0.3 * (index % 2))
            operations, memory = 6.6e-5 * side**2 * (index + 1), 900.0 * side**2 * (index + 1)
            common = {"label": label, "height": side, "width": side, "device": "a processor", "gflops": operations,
                      "training_seconds": 3 * seconds, "peak_memory_bytes": memory}  # fmt: skip
            by_size.append(
                common | {"forward_seconds": seconds, "forward_low": 0.9 * seconds, "forward_high": 1.2 * seconds}
            )
            for kind in ("mechanism", "network") if side == 128 else ("mechanism",):
                measured.append(
                    common
                    | {
                        "kind": kind, "channels": 64, "parameters": 12480 * (index + 1), "threads": 2,
                        "torch": "2.14.1", "gflops_convention": "a formula", "seconds_median": seconds,
                        "seconds_low": 0.9 * seconds, "seconds_high": 1.2 * seconds,
                        "training_low": 2.8 * seconds, "training_high": 3.3 * seconds,
                    }
                )  # fmt: skip
    folder = results / "comparison"
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(measured).to_csv(folder / "cost.csv", index=False)
    pd.DataFrame(by_size, columns=list(result.COST_COLUMNS)).to_csv(folder / "cost_by_size.csv", index=False)


def write_crops(results: Path, labels: Sequence[str]) -> None:
    """Write `comparison/crops/` with noise for pictures, in the format of `sisr.comparison.crops`."""
    from PIL import Image

    folder = results / "comparison" / "crops"
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0)
    Image.fromarray(noise.integers(0, 256, (120, 160, 3), dtype=np.uint8)).save(folder / "00-whole.png")
    panels = []
    for place, label in enumerate(("HR", "bicubic", *labels)):
        file = f"00-{place:02d}-{label}.png"
        Image.fromarray(noise.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / file)
        psnr = None if label == "HR" else 27.0 + place
        panels.append(
            {"label": label, "file": file, "psnr": psnr, "ssim": psnr and 0.8, "crop_psnr": psnr and psnr - 3,
             "crop_ssim": psnr and 0.7}
        )  # fmt: skip
    scene = {"dataset": "Set14", "image": "image3", "height": 240, "width": 320, "x": 100, "y": 60, "size": 80,
             "why": "nlsa minus enlca: −1.70 dB in the image, −2.00 dB in the crop", "whole": "00-whole.png",
             "crops": panels}  # fmt: skip
    (folder / "index.json").write_text(json.dumps([scene]))
