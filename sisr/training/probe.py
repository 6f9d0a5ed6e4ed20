"""How long a training step takes on this machine: a process of its own, started by `sisr.launch.estimate`.

Reads tasks from standard input as JSON, and prints a line of JSON for each as soon as it is measured. Patches are
random; nothing is read from or written to the disk.
"""

import json
import sys
import time
from typing import Any

import psutil
import torch
from torch.nn import functional as F

import models
from sisr.config.run import Run
from sisr.cost.timing import synchronise
from sisr.evaluation import inference
from sisr.launch.estimate import MARK
from sisr.training.train import create_network
from sisr.utils.memory import LiveBytes
from sisr.utils.precision import autocast

_STEPS = 5
"""Most steps that are timed for one network."""


def measure(run: Run, device: torch.device, seconds: float) -> dict[str, float]:
    """Seconds of a training step, bytes that it needs beside the process itself, and bytes of the weights.

    One patch is tried first, which shows whether a step with the whole batch fits into `seconds`; otherwise the step's
    time is that of one patch times the batch.
    """
    settings, scale = run.training, run.network.scale
    model = create_network(run).to(device).train()
    models.set_auxiliary_loss(model, settings.contrastive_weight > 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)

    def step(batch: int) -> float:
        lr = torch.rand(batch, 3, settings.patch, settings.patch, device=device)
        hr = torch.rand(batch, 3, settings.patch * scale, settings.patch * scale, device=device)
        synchronise(device)
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with autocast(settings.precision, device):
            sr = model(lr)
        loss = F.l1_loss(sr.float(), hr)
        if settings.contrastive_weight > 0 and (auxiliary := models.auxiliary_loss(model)) is not None:
            loss = loss + settings.contrastive_weight * auxiliary
        loss.backward()
        optimizer.step()
        synchronise(device)
        return time.perf_counter() - begun

    end = time.perf_counter() + seconds
    with LiveBytes() as live:
        step(1)
    one = min(step(1) for _ in range(2)) if time.perf_counter() < end else step(1)
    batch = max(1, settings.batch // settings.accumulate)
    times: list[float] = []
    while len(times) < _STEPS and time.perf_counter() + 1.5 * one * batch < end:
        times.append(step(batch) * settings.accumulate)
    return {
        "seconds": sorted(times)[len(times) // 2] if times else one * settings.batch,
        "bytes": live.peak * batch,
        "weights": sum(parameter.nbytes for parameter in model.parameters()),
    }


def main() -> None:
    """Measure the tasks of standard input, each in its share of the time that is left."""
    asked: dict[str, Any] = json.load(sys.stdin)
    torch.set_num_threads(asked["threads"])
    device = inference.device(asked["device"])
    begun = time.perf_counter()
    for number, (name, plain) in enumerate(asked["runs"].items()):
        left = asked["seconds"] - (time.perf_counter() - begun)
        if left <= 0:
            return
        found = measure(Run.from_dict(plain), device, left / (len(asked["runs"]) - number))
        resident = psutil.Process().memory_info().rss if device.type == "cpu" else 0
        print(f"\n{MARK}{json.dumps({'name': name, 'resident': resident, **found})}", flush=True)


if __name__ == "__main__":
    main()
