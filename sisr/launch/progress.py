"""What `python -m sisr launch` says: the plan, how far it is, how long it will take, and what went wrong."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sisr.launch.pool import DONE, FAILED, RUNNING, STOPPED, Job, Pool
from sisr.utils.files import atomic_write

STATUS = "launch.json"


class Report:
    """Follows a pool, and writes `launch.json` into the folder of the results.

    Args:
        results: folder of the results.
        experiments: their names in the order of the stages, each with the names of all jobs that it needs, those that
            belong to an experiment before it, too.
        slots: how many commands run at once.
        quiet: print nothing.
        every: seconds between two lines on how far it is.
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
        self.file, self.experiments, self.slots = results / STATUS, experiments, slots
        self.quiet, self.every = quiet, every
        before = json.loads(self.file.read_text()) if self.file.is_file() else {}
        self.rates: dict[str, float] = before.get("steps_per_second", {})
        """Measured steps a second of one training, beside others, by kind; those of earlier calls, too."""
        self.steps: dict[str, int] = before.get("stopped_at", {})
        """How far trainings had come that were stopped."""
        self.evaluation_seconds: float | None = before.get("evaluation_seconds")
        self._told = time.monotonic()

    def say(self, line: str) -> None:
        """One line, with the time of day."""
        if not self.quiet:
            print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)

    def remaining(self, jobs: Sequence[Job]) -> float | None:
        """Seconds that the trainings and evaluations of these jobs will take; None before any speed is known."""
        seconds = 0.0
        for job in jobs:
            if job.ended and job.state != STOPPED:
                continue
            if job.steps:
                rate = job.rate or self.rates.get(job.key) or _mean(self.rates.values())
                if rate is None:
                    return None
                seconds += (job.steps - self.reached(job)) / rate
            elif job.kind == "evaluate":
                seconds += self.evaluation_seconds or 0.0
        return seconds / self.slots

    def reached(self, job: Job) -> int:
        """Steps that a training has behind it."""
        return max(job.step, self.steps.get(job.name, 0))

    def plan(self, pool: Pool, minutes: float | None) -> None:
        """What is there and what is to be made."""
        jobs = list(pool.jobs.values())
        data = [job for job in jobs if job.kind in ("fetch", "prepare") and job.state != DONE]
        if data:
            self.say(f"data: {len(data)} steps to do, {', '.join(dict.fromkeys(job.words[1] for job in data))}")
        for name, members in self.experiments.items():
            self.say(self._line(name, [pool.jobs[member] for member in members]))
        left = self.remaining(jobs)
        how = "no speed is known yet; it is told once it is" if left is None else f"about {duration(left)} left"
        limit = "" if minutes is None else f"; this call takes {minutes:g} minutes at most"
        self.say(f"{how}, {self.slots} at once{limit}")

    def _line(self, name: str, jobs: Sequence[Job]) -> str:
        trainings, evaluations = ([job for job in jobs if job.kind == kind] for kind in ("train", "evaluate"))
        words = [f"{name}: {len(trainings)} networks, {sum(job.state == DONE for job in trainings)} of them trained"]
        words.append(f"{sum(job.state == DONE for job in evaluations)} of {len(evaluations)} evaluations done")
        if begun := [self.reached(job) for job in trainings if job.state != DONE and self.reached(job)]:
            words.append(f"{len(begun)} begun, at step {', '.join(f'{step:,}' for step in begun)}")
        return ", ".join(words)

    def tell(self, job: Job) -> None:
        """A job has just started or ended."""
        if job.state == DONE and job.steps:
            if job.rate:
                self.rates[job.key] = job.rate
            self.steps.pop(job.name, None)
            self.say(f"done: {job.name}, {job.steps:,} steps" + (f", {job.rate:.3g} steps/s" if job.rate else ""))
        elif job.state == DONE:
            if job.kind == "evaluate":
                self.evaluation_seconds = job.seconds
            self.say(f"done: {job.name}" + (f", {job.makes[0].with_suffix('.html')}" if job.kind == "tables" else ""))
        elif job.state == STOPPED:
            self.steps[job.name] = self.reached(job)
            at = f" at step {self.reached(job):,} of {job.steps:,}" if job.steps else ""
            self.say(f"stopped: {job.name}{at}")
        elif job.state == FAILED and job.optional:
            self.say(f"left for later: {job.name} ({job.reason}); see {job.log}")
        elif job.state == FAILED:
            self.say(f"FAILED: {job.name} ({job.reason}); see {job.log}. The others go on.")

    def watch(self, pool: Pool) -> None:
        """About every second: keep `launch.json` up to date, and say from time to time how far it is."""
        self.save(pool)
        if time.monotonic() - self._told < self.every:
            return
        self._told = time.monotonic()
        jobs = list(pool.jobs.values())
        running = [self._running(job) for job in pool.running]
        stage = min((job.stage for job in jobs if not job.ended), default=len(self.experiments) - 1)
        left = [self.remaining([job for job in jobs if job.stage <= stage]), self.remaining(jobs)]
        told = f"; about {duration(left[0])} left of {list(self.experiments)[stage]}, {duration(left[1])} of all"
        self.say(f"running: {', '.join(running)}{told if None not in left else ''}")

    def end(self, summary: dict[str, Any], pool: Pool, usual_place: bool) -> None:
        """The last lines: what is complete, and how it goes on."""
        for name, counts in summary["experiments"].items():
            done = f"{counts['trained']} of {counts['to_be_trained']} networks trained"
            self.say(f"{name}: {'complete' if counts['complete'] else 'not complete'}, {done}")
        if not summary["complete"] and not summary["failed"]:
            self.say(f"the time is over; the same call goes on ({duration(summary['remaining_seconds'])} are left)")
        elif summary["complete"] and usual_place:
            preset = self.file.with_name("preset.yaml")
            self.say(f"the notebooks are made by: snakemake --cores 4 --configfile {preset}")

    def _running(self, job: Job) -> str:
        if not job.steps:
            return job.name
        speed = f" ({job.rate:.3g}/s)" if job.rate else ""
        return f"{job.name.removeprefix('train ')} {self.reached(job):,}/{job.steps:,}{speed}"

    def save(self, pool: Pool) -> None:
        """Write `launch.json`."""
        for job in pool.running:
            if job.rate:
                self.rates[job.key] = job.rate
            if job.steps:
                self.steps[job.name] = self.reached(job)
        with atomic_write(self.file) as temporary:
            temporary.write_text(json.dumps(self.summary(pool), indent=2) + "\n")

    def summary(self, pool: Pool) -> dict[str, Any]:
        """What came of a pool, for machines."""
        jobs = list(pool.jobs.values())
        return {
            "complete": all(job.state == DONE or job.optional for job in jobs),
            "experiments": {
                name: self._counts([pool.jobs[member] for member in members])
                for name, members in self.experiments.items()
            },
            "running": [job.name for job in jobs if job.state == RUNNING],
            "failed": {job.name: job.reason for job in jobs if job.state == FAILED and not job.optional},
            "left_for_later": {job.name: job.reason for job in jobs if job.state == FAILED and job.optional},
            "remaining_seconds": self.remaining(jobs),
            "steps_per_second": self.rates,
            "evaluation_seconds": self.evaluation_seconds,
            "stopped_at": self.steps,
            "at_once": self.slots,
        }

    @staticmethod
    def _counts(jobs: Sequence[Job]) -> Mapping[str, int | bool]:
        counts: dict[str, int | bool] = {}
        for kind, word in (("train", "trained"), ("evaluate", "evaluated")):
            own = [job for job in jobs if job.kind == kind]
            counts |= {f"to_be_{word}": len(own), word: sum(job.state == DONE for job in own)}
        counts["complete"] = all(job.state == DONE for job in jobs if job.kind in ("train", "evaluate"))
        return counts


def _mean(values: Any) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def duration(seconds: float | None) -> str:
    """`40 s`, `12 min` or `3.5 h`."""
    if seconds is None:
        return "an unknown time"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
