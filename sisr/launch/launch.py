"""Carrying out a launch: as many commands at once as the machine takes, stopped in time."""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from sisr.config.schema import can_check
from sisr.launch.jobs import Launch
from sisr.launch.pool import Pool
from sisr.launch.progress import Report
from sisr.utils import gpus
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import atomic_write


@dataclass(frozen=True)
class Machine:
    """How the commands share this machine."""

    slots: int
    """Commands at once."""
    threads: int
    """CPU threads of each."""
    environment: dict[str, str]


def machine(config: dict[str, Any], device: str, jobs: int | None = None, threads: int | None = None) -> Machine:
    """What this machine takes at once.

    Args:
        config: the preset; `runs_per_gpu` and `threads_per_run` are its wishes.
        device: auto, cpu or cuda.
        jobs, threads: what the user wants instead.
    """
    cores = os.cpu_count() or 1
    wanted = int(config.get("threads_per_run", 1))
    found = [] if device == "cpu" else gpus.visible()
    slots = jobs or (len(found) * int(config.get("runs_per_gpu", 1)) if found else max(1, cores // wanted))
    own = threads or max(1, min(wanted, cores // slots))
    environment = {**os.environ, "OMP_NUM_THREADS": str(own)}
    if found:
        environment[gpus.RUNS] = str(ceil(slots / len(found)))
    return Machine(slots, own, environment)


def launch(
    work: Launch,
    on: Machine,
    *,
    minutes: float | None = None,
    grace: float = 60.0,
    every: float = 30.0,
    quiet: bool = False,
    plan_only: bool = False,
) -> dict[str, Any]:
    """Make everything that is missing, as far as the time allows.

    Args:
        work: what is to be made.
        on: what runs at once.
        minutes: how long this call may take; None for as long as it needs.
        grace: seconds of this time that are kept back for checkpoints; what has not ended then is killed.
        every: seconds between two lines on how far it is.
        quiet: print nothing.
        plan_only: start nothing.

    Returns:
        The content of `launch.json`.

    Raises:
        SisrError: another launch is at work on these results.
        KeyboardInterrupt, SystemExit: after SIGINT or SIGTERM, once all that ran has stopped.
    """
    started = time.monotonic()
    if minutes is not None and 60 * minutes <= grace:
        raise UsageError(f"{minutes:g} minutes are over before anything starts; --grace keeps {grace:g} seconds back.")
    results = work.places.results
    report = Report(results, work.members(), on.slots, quiet=quiet, every=every)
    if not can_check():
        report.say("jsonschema is not installed: the preset is taken without a check of its keys")
    end = None if minutes is None else started + 60 * minutes
    pool = Pool(
        work.jobs(),
        on.slots,
        environment=on.environment,
        stop_at=None if end is None else end - grace,
        kill_at=end,
        tell=report.tell,
        watch=report.watch,
    )
    report.plan(pool, minutes)
    if plan_only:
        return report.summary(pool)
    with _only_one(results) as handle, _signals(pool) as received:
        with atomic_write(results / "preset.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(work.config, sort_keys=False))
        pool.keep_open = (handle,)
        pool.run()
        report.save(pool)
        if received == [signal.SIGINT]:
            raise KeyboardInterrupt
        if received:
            raise SystemExit(128 + received[0])
    summary = report.summary(pool)
    report.end(summary, pool, results == Path("results") / str(work.config["preset"]))
    return summary


@contextmanager
def _only_one(results: Path) -> Iterator[int]:
    """Hold the lock of a results folder; what was started from here holds it, too, should this process be killed."""
    results.mkdir(parents=True, exist_ok=True)
    with (results / "launch.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SisrError(f"another launch, or what it started, is at work on {results}; wait or end it.") from error
        yield file.fileno()


@contextmanager
def _signals(pool: Pool) -> Iterator[list[int]]:
    """SIGINT and SIGTERM stop the pool; a second one kills what has not stopped yet."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if received:
            pool.kill_at = time.monotonic()
        else:
            received.append(number)
            pool.stop()

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
