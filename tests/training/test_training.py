"""The training loop: what it computes, writes, resumes and refuses."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sisr.cli import main
from sisr.config.run import Network, Run, Training
from sisr.data.imresize import imresize
from sisr.data.patches import PatchSampler
from sisr.data.store import PairedStore
from sisr.training.monitor import COLUMNS
from sisr.training.train import create_network, train
from tests.helpers import small_run, warm
from tests.helpers.small_run import NETWORK, RUN, SETTINGS, same_weights, state

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.prepare(tmp_path_factory.mktemp("prepared"))


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


def test_command_line_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*words: str) -> tuple[int, str]:
        return main(["train", *words, "--output", str(tmp_path / "run")]), capsys.readouterr().err

    assert call("--steps", "0") == (2, "sisr train: steps is 0; it must be above 0.\n")
    status, said = call("--attention-options", "k")
    assert status == 2
    assert "write it as name=value" in said
    status, said = call("--train", "nothing", "--channels", "8", "--blocks", "1")
    assert status == 1
    assert said.count("\n") == 1
    assert "run `python -m sisr prepare`" in said
    # a process of its own ends with that status, too
    command = [warm.python(), "-m", "sisr", "train", "--attention", "enlac", "--channels", "8", "--blocks", "1"]
    told = subprocess.run([*command, "--output", str(tmp_path / "run")], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 1
    assert "did you mean 'enla" in told.stderr
    assert "Traceback" not in told.stderr


def test_help_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", "--help"])
    told = capsys.readouterr().out
    for setting in (*Network.__dataclass_fields__, *Training.__dataclass_fields__):
        assert ("--network" if setting == "name" else "--" + setting.replace("_", "-")) in told
    assert "paper: 0.99 (released code: 0.999)" in " ".join(told.split())
