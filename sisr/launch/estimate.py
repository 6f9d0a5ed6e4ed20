"""What a preset will take on this machine: hours, memory and disk, from a probe of half a minute."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sisr.config.layout import REPOSITORY
from sisr.config.run import Run
from sisr.data import catalog
from sisr.launch.pool import DONE, Job

MARK = "probe: "
"""Begins each line of the probe that is a result; code of custom mechanisms may print others."""
_START = 120.0
"""Seconds for the start of Python and torch, and for the last step that was begun."""
_COPIES = 4
"""How often an image set is on the disk: the archive, its PNG files, and the decoded pixels of twice their size."""


@dataclass(frozen=True)
class Estimate:
    """What is left to be done. None where the probe measured nothing."""

    hours: float | None
    """Of training, with as many runs at once as the machine takes; evaluation is not included."""
    memory: int | None
    """Bytes of all runs at once."""
    disk: int
    """Bytes of the image sets that are not there yet, the trained weights and the checkpoints."""

    def __str__(self) -> str:
        if self.hours is None or self.memory is None:
            return f"needs about {self.disk / 1e9:,.1f} GB of disk; no training step could be measured"
        time = f"{self.hours:,.1f} hours" if self.hours >= 1 else f"{max(1, round(60 * self.hours))} minutes"
        return (
            f"needs about {time} of training here, {self.memory / 1e9:,.1f} GB of memory "
            f"and {self.disk / 1e9:,.1f} GB of disk"
        )


def estimate(
    jobs: Sequence[Job], runs: Mapping[str, Run], sets: Sequence[Path], slots: int, device: str, threads: int,
    seconds: float, environment: Mapping[str, str],
) -> Estimate:  # fmt: skip
    """What the jobs that are not done will take.

    Args:
        jobs: of the launch; those with steps are training runs, and equal keys are equally fast.
        runs: by id.
        sets: folders of the image sets, as `data/<set>`.
        slots: how many jobs run at once.
        device, threads: of each job.
        seconds: time of the probe; networks that it does not reach are taken to be as slow as the others' mean.
        environment: of the probe.
    """
    left = [job for job in jobs if job.steps and job.state != DONE]
    first = {job.key: runs[job.name.removeprefix("train ")] for job in sorted(left, key=lambda job: -job.steps)}
    found = _probe(first, device, threads, seconds, environment) if first else {}
    disk = _COPIES * sum(map(_missing, sets))
    if not left:
        return Estimate(0.0, 0, disk)
    if not found:
        return Estimate(None, None, disk)
    mean = {name: fmean(one[name] for one in found.values()) for name in ("seconds", "weights")}
    step = {job.key: found.get(job.key, mean)["seconds"] for job in left}
    weights = sum(found.get(job.key, mean)["weights"] for job in left)
    running = min(slots, len(left))
    most = max(one["resident"] + one["bytes"] for one in found.values())
    return Estimate(
        hours=sum((job.steps - job.step) * step[job.key] for job in left) / running / 3600,
        memory=int(running * most),
        disk=int(
            disk + weights + running * 4 * max(one["weights"] for one in found.values())
        ),  # a checkpoint: Adam's two
    )


def _probe(
    runs: Mapping[str, Run], device: str, threads: int, seconds: float, environment: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Results of `sisr.training.probe` by key; those that it printed before it failed or was too slow."""
    asked: dict[str, Any] = {"device": device, "threads": threads, "seconds": seconds}
    asked["runs"] = {key: run.as_dict() for key, run in runs.items()}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sisr.training.probe"],
            input=json.dumps(asked),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            timeout=seconds + _START,
            env={**environment, "PYTHONPATH": str(REPOSITORY)},
        )
        output: str = done.stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
    lines = [json.loads(line.removeprefix(MARK)) for line in output.splitlines() if line.startswith(MARK)]
    return {line["name"]: line for line in lines}


def _missing(folder: Path) -> int:
    """Bytes of the download of a set that is not there; 0 for one that is, and for a folder of the user."""
    known = catalog.known().get(folder.name)
    return 0 if known is None or (folder / "HR").is_dir() else known.megabytes * 1_000_000
