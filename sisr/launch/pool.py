"""Many commands at once within a limited time: what is ready starts, what does not end in time is asked to stop.

A training that gets SIGTERM writes a checkpoint and ends with status 143, so that stopping costs nothing but the time
to start it again.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sisr.utils.files import atomic_write

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
_POLL_SECONDS = 0.2


@dataclass(kw_only=True)
class Job:
    """One `python -m sisr …` command, and what stands on the disk once it is complete."""

    name: str
    """Unique, and how it is told: `train edsr-x4-s0-5c0ffee1`."""
    kind: str
    words: list[str]
    """After `python -m sisr`."""
    makes: tuple[Path, ...]
    """It is complete when all of them are there."""
    log: Path
    program: tuple[str, ...] = (sys.executable, "-m", "sisr")
    stage: int = 0
    """Jobs of a stage begin when all jobs of the stages before have ended."""
    needs: tuple[str, ...] = ()
    """Names of jobs that must be done before."""
    after: tuple[str, ...] = ()
    """Names of jobs that must have ended before, in whatever way."""
    alone: bool = False
    """Nothing runs beside it, as it is measured."""
    capture: Path | None = None
    """Gets what it prints, in one piece at the end."""
    sources: tuple[Path, ...] = ()
    """What it makes is out of date where one of these is newer."""
    late_words: Callable[[], list[str]] | None = None
    """More words, known only once the jobs before it have ended."""
    optional: bool = False
    """Can as well be done elsewhere later: its failure is told, and counts as none."""
    key: str = ""
    """Trainings of one key are equally fast."""
    steps: int = 0
    """Training steps, 0 for what is no training."""

    state: str = WAITING
    reason: str = ""
    """Why it failed."""
    step: int = 0
    """How far a training has come."""
    rate: float | None = None
    """Measured steps a second."""
    seconds: float = 0.0
    """How long it ran in this call."""
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    began: float = 0.0
    _offset: int = 0
    _going_on: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more happens with it in this call."""
        return self.state in (DONE, FAILED, STOPPED)

    @property
    def complete(self) -> bool:
        """Whether what it makes is there, and not older than what it is made from."""
        if not all(path.exists() for path in self.makes):
            return False
        newest = max((path.stat().st_mtime_ns for path in self.sources if path.exists()), default=0)
        return min(path.stat().st_mtime_ns for path in self.makes) >= newest

    def start(self, environment: Mapping[str, str], keep_open: Sequence[int]) -> None:
        """Start the command, its output appended to its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._offset = self.log.stat().st_size if self.log.exists() else 0
        words = self.words + (self.late_words() if self.late_words else [])
        with self.log.open("ab") as log:
            out = self._captured().open("wb") if self.capture else log
            self.process = subprocess.Popen(
                [*self.program, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=dict(environment),
                start_new_session=True,
                pass_fds=keep_open,
            )
            if self.capture:
                out.close()
        self.state, self.began = RUNNING, time.monotonic()

    def look(self, asked_to_stop: bool) -> bool:
        """Take notice of how far it is and whether it has ended; True when it has just ended."""
        assert self.process is not None
        status = self.process.poll()
        self._progress()
        if status is None:
            return False
        self.seconds = time.monotonic() - self.began
        if status == 0 and self.capture:
            with atomic_write(self.capture) as target:
                target.write_bytes(self._captured().read_bytes())
            self._captured().unlink()
        if status == 0 and self.complete:
            self.state, self.step = DONE, self.steps
        elif status in (128 + signal.SIGTERM, -signal.SIGTERM) or (asked_to_stop and status < 0):
            self.state = STOPPED
        else:
            self.state = FAILED
            self.reason = self._last_line() or f"it ended with status {status}"
        return True

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """SIGKILL, to all that it started."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def _captured(self) -> Path:
        assert self.capture is not None
        self.capture.parent.mkdir(parents=True, exist_ok=True)
        return self.capture.with_name(f".{self.capture.name}.part")

    def _own_log(self) -> str:
        """What this process has written to the log."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            return file.read().decode(errors="replace")

    def _last_line(self) -> str:
        lines = [line.strip() for line in self._own_log().splitlines() if line.strip()]
        return lines[-1].rstrip(".") if lines else ""

    def _progress(self) -> None:
        if not self.steps:
            return
        said = self._own_log()
        if found := re.search(r"^going on at step (\d+)", said, re.MULTILINE):
            self._going_on = int(found[1])
            self.step = max(self.step, self._going_on)
        reached = re.findall(r"^(?:stopped at )?step (\d+)(?: of|;)", said, re.MULTILINE)
        if reached and int(reached[-1]) > self.step:
            self.step = int(reached[-1])
        speeds = re.findall(r"([\d.]+(?:e[+-]?\d+)?) steps/s", said)
        if speeds:
            self.rate = float(speeds[-1])


class Pool:
    """Runs jobs, so many at once, until all have ended or the time is over.

    Args:
        jobs: in the order in which they are to start.
        slots: how many run at once.
        environment: of the commands.
        stop_at: time.monotonic() from which the running ones are asked to stop; None for no limit.
        kill_at: when those that still run are killed.
        keep_open: file descriptors that the commands inherit, so that a lock lasts as long as any of them.
        tell: called with each job that has just started or ended.
        watch: called about every second.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        slots: int,
        *,
        environment: Mapping[str, str],
        stop_at: float | None = None,
        kill_at: float | None = None,
        keep_open: Sequence[int] = (),
        tell: Callable[[Job], None] = lambda job: None,
        watch: Callable[["Pool"], None] = lambda pool: None,
    ) -> None:
        self.jobs = {job.name: job for job in jobs}
        self.slots, self.environment, self.keep_open = slots, environment, keep_open
        self.stop_at, self.kill_at, self.tell, self.watch = stop_at, kill_at, tell, watch
        self.stopping = False
        for job in self.jobs.values():
            if job.complete:
                job.state, job.step = DONE, job.steps

    @property
    def running(self) -> list[Job]:
        """Jobs that run now."""
        return [job for job in self.jobs.values() if job.state == RUNNING]

    def stop(self, grace: float = 60.0) -> None:
        """Ask all that runs to stop, and start nothing more; what still runs after `grace` seconds is killed."""
        if not self.stopping:
            self.stopping = True
            self.kill_at = min(self.kill_at or float("inf"), time.monotonic() + grace)
            for job in self.running:
                job.ask_to_stop()

    def run(self) -> None:
        """Until all jobs have ended, or none may start and none runs."""
        looked = 0.0
        try:
            while True:
                for job in self.running:
                    if job.look(self.stopping):
                        self.tell(job)
                if self.stop_at is not None and time.monotonic() >= self.stop_at:
                    self.stop()
                if self.stopping and self.kill_at is not None and time.monotonic() >= self.kill_at:
                    for job in self.running:
                        job.kill()
                if not self.stopping:
                    self._start_what_is_ready()
                if not self.running:
                    return
                if time.monotonic() - looked >= 1:
                    looked = time.monotonic()
                    self.watch(self)
                time.sleep(_POLL_SECONDS)
        finally:
            for job in self.running:
                job.kill()

    def _start_what_is_ready(self) -> None:
        for job in self.jobs.values():
            if job.state == WAITING and (failed := [n for n in job.needs if self.jobs[n].state == FAILED]):
                job.state, job.reason = FAILED, f"it needs what `{failed[0]}` makes"
                self.tell(job)
        unfinished = [job.stage for job in self.jobs.values() if not job.ended]
        stage = min(unfinished, default=0)
        for job in self.jobs.values():
            busy = len(self.running)
            if busy >= self.slots or any(other.alone for other in self.running):
                return
            if job.state == WAITING and job.stage == stage and self._may_start(job) and not (job.alone and busy):
                job.start(self.environment, self.keep_open)
                self.tell(job)

    def _may_start(self, job: Job) -> bool:
        needs = all(self.jobs[name].state == DONE for name in job.needs)
        return needs and all(self.jobs[name].ended for name in job.after)
