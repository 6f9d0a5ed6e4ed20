"""What `python -m sisr launch` prints, and the file `launch.json`, which says the same to programs."""

import json
import time
from collections.abc import Mapping, Sequence
from math import isinf
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm

from sisr.config.layout import Results
from sisr.launch.pool import DONE, FAILED, RUNNING, STOPPED, Job, Pool
from sisr.utils.files import atomic_write


class Progress:
    """Follows a pool: a progress bar in a terminal, else a line now and then; `launch.json` in the results.

    Args:
        results: folder of the results.
        experiments: for each experiment, the names of all training runs and evaluations that it needs, shared ones too.
        slots: how many commands run at once.
        quiet: print nothing.
        every: seconds between two lines where there is no terminal.
    """

    def __init__(
        self,
        results: Path,
        experiments: Mapping[str, Sequence[str]],
        slots: int,
        *,
        quiet: bool = False,
        every: float = 30.0,
    ) -> None:
        self.file, self.experiments, self.slots = Results(results).launch_status, experiments, slots
        self.quiet, self.every = quiet, every
        earlier = json.loads(self.file.read_text()) if self.file.is_file() else {}
        self.rates: dict[str, float] = earlier.get("steps_per_second", {})
        """Measured steps per second of one training run, by kind; earlier calls included."""
        self.steps: dict[str, int] = earlier.get("stopped_at", {})
        """Steps done by training runs that are not complete."""
        self.bar: tqdm[Any] | None = None
        self._printed = time.monotonic()

    def say(self, line: str) -> None:
        """One line, with the time of day."""
        if not self.quiet:
            tqdm.write(f"{time.strftime('%H:%M:%S')}  {line}")

    def plan(self, pool: Pool, minutes: float) -> None:
        """What exists and what is to be made."""
        jobs = list(pool.jobs.values())
        if data := [job.words[1] for job in jobs if job.kind in ("fetch", "prepare") and job.state != DONE]:
            self.say(f"data: {len(data)} steps to do, {', '.join(dict.fromkeys(data))}")
        for name, count in self.summary(pool)["experiments"].items():
            self.say(
                f"{name}: {count['to_be_trained']} networks, {count['trained']} of them trained, "
                f"{count['evaluated']} of {count['to_be_evaluated']} evaluations done"
            )
        limit = "" if isinf(minutes) else f"; time limit {minutes:g} minutes"
        self.say(f"{self._time_left(jobs)}, {self.slots} at once{limit}")

    def tell(self, job: Job) -> None:
        """Print that a job has ended."""
        if job.state in (DONE, STOPPED):
            self._remember(job)
            at = f" at step {job.step:,} of {job.steps:,}" if job.steps else ""
            page = f", {job.makes[0].with_suffix('.html')}" if job.kind == "tables" and job.state == DONE else ""
            self.say(f"{job.state}: {job.name}{at}{page}")
        elif job.state == FAILED:
            self.say(f"{'left for later' if job.optional else 'FAILED'}: {job.name} ({job.reason}); see {job.log}")

    def watch(self, pool: Pool) -> None:
        """Keep `launch.json` and the progress bar up to date."""
        self.save(pool)
        jobs = [job for job in pool.jobs.values() if job.steps]
        if self.bar is None:
            disable = True if self.quiet else None  # None: only in a terminal
            total, done = sum(job.steps for job in jobs), sum(map(self._done, jobs))
            self.bar = tqdm(total=total, initial=done, unit="step", disable=disable, leave=False, dynamic_ncols=True)
        self.bar.n = sum(map(self._done, jobs))
        self.bar.set_postfix_str(f"{len(pool.running)} running")
        if self.bar.disable and time.monotonic() - self._printed >= self.every:
            self._printed = time.monotonic()
            at = [f" {self._done(job):,}/{job.steps:,}" if job.steps else "" for job in pool.running]
            names = [job.name + step for job, step in zip(pool.running, at, strict=True)]
            self.say(f"running: {', '.join(names)}; {self._time_left(jobs)}")

    def end(self, summary: dict[str, Any], notebooks: bool) -> None:
        """The last lines: what is complete, and how to continue."""
        if self.bar is not None:
            self.bar.close()
        for name, count in summary["experiments"].items():
            state = "complete" if count["complete"] else "not complete"
            self.say(f"{name}: {state}, {count['trained']} of {count['to_be_trained']} networks trained")
        if not summary["complete"] and not summary["failed"]:
            self.say("time limit reached; rerun the command to resume")
        elif summary["complete"] and notebooks:
            preset = self.file.with_name("preset.yaml")
            self.say(f"to make the notebooks: snakemake --cores 4 --configfile {preset}")

    def save(self, pool: Pool) -> None:
        """Write `launch.json`."""
        for job in pool.running:
            self._remember(job)
        with atomic_write(self.file) as temporary:
            temporary.write_text(json.dumps(self.summary(pool), indent=2) + "\n")

    def summary(self, pool: Pool) -> dict[str, Any]:
        """The content of `launch.json`."""
        jobs = list(pool.jobs.values())
        failed = [job for job in jobs if job.state == FAILED]
        experiments = {}
        for name, members in self.experiments.items():
            trained, evaluated = (
                [pool.jobs[n].state == DONE for n in members if pool.jobs[n].kind == kind]
                for kind in ("train", "evaluate")
            )
            experiments[name] = {
                "to_be_trained": len(trained),
                "trained": sum(trained),
                "to_be_evaluated": len(evaluated),
                "evaluated": sum(evaluated),
                "complete": all(trained) and all(evaluated),
            }
        return {
            "complete": all(job.state == DONE or job.optional for job in jobs),
            "experiments": experiments,
            "running": [job.name for job in jobs if job.state == RUNNING],
            "failed": {job.name: job.reason for job in failed if not job.optional},
            "left_for_later": {job.name: job.reason for job in failed if job.optional},
            "remaining_seconds": self._remaining(jobs),
            "steps_per_second": self.rates,
            "stopped_at": self.steps,
            "at_once": self.slots,
        }

    def _remember(self, job: Job) -> None:
        if job.rate:
            self.rates[job.key] = job.rate
        if job.steps:
            self.steps[job.name] = self._done(job)
        if job.state == DONE:
            self.steps.pop(job.name, None)

    def _done(self, job: Job) -> int:
        """Steps that a training run has done."""
        return max(job.step, self.steps.get(job.name, 0))

    def _remaining(self, jobs: Sequence[Job]) -> float | None:
        """Seconds of training that are left; None before any speed is measured."""
        if not self.rates:
            return None
        mean = fmean(self.rates.values())
        left = [job for job in jobs if job.steps and job.state not in (DONE, FAILED)]
        return sum((job.steps - self._done(job)) / self.rates.get(job.key, mean) for job in left) / self.slots

    def _time_left(self, jobs: Sequence[Job]) -> str:
        seconds = self._remaining(jobs)
        return (
            "speed not measured yet" if seconds is None else f"about {tqdm.format_interval(seconds)} of training left"
        )
