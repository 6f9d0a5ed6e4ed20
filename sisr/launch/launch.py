"""`launch`: the commands of a preset side by side on this machine, stopped in order when the time limit is reached."""

import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import psutil
import yaml
from filelock import FileLock, Timeout

from sisr.config import preflight
from sisr.config.layout import Results
from sisr.config.schema import can_check
from sisr.launch.estimate import estimate
from sisr.launch.jobs import Launch
from sisr.launch.pool import Pool
from sisr.launch.progress import Progress
from sisr.utils import gpus
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import atomic_write

OWNER = "SISR_LAUNCH"
"""Environment variable of all commands that a launch starts: the folder of its results."""


class Machine(NamedTuple):
    """How the commands share this machine: how many at once, CPU threads and environment of each."""

    slots: int
    threads: int
    environment: dict[str, str]


def machine(config: dict[str, Any], device: str, jobs: int | None = None, threads: int | None = None) -> Machine:
    """How many commands this machine runs at once.

    Args:
        config: the preset; `runs_per_gpu` and `threads_per_run` are its preferred values.
        device: auto, cpu or cuda.
        jobs, threads: override the preset's.
    """
    cores = os.cpu_count() or 1
    preferred = int(config.get("threads_per_run", 1))
    devices = [] if device == "cpu" else gpus.visible()
    slots = jobs or (len(devices) * int(config.get("runs_per_gpu", 1)) if devices else max(1, cores // preferred))
    each = threads or max(1, min(preferred, cores // slots))
    environment = {**os.environ, "OMP_NUM_THREADS": str(each)}
    if devices:
        environment[gpus.RUNS] = str(math.ceil(slots / len(devices)))
    return Machine(slots, each, environment)


def launch(
    work: Launch,
    on: Machine,
    *,
    minutes: float = math.inf,
    grace: float = 60.0,
    every: float = 30.0,
    quiet: bool = False,
    plan_only: bool = False,
    probe: float = 0.0,
) -> dict[str, Any]:
    """Make everything that is missing, as far as the time allows.

    Args:
        work: what is to be made.
        on: what runs at once.
        minutes: time limit of this call.
        grace: seconds of this time that are kept for checkpoints; what still runs after it is killed.
        every: seconds between two progress lines where there is no terminal.
        quiet: print nothing.
        plan_only: start nothing.
        probe: seconds in which training steps are measured first, to say what is needed; 0 for no such line.

    Returns:
        The content of `launch.json`.

    Raises:
        SisrError: another launch works on these results, or a network of the plan cannot be built.
        KeyboardInterrupt, SystemExit: after SIGINT or SIGTERM, once everything has stopped.
    """
    if 60 * minutes <= grace:
        raise UsageError(f"{minutes:g} minutes are over before anything starts; --grace keeps {grace:g} seconds back.")
    end = time.monotonic() + 60 * minutes
    results = work.results
    environment = {**on.environment, OWNER: str(results.root.resolve())}
    pool = Pool(work.jobs(), on.slots, environment=environment, stop_at=end - grace, kill_at=end)
    progress = Progress(pool, results, work.members(), quiet=quiet, every=every)
    if not can_check():
        progress.say("jsonschema is not installed: the keys of the preset are not checked")
    if plan_only:
        preflight.check(work.plan)
        progress.plan(minutes)
        return {**progress.summary(), **_estimate(work, on, progress, environment, probe)}
    with _only_one(results):
        preflight.check(work.plan, results.checked)
        progress.plan(minutes)
        _estimate(work, on, progress, environment, probe)
        with atomic_write(results.preset) as temporary:
            temporary.write_text(yaml.safe_dump(work.config, sort_keys=False), encoding="utf-8")
        with _signals(pool) as received:
            pool.run()
            progress.save()
            if received:
                raise KeyboardInterrupt if received[0] == signal.SIGINT else SystemExit(128 + received[0])
    progress.end(notebooks=results.root == Path("results") / str(work.config["preset"]))
    return progress.summary()


def _estimate(
    work: Launch, on: Machine, progress: Progress, environment: dict[str, str], seconds: float
) -> dict[str, Any]:
    """Say in one line what the preset needs here; the same as an entry for `launch.json`."""
    if not seconds:
        return {}
    sets = [work.data / name for name in dict.fromkeys((*work.plan.train, *work.plan.test))]
    jobs = list(progress.pool.jobs.values())
    found = estimate(jobs, work.plan.runs, sets, on.slots, work.device, on.threads, seconds, environment)
    progress.say(str(found))
    return {"estimate": asdict(found)}


@contextmanager
def _only_one(results: Results) -> Iterator[None]:
    """Hold the lock of a results folder; refused while anything that an earlier, killed launch started still runs."""
    results.root.mkdir(parents=True, exist_ok=True)
    busy = f"another launch, or what it started, is at work on {results.root}; wait or end it."
    try:
        lock = FileLock(results.launch_lock).acquire(blocking=False)
    except Timeout as error:
        raise SisrError(busy) from error
    with lock:
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # other users' processes
                if process.environ().get(OWNER) == str(results.root.resolve()):
                    raise SisrError(busy)
        yield


@contextmanager
def _signals(pool: Pool) -> Iterator[list[int]]:
    """SIGINT and SIGTERM stop the pool; a second one kills what has not stopped yet."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        pool.kill_at = time.monotonic() if received else pool.kill_at
        received.append(number)
        pool.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
