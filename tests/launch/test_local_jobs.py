"""Jobs on this machine: as many at once as it has GPUs, and a training that is stopped goes on from its checkpoint."""

import os
import re
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.helpers import checkout, warm

STEPS = 500  # long enough to be hit
PRESET = "config/preempted.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout on a machine with two GPUs, as far as its driver tells, whose runs compute on the CPU."""
    copied = checkout.copy(tmp_path_factory.mktemp("checkout"))
    preset = yaml.safe_load((copied / "config" / "tiny.yaml").read_text())
    changes = {"preset": "preempted", "gpus_per_run": 1, "runs_per_gpu": 2}
    changes |= {"training": preset["training"] | {"steps": STEPS}}
    (copied / PRESET).write_text(yaml.safe_dump(preset | changes))
    driver = copied / "bin" / "nvidia-smi"
    driver.parent.mkdir()
    driver.write_text("#!/bin/sh\nprintf 'GPU 0: one (UUID: GPU-1)\\nGPU 1: two (UUID: GPU-2)\\n'\n")
    driver.chmod(0o755)
    return copied


def training(folder: Path) -> tuple[psutil.Process, Path]:
    """The first training that has begun, and its log."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        for process in psutil.process_iter():
            try:
                words = process.cmdline() if process.cwd() == str(folder) else []
            except psutil.Error:
                continue
            if "train" in words and "--output" in words and "python" in Path(words[0]).name:
                run = Path(words[words.index("--output") + 1]).name
                log = folder / "results" / "preempted" / "logs" / "train" / f"{run}.log"
                if log.exists() and "step " in log.read_text():
                    return process, log
        time.sleep(0.2)
    raise AssertionError("no training began")


@pytest.mark.slow
def test_stopped_training_is_started_again_and_goes_on(folder: Path) -> None:
    words = ("--cores", "2", "--configfile", PRESET, "--until", "train", "--", "results/preempted/tables/k_sweep.csv")
    process = subprocess.Popen(
        [warm.python(), "-m", "snakemake", *words],
        cwd=folder,
        env=os.environ | {"PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            trained, log = training(folder)
            trained.terminate()
            said = process.communicate(timeout=200)[0]
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert re.search(r"gpu=\D*4\b", said), said  # two GPUs, two runs each
    assert "Trying to restart job" in said
    step = re.search(r"resuming at step (\d+)", log.read_text())
    assert step
    assert 0 < int(step[1]) < STEPS


@pytest.mark.parametrize(
    ("words", "gpu", "memory"),
    [
        (("--cores", "8"), 1, 8000),
        (("--cores", "8", "--resources", "gpu=0"), 0, 8000),
        (("--profile", "workflow/profiles/slurm"), 1, 8000),
        (("--profile", "workflow/profiles/slurm", "--attempt", "3"), 1, 24000),
    ],
)
def test_resources_of_a_training(folder: Path, words: tuple[str, ...], gpu: int, memory: int) -> None:
    told = checkout.snakemake(folder, "-n", "--configfile", PRESET, "--quiet", "reason", *words)
    assert told.returncode == 0, told.stderr
    resources = re.search(r"^rule train:.*?resources: ([^\n]+)", told.stdout + told.stderr, re.DOTALL | re.MULTILINE)
    assert resources
    values = dict(word.partition("=")[::2] for word in resources[1].split(", "))
    assert int(values["gpu"]) == gpu
    assert int(values["mem_mb"]) == memory
