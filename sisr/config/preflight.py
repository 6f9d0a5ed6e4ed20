"""Every network of a plan is built once before anything is planned: errors are reported before any job.

This happens in a process of its own with a time limit (`sisr.training.dry_run`), because custom code may be wrong in
any way, and because planning must not import torch. What passed is recorded, and is not built again.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from sisr.config import comparison, declared
from sisr.config.layout import REPOSITORY
from sisr.config.presets import Plan, known_attention
from sisr.config.run import Run, Training
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write, sha256
from sisr.utils.processes import kill_tree

LIMITS = {"start": 120.0, "build": 15.0, "train": 600.0}
"""Seconds of the CPU for each stage: importing torch, building one network, a training step of a custom mechanism."""
IDLE = 15.0
"""Seconds without any work of the CPU after which the process is taken to hang."""
MARK = "sisr dry run: "
"""What lines of the other process begin with; custom code may print others."""
_KEPT = 2_000


def check(plan: Plan, record: Path | None = None) -> None:
    """Build the networks of a plan that the record does not name, and try custom mechanisms in a training step.

    record: file of the networks that passed, by a digest of their settings and their code; None: nothing is recorded.
    Where this Python has no torch (the jobs have an environment of their own), nothing is built here, and the first job
    that needs the network fails.
    Raises SisrError with one sentence, which names the key, on the first network that does not work.
    """
    passed = _read(record)
    wanted = {_digest(run): run for run in _once(plan)}
    new = {digest: run for digest, run in wanted.items() if digest not in passed}
    if not new or find_spec("torch") is None:
        return
    own = {comparison.network_spec(run) for run in comparison.own(new.values())}
    tasks: list[dict[str, Any]] = [
        {"run": run.as_dict(), "train": comparison.network_spec(run) in own} for run in new.values()
    ]
    if failure := _failure(tasks):
        number, message = failure
        run = list(new.values())[number]
        raise SisrError(f"{_where(plan, run)}: {message}")
    if record:
        passed = {**passed, **{digest: comparison.network_spec(run) for digest, run in new.items()}}
        with atomic_write(record) as temporary:
            temporary.write_text(json.dumps(dict(list(passed.items())[-_KEPT:]), indent=1) + "\n", encoding="utf-8")


def _once(plan: Plan) -> Iterator[Run]:
    """The runs of a plan without what building a network does not depend on."""
    seen = set()
    for run in plan.runs.values():
        settings = run.training
        weight = float(settings.contrastive_weight > 0)
        kept = Training(recipe=settings.recipe, patch=settings.patch, contrastive_weight=weight)
        smallest = Run(network=run.network, training=kept)
        if smallest.digest not in seen:
            seen.add(smallest.digest)
            yield smallest


def _where(plan: Plan, run: Run) -> str:
    """The key of the configuration that a network comes from."""
    attention = run.network.attention
    if attention in plan.config.get("attention_options", {}):
        return f"attention_options.{attention}"
    compared = [one for runs in plan.comparison.runs.values() for one in runs] if plan.comparison else []
    sections = {"compare.attention": compared, **{name: [*runs] for name, runs in plan.experiments.items()}}
    names = [name for name, runs in sections.items() if any(one.network == run.network for one in runs)]
    return names[-1] if names else "backbone"


def _digest(run: Run) -> str:
    """Of everything that decides whether a network can be built: settings, the networks' code and custom code."""
    file = comparison.code(run, known_attention())
    custom = sha256(file) if file and file.is_file() else ""
    text = json.dumps([run.as_dict(), _code(), custom], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _code() -> str:
    """Digest of the code of all networks and registered mechanisms."""
    digest = hashlib.sha256()
    for file in sorted(declared.MODELS.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _read(record: Path | None) -> dict[str, str]:
    with suppress(OSError, ValueError):
        content = json.loads(record.read_text(encoding="utf-8")) if record else {}
        return content if isinstance(content, dict) else {}
    return {}


def _failure(tasks: Sequence[Mapping[str, Any]]) -> tuple[int, str] | None:
    """Number of the first task that fails and what is wrong with it; None if all pass."""
    number, stage = 0, "start"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": _python_path()}
    with tempfile.TemporaryFile("w+") as words, tempfile.TemporaryFile("w+") as errors:
        json.dump(tasks, words)
        words.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "sisr.training.dry_run"],
            stdin=words,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        try:
            lines: Queue[str] = Queue()
            Thread(target=_forward, args=(process, lines), daemon=True).start()
            while line := _next(lines, process.pid, LIMITS[stage]):
                match json.loads(line):
                    case {"failed": message}:
                        return number, str(message)
                    case {"stage": "done"}:
                        return None
                    case {"stage": str(next_), "number": int(next_number)}:
                        stage, number = next_, next_number
            status = process.wait(IDLE)
        except (Empty, subprocess.TimeoutExpired):
            return number, f"{_subject(tasks[number])} hangs while it is {_DONE[stage]}; it was stopped."
        finally:
            kill_tree(process.pid)
            process.wait()
        errors.seek(0)
        last = (errors.read().strip().splitlines() or [""])[-1]
    reason = f"exit status {status}" + f": {last}" * bool(last)
    return number, f"{_subject(tasks[number])} ended Python while it was {_DONE[stage]} ({reason})."


_DONE = {"start": "loaded", "build": "imported and built", "train": "tried in a training step"}


def _subject(task: Mapping[str, Any]) -> str:
    network = task["run"]["network"]
    return str(network["attention"] or network["name"])


def _next(lines: "Queue[str]", process: int, limit: float) -> str:
    """The next line, an empty one at the end. Raises Empty where the process has worked for `limit` seconds, or where
    it has not worked for `IDLE` seconds: a busy computer makes it slow and not idle."""
    begun = worked = _cpu_seconds(process)
    since = time.monotonic()
    while True:
        with suppress(Empty):
            return lines.get(timeout=0.2)
        if (now := _cpu_seconds(process)) > worked + 0.01:
            worked, since = now, time.monotonic()
        if now - begun > limit or time.monotonic() - since > IDLE:
            raise Empty


def _cpu_seconds(process: int) -> float:
    import psutil

    try:
        times = psutil.Process(process).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _forward(process: "subprocess.Popen[str]", lines: "Queue[str]") -> None:
    """Hand on the marked lines of the process, and an empty one at the end."""
    assert process.stdout is not None
    with suppress(OSError, ValueError):
        for line in process.stdout:
            if line.startswith(MARK):
                lines.put(line.removeprefix(MARK))
    lines.put("")


def _python_path() -> str:
    """Modules of this checkout first, then those of the current folder, as with `python -m sisr`."""
    return os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
