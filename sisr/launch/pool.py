"""Runs commands side by side: starts what is ready, and asks what runs to stop when the time limit is reached.

A training run that gets SIGTERM writes a checkpoint and ends with status 143, so stopping it loses no step.
"""

import math
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sisr.utils.files import atomic_write
from sisr.utils.processes import kill_tree

_TERMINATED = (128 + signal.SIGTERM, -signal.SIGTERM) + ((signal.SIGTERM,) if sys.platform == "win32" else ())
WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"


@dataclass(kw_only=True)
class Job:
    """One `python -m sisr …` command, and the files that exist once it is complete."""

    name: str
    """Unique: `train edsr-x4-s0-5c0ffee1`."""
    kind: str
    """The verb."""
    words: list[str]
    """Arguments of `python -m sisr`."""
    makes: tuple[Path, ...]
    """The job is complete when all of these files exist."""
    log: Path
    program: tuple[str, ...] = (sys.executable, "-m", "sisr")
    stage: int = 0
    """Jobs of a stage start when all jobs of earlier stages have ended."""
    needs: tuple[str, ...] = ()
    """Names of jobs that must be done before."""
    after: tuple[str, ...] = ()
    """Names of jobs that must have ended before, successfully or not."""
    alone: bool = False
    """Nothing runs beside it, because it measures time."""
    capture: Path | None = None
    """File that receives its standard output."""
    sources: tuple[Path, ...] = ()
    """The job is repeated when one of these is newer than what it makes."""
    late_words: Callable[[], list[str]] | None = None
    """Further arguments, which are known only when it starts."""
    optional: bool = False
    """It can be done elsewhere later: its failure is reported, but does not count."""
    key: str = ""
    """Training runs with the same key are equally fast."""
    steps: int = 0
    """Training steps; 0 for a job that is not a training run."""

    state: str = WAITING
    reason: str = ""
    """Why it failed."""
    step: int = 0
    """Training steps done."""
    rate: float | None = None
    """Measured steps per second."""
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _output: IO[bytes] | None = field(default=None, repr=False)
    _log_start: int = 0

    @property
    def ended(self) -> bool:
        """Nothing more happens to it in this call."""
        return self.state in (DONE, FAILED, STOPPED)

    @property
    def complete(self) -> bool:
        """All that it makes exists, and is not older than its sources."""
        if not all(path.exists() for path in self.makes):
            return False
        newest = max((path.stat().st_mtime_ns for path in self.sources if path.exists()), default=0)
        return min(path.stat().st_mtime_ns for path in self.makes) >= newest

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the command; its output is appended to its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._output = tempfile.TemporaryFile() if self.capture else None  # noqa: SIM115  (read when it has ended)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*self.program, *self.words, *(self.late_words() if self.late_words else ())],
                stdin=subprocess.DEVNULL,
                stdout=self._output or log,
                stderr=log,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C in a terminal reaches only this process, which stops the jobs in order
            )
        self.state = RUNNING

    def poll(self, stopping: bool) -> bool:
        """Read how far it is; True when it has just ended."""
        assert self._process is not None
        status = self._process.poll()
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            text = file.read().decode(errors="replace")
        if self.steps:
            if steps := re.findall(r"\bstep (\d+)", text):
                self.step = max(self.step, int(steps[-1]))
            if rates := re.findall(r"([\d.]+(?:e[+-]?\d+)?) steps/s", text):
                self.rate = float(rates[-1])
        if status is None:
            return False
        if status == 0 and self.capture and self._output:
            self._output.seek(0)
            with atomic_write(self.capture) as temporary:
                temporary.write_bytes(self._output.read())
        if status == 0 and self.complete:
            self.state, self.step = DONE, self.steps
        elif status in _TERMINATED or (stopping and status < 0):
            self.state = STOPPED
        else:
            lines = [line.strip().rstrip(".") for line in text.splitlines() if line.strip()]
            self.state, self.reason = FAILED, lines[-1] if lines else f"it ended with status {status}"
        return True

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the command. Windows ends it at once instead: it resumes from its last checkpoint."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the command and all that it started."""
        if self._process is not None and self._process.poll() is None:
            kill_tree(self._process.pid)


class Pool:
    """Runs jobs, up to `slots` at once, until all have ended or the time limit is reached.

    Args:
        jobs: in the order in which they start.
        slots: how many run at once.
        environment: of the commands.
        stop_at: time.monotonic() at which the running jobs are asked to stop.
        kill_at: when those that still run are killed.
        tell: called with each job that has just started or ended.
        watch: called about every second.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        slots: int,
        *,
        environment: Mapping[str, str],
        stop_at: float = math.inf,
        kill_at: float = math.inf,
        tell: Callable[[Job], None] = lambda job: None,
        watch: Callable[["Pool"], None] = lambda pool: None,
    ) -> None:
        self.jobs = {job.name: job for job in jobs}
        self.slots, self.environment, self.tell, self.watch = slots, environment, tell, watch
        self.stop_at, self.kill_at, self.stopping = stop_at, kill_at, False
        for job in self.jobs.values():
            if job.complete:
                job.state, job.step = DONE, job.steps

    @property
    def running(self) -> list[Job]:
        """Jobs that run now."""
        return [job for job in self.jobs.values() if job.state == RUNNING]

    def stop(self, grace: float = 60.0) -> None:
        """Start nothing more and ask all that runs to stop; what still runs after `grace` seconds is killed."""
        if not self.stopping:
            self.stopping, self.kill_at = True, min(self.kill_at, time.monotonic() + grace)
            for job in self.running:
                job.ask_to_stop()

    def run(self) -> None:
        """Until all jobs have ended, or none may start and none runs."""
        watched = 0.0
        try:
            while True:
                for job in self.running:
                    if job.poll(self.stopping):
                        self.tell(job)
                if time.monotonic() >= self.stop_at:
                    self.stop()
                if not self.stopping:
                    self._start_ready()
                elif time.monotonic() >= self.kill_at:
                    for job in self.running:
                        job.kill()
                if not self.running:
                    return
                if time.monotonic() - watched >= 1:
                    watched = time.monotonic()
                    self.watch(self)
                time.sleep(0.2)
        finally:
            for job in self.running:
                job.kill()

    def _start_ready(self) -> None:
        for job in self.jobs.values():
            if job.state == WAITING and (failed := [n for n in job.needs if self.jobs[n].state == FAILED]):
                job.state, job.reason = FAILED, f"it needs what `{failed[0]}` makes"
                self.tell(job)
        stage = min((job.stage for job in self.jobs.values() if not job.ended), default=0)
        for job in self.jobs.values():
            running = self.running
            if len(running) >= self.slots or any(other.alone for other in running):
                return
            ready = all(self.jobs[n].state == DONE for n in job.needs) and all(self.jobs[n].ended for n in job.after)
            if job.state == WAITING and job.stage == stage and ready and not (job.alone and running):
                job.start(self.environment)
                self.tell(job)
