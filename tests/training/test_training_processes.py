"""Several processes that train one run, started by torchrun."""

import json
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sisr.config.run import Run
from sisr.training.checkpoint import Checkpoints
from sisr.training.train import create_network, train
from tests.helpers import small_run, warm
from tests.helpers.small_run import NETWORK, RUN, SETTINGS, state

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
# the paper's learning rate: Adam turns rounding of a gradient near 0 into a part of it
TWENTY = replace(
    RUN,
    training=replace(
        SETTINGS,
        steps=20,
        batch=4,
        learning_rate=1e-4,
        halve_every=8,
        contrastive_start=5,
        redraw_every=6,
        ema_decay=0.5,
    ),
)
HASHED = replace(
    TWENTY, network=replace(NETWORK, name="nlsn", attention="nlsa", attention_options={"chunk": 16}), seed=1
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.prepare(tmp_path_factory.mktemp("prepared"))


def command(run: Run, prepared: Path, output: Path, *words: str) -> list[str]:
    start = [warm.python(), "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    start += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "sisr", "train"]
    return [*start, *run.arguments(), "--output", str(output), "--data", str(prepared), "--device", "cpu", *words]


def torchrun(*arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("run", [TWENTY, HASHED], ids=["enlcn", "nlsn"])
def test_two_processes_end_with_the_weights_of_one(prepared: Path, tmp_path: Path, run: Run) -> None:
    """Same batch, same crops, same projections, contrastive loss from step 6 on: 1e-6 after 20 steps."""
    train(run, tmp_path / "one", data=prepared, device="cpu", threads=1)
    told = torchrun(run, prepared, tmp_path / "two", "--validate", "photos")
    assert told.returncode == 0, told.stderr
    for key, value in state(tmp_path / "one").items():
        torch.testing.assert_close(state(tmp_path / "two")[key], value, rtol=0, atol=1e-6)
    columns = ["step", "loss", "l1", "contrastive", "learning_rate"]
    curves = [pd.read_csv(tmp_path / name / "train.csv")[columns] for name in ("one", "two")]
    np.testing.assert_allclose(*curves, rtol=1e-4, atol=1e-7)
    assert bool((curves[1].contrastive[5:] > 0).any()) == (run is TWENTY)
    # one process writes and talks
    names = {"config.json", "weights.safetensors", "train.csv", "provenance.json"}
    assert {file.name for file in (tmp_path / "two").iterdir()} == names
    assert json.loads((tmp_path / "two" / "provenance.json").read_text())["processes"] == 2
    assert told.stdout.count("step 20 of 20") == 1
    assert told.stdout.count("weights in") == 1


def test_processes_go_on_from_the_checkpoint_of_another_number(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run begun by one process, cut off after 12 steps, is finished by two."""
    train(TWENTY, tmp_path / "one", data=prepared, device="cpu", threads=1)
    honest = Checkpoints.save

    def stop_after_twelve(self: Checkpoints, model: object, optimizer: object, progress: object, ema: object) -> None:
        honest(self, model, optimizer, progress, ema)  # type: ignore[arg-type]
        if progress.step == 12:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", stop_after_twelve)
    with pytest.raises(KeyboardInterrupt):
        train(TWENTY, tmp_path / "two", data=prepared, device="cpu", threads=1, checkpoint_seconds=0)
    told = torchrun(TWENTY, prepared, tmp_path / "two")
    assert told.returncode == 0, told.stderr
    assert told.stderr.count("resuming at step 12.") == 1
    for key, value in state(tmp_path / "one").items():
        torch.testing.assert_close(state(tmp_path / "two")[key], value, rtol=0, atol=1e-6)


def test_terminated_processes_save_together_and_go_on(prepared: Path, tmp_path: Path) -> None:
    """SIGTERM to torchrun, which hands it on: all processes stop after the same step."""
    run = replace(TWENTY, training=replace(TWENTY.training, steps=2000))
    process = subprocess.Popen(
        command(run, prepared, tmp_path / "run", "--checkpoint-seconds", "0"),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / "run" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode != 0
    assert said.count("the same command resumes from there") == 1
    [stopped] = re.findall(r"stopped at step (\d+)", said)
    network = create_network(run)
    restored = Checkpoints(tmp_path / "run", run).restore(network, torch.optim.Adam(network.parameters()))
    assert restored.step == int(stopped) < 2000


def test_batch_that_does_not_divide_is_told(prepared: Path, tmp_path: Path) -> None:
    told = torchrun(replace(RUN, training=replace(SETTINGS, batch=3)), prepared, tmp_path / "run")
    assert told.returncode != 0
    assert "a batch of 3 is not divisible among 2 processes" in told.stderr
    assert "sisr/training/train.py" not in told.stderr  # no traceback of ours


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_end_near_the_weights_of_one(prepared: Path, tmp_path: Path) -> None:
    train(TWENTY, tmp_path / "one", data=prepared, device="cuda")
    told = torchrun(TWENTY, prepared, tmp_path / "two", "--device", "cuda")
    assert told.returncode == 0, told.stderr
    for key, value in state(tmp_path / "one").items():
        torch.testing.assert_close(state(tmp_path / "two")[key], value, rtol=0, atol=1e-4)
