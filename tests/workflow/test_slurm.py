"""The pipeline as jobs of a real Slurm: submitted, cancelled midway, gone on from a checkpoint with more memory."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.helpers import checkout
from tests.helpers import slurm_cluster as cluster

PRESET = "config/cluster.yaml"
PROFILE = ("--profile", "workflow/profiles/slurm", "--configfile", PRESET)
# without a database of its own, Slurm answers through squeue only
HERE = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1", "--slurm-no-requeue")
TARGET = "results/cluster/tables/k_sweep.html"
LONG = {"steps": 1500, "halve_every": 500}  # long enough to be hit


@dataclass
class Finished:
    """A pipeline that was run on a cluster, one of its trainings cancelled."""

    folder: Path
    said: str
    cancelled: str
    """Run id of the training that was cancelled."""
    jobs: dict[str, dict[str, str]]
    """What Slurm knew of every job at the end, by the job's number."""

    def of(self, comment: str) -> list[dict[str, str]]:
        return [job for job in self.jobs.values() if job["Comment"].startswith(comment)]


def slurm(environment: dict[str, str], *words: str) -> str:
    return subprocess.run(
        words, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def jobs(environment: dict[str, str]) -> dict[str, dict[str, str]]:
    """Every job that Slurm remembers, as `scontrol show job` tells it."""
    lines = slurm(environment, "scontrol", "show", "job", "--oneliner").splitlines()
    told = [dict(word.partition("=")[::2] for word in line.split(" ") if "=" in word) for line in lines]
    return {job["JobId"]: job for job in told if "JobId" in job}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout with a preset whose trainings are long enough to be cancelled midway."""
    copied = checkout.copy(tmp_path_factory.mktemp("slurm"))
    preset = yaml.safe_load((copied / "config" / "tiny.yaml").read_text())
    preset |= {"preset": "cluster", "gpus_per_run": 1, "training": preset["training"] | LONG}
    (copied / PRESET).write_text(yaml.safe_dump(preset))
    yield copied
    shutil.rmtree(copied)


@pytest.fixture(scope="module")
def finished(folder: Path) -> Iterator[Finished]:
    if why := cluster.missing():
        pytest.skip(f"no Slurm: {why}")
    # what is quick is made before, here: a job of a cluster is looked at every few seconds only
    told = checkout.snakemake(folder, "--cores", "2", "--configfile", PRESET, "--until", "prepare", "--", TARGET)
    assert told.returncode == 0, told.stdout + told.stderr
    with cluster.cluster() as environment:
        process = subprocess.Popen(
            [checkout.SNAKEMAKE, *PROFILE, *HERE, "--default-resources", "slurm_partition=main", "--", TARGET],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            try:
                cancelled = cancel_a_training(folder, environment, process)
                said = process.communicate(timeout=400)[0]
            finally:
                process.kill()
        assert process.returncode == 0, said
        yield Finished(folder, said, cancelled, jobs(environment))


def cancel_a_training(folder: Path, environment: dict[str, str], process: "subprocess.Popen[str]") -> str:
    """Cancel the first training that is at work, as an administrator would; its run id."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        for log in (folder / "results" / "cluster" / "logs" / "train").glob("*.log"):
            if "step " in log.read_text():
                run = log.stem
                number = next(n for n, job in jobs(environment).items() if job["Comment"].endswith(run))
                slurm(environment, "scancel", number)
                return run
        time.sleep(0.2)
    raise AssertionError(f"no training began: {process.communicate(timeout=60)[0] if process.poll() else ''}")


@pytest.mark.slow
def test_every_step_is_a_job_of_slurm_and_the_table_is_made(finished: Finished) -> None:
    assert (finished.folder / TARGET).stat().st_size > 0
    counted = {rule: len(finished.of(f"rule_{rule}")) for rule in ("train", "evaluate", "table")}
    # one training was submitted twice; two runs and two controls are evaluated
    assert counted == {"train": 3, "evaluate": 4, "table": 1}
    states = [job["JobState"] for job in finished.jobs.values()]
    assert states.count("CANCELLED") == 1
    assert states.count("COMPLETED") == len(states) - 1


@pytest.mark.slow
def test_cancelled_training_went_on_from_its_checkpoint(finished: Finished) -> None:
    runs = finished.folder / "results" / "cluster"
    said = (runs / "logs" / "train" / f"{finished.cancelled}.log").read_text()
    step = re.search(r"resuming at step (\d+)", said)
    assert step, said
    assert 0 < int(step[1]) < LONG["steps"]
    assert not (runs / "runs" / finished.cancelled / "checkpoint.pt").exists()
    steps = (runs / "runs" / finished.cancelled / "train.csv").read_text().splitlines()
    assert steps[-1].startswith(f"{LONG['steps']},")


@pytest.mark.slow
def test_slurm_was_told_what_a_job_needs_and_more_at_the_second_attempt(finished: Finished) -> None:
    first, second = (job for job in finished.of("rule_train") if job["Comment"].endswith(finished.cancelled))
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("8000M", "16000M")
    assert first["TresPerJob"] == second["TresPerJob"] == "gres:gpu:1"
    assert first["TimeLimit"] == "2-00:00:00"
    assert [job["MinMemoryNode"] for job in finished.of("rule_table")] == ["2000M"]
    assert "TresPerJob" not in finished.of("rule_table")[0]


@pytest.mark.slow
def test_second_call_submits_nothing(finished: Finished) -> None:
    told = checkout.snakemake(finished.folder, "--configfile", PRESET, "-n", "--", TARGET)
    assert "Nothing to be done" in told.stdout + told.stderr
