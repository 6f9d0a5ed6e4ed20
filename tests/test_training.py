"""The training loop: what it computes, writes, resumes and refuses."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from skimage import data as photographs

import models
from sisr.checkpoint import Checkpoints, Progress
from sisr.config import Network, Run, Training
from sisr.errors import SisrError
from sisr.resize import imresize
from sisr.sampling import PatchSampler
from sisr.store import PairedStore, write
from sisr.training import COLUMNS, create_network, train

ROOT = Path(__file__).parent.parent
SETTINGS = Training(
    steps=12,
    batch=2,
    patch=16,
    learning_rate=1e-3,
    halve_every=4,
    contrastive_weight=1e-3,
    contrastive_start=5,
    redraw_every=3,
)
NETWORK = Network(
    name="enlcn",
    scale=2,
    blocks=2,
    channels=8,
    attention="enlca",
    attention_options={"k": 6.0, "m": 16},
    slots=(0, 2),
    initialisation="interpolation",
)
RUN = Run(network=NETWORK, training=SETTINGS, train=("photos",))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs, one of them greyscale, at x2."""
    folder = tmp_path_factory.mktemp("prepared")
    images = {"cat": photographs.chelsea()[:120, :140], "camera": photographs.camera()[200:296, 200:300]}
    write(folder / "photos" / "hr", images.items(), {})
    write(folder / "photos" / "x2", ((name, imresize(image, 0.5)) for name, image in images.items()), {})
    return folder


def state(folder: Path) -> dict[str, torch.Tensor]:
    return models.load(folder / "weights.safetensors").state_dict()


def same_weights(one: Path, other: Path) -> bool:
    first, second = state(one), state(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_patches_are_the_symmetries_of_crops_of_the_images(prepared: Path) -> None:
    images = PairedStore(prepared / "photos", 2)
    sampler = PatchSampler([images], patch=16, batch=6, seed=1)
    seen = set()
    for step in range(8):
        lr, hr = sampler(step)
        assert lr.shape == (6, 3, 16, 16)
        assert hr.shape == (6, 3, 32, 32)
        assert lr.dtype == hr.dtype == torch.uint8
        for name, small, large in zip(sampler.names(step), lr.numpy(), hr.numpy(), strict=True):
            image = images.lr(images.names.index(name))
            image = image[None].repeat(3, 0) if image.ndim == 2 else image.transpose(2, 0, 1)
            turns = [np.rot90(small[:, :, ::mirror], turn, (1, 2)) for mirror in (1, -1) for turn in range(4)]
            windows = np.lib.stride_tricks.sliding_window_view(image, (3, 16, 16))[0]
            found = [i for i, turned in enumerate(turns) if (windows == turned).all(axis=(2, 3, 4)).any()]
            assert found, f"step {step}: no crop of {name}"
            seen.add(found[0])
            # HR belongs to the same place and turn: reduced again, it is LR but for the border of the crop
            again = imresize(large.transpose(1, 2, 0), 0.5).transpose(2, 0, 1)
            inner = (slice(None), slice(3, -3), slice(3, -3))
            assert np.abs(again[inner].astype(int) - small[inner]).max() <= 1
    assert seen == set(range(8))


def test_patches_depend_on_seed_and_step_alone(prepared: Path) -> None:
    def patches(seed: int, step: int) -> torch.Tensor:
        return PatchSampler([PairedStore(prepared / "photos", 2)], patch=16, batch=4, seed=seed)(step)[0]

    assert torch.equal(patches(3, 7), patches(3, 7))
    assert not torch.equal(patches(3, 7), patches(3, 8))
    assert not torch.equal(patches(3, 7), patches(4, 7))


def test_run_writes_everything(prepared: Path, tmp_path: Path) -> None:
    record = train(RUN, tmp_path / "run", data=prepared, device="cpu")
    assert {file.name for file in (tmp_path / "run").iterdir()} == {
        "config.json",
        "weights.safetensors",
        "train.csv",
        "provenance.json",
    }
    assert Run.from_dict(json.loads((tmp_path / "run" / "config.json").read_text())) == RUN
    assert json.loads((tmp_path / "run" / "provenance.json").read_text()) == record
    assert record["run_id"] == RUN.id
    log = pd.read_csv(tmp_path / "run" / "train.csv")
    assert tuple(log.columns) == COLUMNS
    assert log.step.tolist() == list(range(1, 13))
    np.testing.assert_allclose(log.learning_rate, [1e-3] * 4 + [5e-4] * 4 + [2.5e-4] * 4)
    np.testing.assert_allclose(log.loss, log.l1 + 1e-3 * log.contrastive)
    # warm-up: the contrastive loss counts from step 6 (counted from 1) on
    assert (log.contrastive[:5] == 0).all()
    assert (log.contrastive[5:] > 0).any()
    assert log.seconds.is_monotonic_increasing


def test_same_seed_same_weights_other_seed_others(prepared: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        train(replace(RUN, seed=seed), tmp_path / name, data=prepared, device="cpu")
    assert same_weights(tmp_path / "one", tmp_path / "again")
    assert not same_weights(tmp_path / "one", tmp_path / "other")


def test_loss_is_that_of_a_loop_written_out(prepared: Path, tmp_path: Path) -> None:
    """First two steps by hand: L1 of the network's output, Adam as torch has it."""
    run = replace(RUN, network=replace(NETWORK, name="edsr", attention=None, attention_options={}, slots=()))
    train(run, tmp_path / "run", data=prepared, device="cpu")
    torch.manual_seed(0)
    network = create_network(run).train()
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.99), eps=1e-8)
    sampler = PatchSampler([PairedStore(prepared / "photos", 2)], patch=16, batch=2, seed=0)
    losses = []
    for step in range(2):
        lr, hr = (pixels / 255 for pixels in sampler(step))
        loss = (network(lr) - hr).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    np.testing.assert_allclose(pd.read_csv(tmp_path / "run" / "train.csv").loss[:2], losses, rtol=1e-5)


def test_projection_is_redrawn_on_schedule(prepared: Path, tmp_path: Path) -> None:
    never = replace(RUN, training=replace(SETTINGS, redraw_every=0, steps=4))
    train(never, tmp_path / "never", data=prepared, device="cpu")
    often = replace(never, training=replace(never.training, redraw_every=3))
    train(often, tmp_path / "often", data=prepared, device="cpu")
    torch.manual_seed(0)
    projections = {key: value for key, value in create_network(never).state_dict().items() if "projection" in key}
    assert projections
    for key, value in projections.items():
        assert torch.equal(state(tmp_path / "never")[key], value)
        assert not torch.equal(state(tmp_path / "often")[key], value)


LONG = replace(RUN, training=replace(SETTINGS, steps=200, halve_every=60, contrastive_start=30))


def cut_short(folder: Path, prepared: Path, number: int) -> tuple[list[str], int, str]:
    """Train LONG in a process that gets a signal after its first checkpoint: its command, exit status and stderr.

    A process that was too quick to be hit is started again.
    """
    command = [sys.executable, "-m", "sisr", "train", *LONG.arguments(), "--output", str(folder)]
    command += ["--data", str(prepared), "--device", "cpu", "--threads", "1", "--checkpoint-seconds", "0"]
    for _ in range(10):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not (folder / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        if not (folder / "weights.safetensors").exists():
            break
        shutil.rmtree(folder)
    assert (folder / "checkpoint.pt").exists()
    return command, process.returncode, said


def test_terminated_run_goes_on_bit_for_bit(prepared: Path, tmp_path: Path) -> None:
    """SIGTERM to a real process: it saves, exits with 143, and the same command finishes as if nothing had been."""
    train(LONG, tmp_path / "whole", data=prepared, device="cpu", threads=1)
    command, status, said = cut_short(tmp_path / "cut", prepared, signal.SIGTERM)
    assert status == 128 + signal.SIGTERM, said
    assert "the same command goes on from there" in said

    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert "going on at step" in finished.stderr
    assert same_weights(tmp_path / "whole", tmp_path / "cut")
    columns = ["step", "loss", "l1", "contrastive", "learning_rate"]
    whole, cut = (pd.read_csv(tmp_path / name / "train.csv")[columns] for name in ("whole", "cut"))
    pd.testing.assert_frame_equal(whole, cut)


def test_killed_run_goes_on_bit_for_bit(prepared: Path, tmp_path: Path) -> None:
    """SIGKILL leaves no time to save: at most the steps since the last checkpoint are done again."""
    train(LONG, tmp_path / "whole", data=prepared, device="cpu", threads=1)
    _, status, _ = cut_short(tmp_path / "cut", prepared, signal.SIGKILL)
    assert status == -signal.SIGKILL
    train(LONG, tmp_path / "cut", data=prepared, device="cpu", threads=1)
    assert same_weights(tmp_path / "whole", tmp_path / "cut")


def test_checkpoint_of_another_run_is_refused(prepared: Path, tmp_path: Path) -> None:
    other = replace(RUN, seed=9)
    network = create_network(other)
    (tmp_path / "run").mkdir()
    Checkpoints(tmp_path / "run", other).save(network, torch.optim.Adam(network.parameters()), Progress(step=3))
    with pytest.raises(SisrError, match="belongs to another configuration"):
        train(RUN, tmp_path / "run", data=prepared, device="cpu")


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
    assert "going on at step 1" in told
    assert ("checkpoint.pt is damaged" in told) == (damage != "absent")


def test_full_disk_is_told_and_the_last_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, network, optimizer = some_checkpoints(tmp_path)

    def full(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos\nbacktrace")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SisrError, match=r"the checkpoint at step 3 cannot be written .*make room") as error:
        checkpoints.save(network, optimizer, Progress(step=3))
    assert "\n" not in str(error.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.previous.pt", "checkpoint.pt"]
    assert checkpoints.restore(network, optimizer).step == 2


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


def test_loss_that_is_not_finite_stops_the_run(prepared: Path, tmp_path: Path) -> None:
    wild = replace(RUN, training=replace(SETTINGS, learning_rate=1e30, steps=50, halve_every=50))
    with pytest.raises(SisrError, match=r"not finite at step \d+ \(images of the batch: .*(cat|camera)"):
        train(wild, tmp_path / "run", data=prepared, device="cpu")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_bfloat16_and_channels_last_train_close_to_the_reference(prepared: Path, tmp_path: Path) -> None:
    train(RUN, tmp_path / "reference", data=prepared, device="cpu")
    other = replace(RUN, training=replace(SETTINGS, precision="bfloat16", channels_last=True))
    train(other, tmp_path / "other", data=prepared, device="cpu")
    losses = [pd.read_csv(tmp_path / name / "train.csv").l1.to_numpy() for name in ("reference", "other")]
    np.testing.assert_allclose(losses[1][0], losses[0][0], rtol=1e-2)  # bfloat16 has 8 bits of mantissa
    assert not np.array_equal(*losses)
    assert math.isfinite(losses[1].sum())


def test_command_line_tells_what_is_wrong(tmp_path: Path) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sisr", "train", *words, "--output", str(tmp_path / "run")]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})

    told = call("--steps", "0")
    assert (told.returncode, told.stderr) == (2, "sisr train: steps is 0; it must be above 0.\n")
    told = call("--attention-options", "k")
    assert told.returncode == 2
    assert "write it as name=value" in told.stderr
    told = call("--train", "nothing", "--channels", "8", "--blocks", "1")
    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert "run `python -m sisr prepare`" in told.stderr
    told = call("--attention", "enlac", "--channels", "8", "--blocks", "1")
    assert told.returncode == 1
    assert "did you mean 'enla" in told.stderr
    assert "Traceback" not in told.stderr


def test_help_explains_every_setting() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "sisr", "train", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for setting in (*Network.__dataclass_fields__, *Training.__dataclass_fields__):
        assert ("--network" if setting == "name" else "--" + setting.replace("_", "-")) in told
    assert "paper: 0.99 (released code: 0.999)" in " ".join(told.split())
