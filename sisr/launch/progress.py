"""What `python -m sisr launch` prints, and the file `launch.json`, which says the same to programs."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from math import isinf
from statistics import fmean
from typing import Any

from tqdm import tqdm

from sisr.config.layout import Results
from sisr.launch.pool import DONE, FAILED, RUNNING, STOPPED, Job, Pool
from sisr.utils.files import atomic_write


class Progress:
    """Follows a pool: a progress bar in a terminal, else a line now and then; `launch.json` in the results.

    Args:
        pool: its `tell` and `watch` are set.
        results: where `launch.json` is written.
        experiments: for each experiment, the names of all training runs and evaluations that it needs, shared ones too.
        quiet: print nothing.
        every: seconds between two lines where there is no terminal.
    """

    def __init__(
        self,
        pool: Pool,
        results: Results,
        experiments: Mapping[str, Sequence[str]],
        *,
        quiet: bool = False,
        every: float = 30.0,
    ) -> None:
        self.pool, self.results, self.experiments = pool, results, experiments
        self.quiet, self.every, self._printed = quiet, every, time.monotonic()
        self.trainings = [job for job in pool.jobs.values() if job.steps]
        status = results.launch_status
        earlier = json.loads(status.read_text(encoding="utf-8")) if status.is_file() else {}
        self.earlier_rates: dict[str, float] = earlier.get("steps_per_second", {})
        for job in self.trainings:
            job.step = max(job.step, earlier.get("stopped_at", {}).get(job.name, 0))
        self.bar: tqdm[Any] | None = None
        pool.tell, pool.watch = self.tell, self.watch

    def say(self, line: str) -> None:
        """One line, with the time of day."""
        if not self.quiet:
            tqdm.write(f"{time.strftime('%H:%M:%S')}  {line}")
            sys.stdout.flush()  # a log shows it at once

    def plan(self, minutes: float) -> None:
        """What exists and what is to be made."""
        jobs = self.pool.jobs.values()
        if data := [job.words[1] for job in jobs if job.kind in ("fetch", "prepare") and job.state != DONE]:
            self.say(f"data: {len(data)} steps to do, {', '.join(dict.fromkeys(data))}")
        for name, count in self.summary()["experiments"].items():
            self.say(
                f"{name}: {count['to_be_trained']} networks, {count['trained']} of them trained, "
                f"{count['evaluated']} of {count['to_be_evaluated']} evaluations done"
            )
        limit = "" if isinf(minutes) else f"; time limit {minutes:g} minutes"
        self.say(f"{self._time_left()}, {self.pool.slots} at once{limit}")

    def tell(self, job: Job) -> None:
        """Print that a job has ended."""
        if job.state in (DONE, STOPPED):
            at = f" at step {job.step:,} of {job.steps:,}" if job.steps else ""
            page = f", {job.makes[0].with_suffix('.html')}" if job.kind == "tables" and job.state == DONE else ""
            self.say(f"{job.state}: {job.name}{at}{page}")
        elif job.state == FAILED:
            self.say(f"{'left for later' if job.optional else 'FAILED'}: {job.name} ({job.reason}); see {job.log}")

    def watch(self, pool: Pool) -> None:
        """Keep `launch.json` and the progress bar up to date."""
        self.save()
        done = sum(job.step for job in self.trainings)
        if self.bar is None:
            total, disable = sum(job.steps for job in self.trainings), self.quiet or None  # None: without a terminal
            self.bar = tqdm(total=total, initial=done, unit="step", disable=disable, leave=False, dynamic_ncols=True)
        self.bar.n = done
        self.bar.set_postfix_str(f"{len(pool.running)} running")
        if self.bar.disable and time.monotonic() - self._printed >= self.every:
            self._printed = time.monotonic()
            running = [f"{job.name} {job.step:,}/{job.steps:,}" if job.steps else job.name for job in pool.running]
            self.say(f"running: {', '.join(running)}; {self._time_left()}")

    def end(self, notebooks: bool) -> None:
        """The last lines: what is complete, and how to continue."""
        summary = self.summary()
        if self.bar is not None:
            self.bar.close()
        for name, count in summary["experiments"].items():
            state = "complete" if count["complete"] else "not complete"
            self.say(f"{name}: {state}, {count['trained']} of {count['to_be_trained']} networks trained")
        if not summary["complete"] and not summary["failed"]:
            self.say("time limit reached; rerun the command to resume")
        elif summary["complete"] and notebooks:
            self.say(f"to make the notebooks: snakemake --cores 4 --configfile {self.results.preset}")

    def save(self) -> None:
        """Write `launch.json`."""
        with atomic_write(self.results.launch_status) as temporary:
            temporary.write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8")

    def summary(self) -> dict[str, Any]:
        """The content of `launch.json`."""
        jobs = self.pool.jobs
        failed = [job for job in jobs.values() if job.state == FAILED]
        experiments = {}
        for name, members in self.experiments.items():
            trained = [jobs[member].state == DONE for member in members if jobs[member].kind == "train"]
            evaluated = [jobs[member].state == DONE for member in members if jobs[member].kind == "evaluate"]
            experiments[name] = {
                "to_be_trained": len(trained),
                "trained": sum(trained),
                "to_be_evaluated": len(evaluated),
                "evaluated": sum(evaluated),
                "complete": all(trained) and all(evaluated),
            }
        return {
            "complete": all(job.state == DONE or job.optional for job in jobs.values()),
            "experiments": experiments,
            "running": [job.name for job in jobs.values() if job.state == RUNNING],
            "failed": {job.name: job.reason for job in failed if not job.optional},
            "left_for_later": {job.name: job.reason for job in failed if job.optional},
            "remaining_seconds": self._remaining(),
            "steps_per_second": self._rates(),
            "stopped_at": {job.name: job.step for job in self.trainings if 0 < job.step < job.steps},
            "at_once": self.pool.slots,
        }

    def _rates(self) -> dict[str, float]:
        """Measured steps per second of one training run, by kind; earlier calls included."""
        return self.earlier_rates | {job.key: job.rate for job in self.trainings if job.rate}

    def _remaining(self) -> float | None:
        """Seconds of training that are left; None before any speed is measured."""
        rates = self._rates()
        if not rates:
            return None
        left = [job for job in self.trainings if job.state not in (DONE, FAILED)]
        mean = fmean(rates.values())
        return sum((job.steps - job.step) / rates.get(job.key, mean) for job in left) / self.pool.slots

    def _time_left(self) -> str:
        seconds = self._remaining()
        return "speed not measured yet" if seconds is None else f"{tqdm.format_interval(seconds)} of training left"
