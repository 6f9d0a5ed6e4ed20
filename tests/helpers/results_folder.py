"""A results folder with invented per-image rows, in the formats of the real one."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sisr.config.run import Network, Run, Training

SETS = {"Set5": 5, "photographs-test": 3}
# invented gains over bicubic in dB
GAINS = {"edsr": 0.50, "nlsn": 0.55, "enlcn": 0.60}
M = (8, 16, 32, 64, 128, 256)
ROUNDS = (1, 2, 4, 8)
K = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)


def run(name: str, scale: int = 4, attention: str | None = None, seed: int = 0, **options: Any) -> Run:
    """A run of the kind that `config/quick.yaml` plans."""
    contrastive = attention == "enlca"
    return Run(
        network=Network(
            name=name, scale=scale, blocks=4, channels=32, residual_scale=1.0, attention=attention,
            attention_options=options, slots=(0, 4) if attention else (),
        ),
        training=Training(
            steps=300, batch=8, patch=24, learning_rate=1e-3, halve_every=60,
            contrastive_weight=1e-3 if contrastive else 0.0, contrastive_start=45 if contrastive else 0,
            redraw_every=10,
        ),
        seed=seed,
    )  # fmt: skip


def experiments(seeds: tuple[int, ...] = (0,)) -> dict[str, list[Run]]:
    """The runs of every table."""
    found: dict[str, list[Run]] = {"table1": [], "table2": [], "table4": [], "k_sweep": []}
    for seed in seeds:
        for scale in (2, 4):
            found["table1"] += [
                run("edsr", scale, seed=seed),
                run("nlsn", scale, "nlsa", seed, rounds=4),
                run("enlcn", scale, "enlca", seed, k=6.0, m=128),
            ]
        found["table2"] += [
            run("edsr", seed=seed),
            run("edsr", 4, "enla", seed, k=1.0, m=128),
            run("edsr", 4, "enla", seed, k=6.0, m=128),
            run("enlcn", 4, "enlca", seed, k=6.0, m=128),
        ]
        found["table4"] += [run("edsr", 4, name, seed) for name in ("convolution", "nla")]
        found["table4"] += [run("nlsn", 4, "nlsa", seed, rounds=rounds) for rounds in ROUNDS]
        found["table4"] += [run("enlcn", 4, "enlca", seed, k=6.0, m=m) for m in M]
        found["k_sweep"] += [run("enlcn", 4, "enlca", seed, k=k, m=128) for k in K]
    return found


def make(results: Path, seeds: tuple[int, ...] = (0,)) -> dict[str, list[str]]:
    """Write a results folder for all four tables; the ids of the runs of each."""
    planned = experiments(seeds)
    for each in {run.id: run for runs in planned.values() for run in runs}.values():
        add(results, each)
    for scale in (2, 4):
        for control in ("bicubic", "hr"):
            evaluate(results, f"{control}-x{scale}", scale, np.inf if control == "hr" else 0.0, seed=0)
    write_complexity(results / "complexity" / "table4.csv")
    return {name: [run.id for run in runs] for name, runs in planned.items()}


def add(results: Path, each: Run, gain: float | None = None, sets: dict[str, int] | None = None) -> None:
    """Write one trained and evaluated run."""
    folder = results / "runs" / each.id
    folder.mkdir(parents=True, exist_ok=True)
    config = {**asdict(each), "preset": results.name, "data": {"train": list(each.train)}}
    (folder / "config.json").write_text(json.dumps(config))
    provenance = {
        "run_id": each.id, "git_commit": "0123abcd" * 5, "git_clean": True, "device": "a processor", "threads": 2,
        "torch": "2.14.1", "seed": each.seed, "weights_sha256": f"{each.digest}" * 8,
    }  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(provenance))
    if gain is None:
        k = each.network.attention_options.get("k", 6.0)
        gain = GAINS.get(each.network.name, 0.5) - 0.003 * (k - 6) ** 2
    evaluate(results, each.id, each.network.scale, gain, each.seed, sets or SETS)


def evaluate(results: Path, name: str, scale: int, gain: float, seed: int, sets: dict[str, int] | None = None) -> None:
    """Write the per-image rows of one evaluation: the images' difficulty, the gain, and a little noise."""
    noise = np.random.default_rng([seed, *map(ord, name)])
    for dataset, count in (sets or SETS).items():
        images = np.random.default_rng(list(map(ord, dataset)))
        psnr = images.normal({2: 33.0, 4: 28.5}[scale], 3, count) + gain
        if gain:
            psnr = psnr + noise.normal(0, 0.03, count)
        ssim = np.where(np.isinf(psnr), 1.0, 1 - 10 ** (-psnr / 28))
        folder = results / "evaluation" / name
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(
            {
                "image": [f"image{index}" for index in range(count)], "psnr": psnr, "ssim": ssim,
                "height": 256, "width": 256, "seconds": 0.1,
            }
        ).to_csv(folder / f"{dataset}_x{scale}.csv", index=False)  # fmt: skip
        how = {"protocol": "P1", "greyscale": "as-is", "lr": {"from": "imresize", "boundary": "symmetric"}}
        (folder / f"{dataset}_x{scale}.json").write_text(json.dumps(how))


def write_complexity(file: Path) -> None:
    """Write invented measurements of all mechanisms of Table 4 in the format of `python -m sisr complexity`."""
    specs = ["convolution", "nla", *(f"nlsa:rounds={r}" for r in ROUNDS), *(f"enlca:m={m}" for m in M)]
    gflops = [0.737, 25.6, *(1.151 * r for r in ROUNDS), *(0.00514 * m for m in M)]
    rows = [
        {
            "spec": spec, "kind": "mechanism", "channels": 64, "height": 100, "width": 100, "parameters": 12480,
            "fvcore_gmacs": operations / 2 + 0.123, "core_gmacs": operations / 2, "torch_gflops": operations + 0.246,
            "fvcore_by_operator": "{}", "operations_by_operator": "{}", "paper_gflops": operations,
            "paper_convention": "a formula", "uncounted": '{"aten::add": 2, "aten::mul": 5}',
            "seconds_median": 0.002 + operations / 100, "seconds_low": 0.0018 + operations / 100,
            "seconds_high": 0.0024 + operations / 100, "peak_memory_bytes": 5_000_000 + int(3e6 * operations),
            "device": "a processor", "threads": 2, "torch": "2.14.1",
        }
        for spec, operations in zip(specs, gflops, strict=True)
    ]  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(file, index=False)
