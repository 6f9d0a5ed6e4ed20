"""What a preset will take: hours, memory and disk, from measured steps."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sisr.cli.main import main
from sisr.config.run import Run
from sisr.data import catalog
from sisr.launch import estimate as estimates
from sisr.launch.estimate import Estimate, estimate
from sisr.launch.pool import DONE, Job
from tests.helpers.checkout import ROOT
from tests.helpers.small_run import RUN

GIGA = 1_000_000_000


def job(run: Run, key: str, steps: int, done: int = 0, state: str = "waiting") -> Job:
    made = Job(name=f"train {run.id}", kind="train", words=[], makes=(), log=Path("log"), key=key, steps=steps)
    made.step, made.state = done, state
    return made


def test_hours_memory_and_disk_are_added_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = [replace(RUN, seed=seed) for seed in range(4)]
    jobs = [
        job(runs[0], "a x2", steps=3600, done=1800),
        job(runs[1], "b x2", steps=3600),
        job(runs[2], "slow x2", steps=900),  # not reached by the probe: the mean of the others, 3 s
        job(runs[3], "a x2", steps=10**9, state=DONE),
    ]
    asked: list[list[str]] = []

    def probe(first: dict[str, Run], *_: object) -> dict[str, dict[str, float]]:
        asked.append(list(first))
        return {
            "a x2": {"seconds": 2.0, "resident": GIGA, "bytes": GIGA, "weights": 1e6},
            "b x2": {"seconds": 4.0, "resident": GIGA, "bytes": 3 * GIGA, "weights": 3e6},
        }

    monkeypatch.setattr(estimates, "_probe", probe)
    (tmp_path / "Set5" / "HR").mkdir(parents=True)
    sets = [tmp_path / name for name in ("Set5", "BSDS400", "a folder of one's own")]
    by_id = {run.id: run for run in runs}
    found = estimate(jobs, by_id, sets, slots=2, device="cpu", threads=1, seconds=30, environment=os.environ)
    assert sorted(asked[0]) == ["a x2", "b x2", "slow x2"]  # each kind once, and none of what is done
    assert found.hours == pytest.approx((1800 * 2 + 3600 * 4 + 900 * 3) / 2 / 3600)
    assert found.memory == 2 * 4 * GIGA
    images = 4 * catalog.known()["BSDS400"].megabytes * 1e6
    assert found.disk == pytest.approx(images + 1e6 + 3e6 + 2e6 + 2 * 4 * 3e6)
    assert str(found) == "needs about 2.9 hours of training here, 8.0 GB of memory and 0.3 GB of disk"
    assert str(replace(found, hours=0.2)).startswith("needs about 12 minutes of training here")
    nothing = estimate(jobs[3:], by_id, [], 2, "cpu", 1, 30, os.environ)
    assert nothing == Estimate(0.0, 0, 0)


def test_a_probe_that_fails_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    found = estimate([job(RUN, "a", 10)], {RUN.id: RUN}, [tmp_path / "BSDS400"], 1, "cpu", 1, 1, os.environ)
    assert found.hours is None
    assert str(found) == "needs about 0.3 GB of disk; no training step could be measured"


def test_steps_are_measured() -> None:
    found = estimates._probe({"small": RUN}, "cpu", 1, 20.0, {**os.environ, "OMP_NUM_THREADS": "1"})["small"]
    assert 1e-4 < found["seconds"] < 20
    # at least the pixels and features of two patches of 16 x 16 at x2
    assert found["bytes"] > 2 * 4 * (3 * 16**2 + 3 * 32**2 + 8 * 16**2)
    assert 4 * 1000 < found["weights"] < 4 * 100_000
    assert found["resident"] > 50_000_000


def test_the_plan_says_it_in_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def probe(first: dict[str, Run], *rest: object) -> dict[str, dict[str, float]]:
        asked.append((first, rest))
        return {key: {"seconds": 1.0, "resident": 1.0, "bytes": GIGA, "weights": 1.0} for key in first}

    monkeypatch.setattr(estimates, "_probe", probe)
    words = ["launch", str(ROOT / "config" / "laptop.yaml"), "--plan", "--device", "cpu", "--jobs", "2"]
    words += ["--output", str(tmp_path / "out"), "--data", str(tmp_path / "data")]
    assert main(words) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "needs about" in line]
    assert "hours of training here, 2.0 GB of memory and" in line
    assert not list(tmp_path.iterdir())
    assert asked[0][1][2] == 30  # seconds
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["estimate"]
    assert told["memory"] == 2 * GIGA + 2
    assert main([*words, "--probe", "0"]) == 0
    assert "needs about" not in capsys.readouterr().out
