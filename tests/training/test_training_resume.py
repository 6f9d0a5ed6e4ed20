"""A training that is killed, terminated, cut off from its disk or handed a damaged checkpoint goes on."""

import multiprocessing
import random
import re
import signal
import subprocess
import time
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError

from sisr.training.checkpoint import Checkpoints, Progress
from sisr.training.train import create_network, train
from sisr.utils.errors import SisrError
from tests.helpers import small_run, warm
from tests.helpers.small_run import RUN, SETTINGS, same_weights

ROOT = Path(__file__).parents[2]
LONG = replace(RUN, training=replace(SETTINGS, steps=300, halve_every=60, contrastive_start=30, ema_decay=0.9))
KILLS = 20


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def whole(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LONG, trained in one go."""
    folder = tmp_path_factory.mktemp("whole")
    train(LONG, folder, data=prepared, device="cpu", threads=1)
    return folder


def curve(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "train.csv").drop(columns="seconds")


def train_in_process(folder: Path, data: Path, seconds: float) -> None:
    with (folder.parent / f"{folder.name}.said").open("a", buffering=1) as said, redirect_stderr(said):
        train(LONG, folder, data=data, device="cpu", threads=1, checkpoint_seconds=seconds)


@pytest.mark.slow
def test_killed_at_random_moments_and_still_the_same_to_the_bit(
    prepared: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 to real processes, wherever they are: writing a checkpoint, too. Each goes on where the last one was."""
    processes = multiprocessing.get_context("forkserver")
    # loads torch and timm once, not twenty times
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    processes.set_forkserver_preload(["timm", "sisr.training.train", "tests.training.test_training_resume"])
    chance = random.Random(0)
    kills = runs = 0
    while kills < KILLS:
        folder, runs = tmp_path / f"run{runs}", runs + 1
        resumed_at: list[int] = []
        attempts = 0
        while not (folder / "provenance.json").exists():
            process = processes.Process(target=train_in_process, args=(folder, prepared, 0.02))
            process.start()
            began = time.monotonic()
            while process.is_alive() and not list(folder.glob("*checkpoint*")) and time.monotonic() - began < 60:
                time.sleep(0.002)
            attempts += 1  # a machine on which nothing is done within 0.4 s gets more time at each attempt
            process.join(chance.uniform(0, 0.4 + 0.05 * attempts))
            if process.is_alive():
                process.kill()
                kills += 1
            process.join()
            assert process.exitcode in (0, -signal.SIGKILL)
            said = (tmp_path / f"{folder.name}.said").read_text()
            assert "damaged" not in said
            resumed_at = [int(step) for step in re.findall(r"resuming at step (\d+)", said)]
            # never back behind a checkpoint that was whole: no more is lost than the steps since
            assert resumed_at == sorted(resumed_at)
        assert same_weights(whole, folder)
        pd.testing.assert_frame_equal(curve(whole), curve(folder))
        assert not list(folder.glob("*checkpoint*.pt"))
        assert resumed_at
        assert resumed_at[-1] > 0


def test_terminated_run_goes_on_bit_for_bit(prepared: Path, whole: Path, tmp_path: Path) -> None:
    """SIGTERM to a real process: it saves, exits with 143, and the same command finishes as if nothing had been."""
    folder = tmp_path / "cut"
    command = [warm.python(), "-m", "sisr", "train", *LONG.arguments(), "--output", str(folder)]
    command += ["--data", str(prepared), "--device", "cpu", "--threads", "1", "--checkpoint-seconds", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (folder / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "the same command resumes from there" in said

    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
    assert "resuming at step" in finished.stderr
    assert same_weights(whole, folder)
    pd.testing.assert_frame_equal(curve(whole), curve(folder))


def test_checkpoint_of_another_run_is_refused(prepared: Path, tmp_path: Path) -> None:
    other = replace(RUN, seed=9)
    network = create_network(other)
    (tmp_path / "run").mkdir()
    Checkpoints(tmp_path / "run", other).save(network, torch.optim.Adam(network.parameters()), Progress(step=3))
    with pytest.raises(SisrError, match="belongs to another configuration"):
        train(RUN, tmp_path / "run", data=prepared, device="cpu")


def test_a_complete_run_is_left_as_it_is(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    short = replace(RUN, training=replace(RUN.training, steps=2))
    record = train(short, folder, data=prepared, device="cpu")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}

    assert train(short, folder, data=prepared, device="cpu") == record
    assert capsys.readouterr().err.endswith(f"{folder} holds this run already; it is complete.\n")
    for other in (replace(short, seed=5), RUN):
        with pytest.raises(SisrError, match="holds a run of another configuration; choose another --output"):
            train(other, folder, data=prepared, device="cpu")
    monkeypatch.setattr("sisr.training.train.own_code", lambda run: {"attention_sha256": "0" * 64})
    with pytest.raises(SisrError, match="another version of enlca"):
        train(short, folder, data=prepared, device="cpu")
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before

    monkeypatch.undo()
    (folder / "provenance.json").unlink()  # a run that is not complete is trained
    assert train(short, folder, data=prepared, device="cpu")["weights_sha256"] == record["weights_sha256"]


def test_a_run_that_cannot_be_written_at_the_end_is_resumed(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    short = replace(RUN, training=replace(RUN.training, steps=2))
    with monkeypatch.context() as patch:
        patch.setattr("models.weights.save_file", full)
        with pytest.raises(SisrError, match=r"No space left on device .*rerun the command to resume"):
            train(short, tmp_path / "run", data=prepared, device="cpu", checkpoint_seconds=0)
    assert (tmp_path / "run" / "checkpoint.pt").is_file()
    train(short, tmp_path / "run", data=prepared, device="cpu")
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def some_checkpoints(folder: Path) -> tuple[Checkpoints, torch.nn.Module, torch.optim.Optimizer]:
    """Two checkpoints, at steps 1 and 2, whose weights are all 1 and all 2."""
    network = create_network(RUN)
    optimizer = torch.optim.Adam(network.parameters())
    checkpoints = Checkpoints(folder, RUN)
    for step in (1, 2):
        for parameter in network.parameters():
            torch.nn.init.constant_(parameter, step)
        checkpoints.save(network, optimizer, Progress(step=step))
    return checkpoints, network, optimizer


@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty", "absent"])
def test_damaged_checkpoint_is_noticed_and_the_one_before_used(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints, network, optimizer = some_checkpoints(tmp_path)
    content = bytearray(checkpoints.last.read_bytes())
    weights = content.index(np.full(8, 2, np.float32).tobytes())  # a byte within the weights
    content[weights] ^= 1
    broken = {"cut short": content[:-100], "one bit": content, "empty": b""}
    if damage in broken:
        checkpoints.last.write_bytes(broken[damage])
    else:
        checkpoints.last.unlink()
    assert checkpoints.restore(network, optimizer).step == 1
    assert all((parameter == 1).all() for parameter in network.parameters())
    told = capsys.readouterr().err
    assert "resuming at step 1" in told
    assert ("checkpoint.pt is damaged" in told) == (damage != "absent")


def test_full_disk_is_told_and_the_last_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, network, optimizer = some_checkpoints(tmp_path)

    def full(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos\nbacktrace")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SisrError, match=r"the checkpoint at step 3 cannot be written .*free some space") as error:
        checkpoints.save(network, optimizer, Progress(step=3))
    assert "\n" not in str(error.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.previous.pt", "checkpoint.pt"]
    assert checkpoints.restore(network, optimizer).step == 2


def test_checkpoint_of_version_0_1_is_read(tmp_path: Path) -> None:
    """It also held the energy that the GPU had used."""
    checkpoints, network, optimizer = some_checkpoints(tmp_path)
    content = torch.load(checkpoints.last, weights_only=True)
    torch.save(content | {"progress": content["progress"] | {"joules": None}}, checkpoints.last)
    assert checkpoints.restore(network, optimizer) == Progress(step=2)


def test_checkpoint_executes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle that would call a function when it is loaded is damage, not code."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "executed",)

    checkpoints = Checkpoints(tmp_path, RUN)
    torch.save(Evil(), checkpoints.last)
    network = create_network(RUN)
    assert checkpoints.restore(network, torch.optim.Adam(network.parameters())).step == 0
    assert not (tmp_path / "executed").exists()
    assert "damaged" in capsys.readouterr().err
