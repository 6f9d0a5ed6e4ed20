"""Settings that change how fast or how frugally a run is trained, what stops it, and what can be seen of it."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

import models
from models import precision
from sisr.config.run import PRECISIONS, Run, Training
from sisr.data.patches import PatchSampler
from sisr.data.store import PairedStore
from sisr.training import monitor
from sisr.training.distributed import Group
from sisr.training.divergence import Diverged, Watch
from sisr.training.train import create_network, train
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.precision import computed_precision
from tests.helpers import small_run
from tests.helpers.small_run import NETWORK, RUN, SETTINGS, same_weights, state

ROOT = Path(__file__).parents[2]
PLAIN = replace(RUN, network=replace(NETWORK, name="edsr", attention=None, attention_options={}, slots=None))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.prepare(tmp_path_factory.mktemp("prepared"))


def setting(**changes: object) -> Run:
    return replace(RUN, training=replace(SETTINGS, **changes))  # type: ignore[arg-type]


def curve(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "train.csv")


def test_bfloat16_and_channels_last_train_close_to_the_reference(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "CPU_BFLOAT16", True)
    train(RUN, tmp_path / "reference", data=prepared, device="cpu")
    train(setting(precision="bfloat16", channels_last=True), tmp_path / "other", data=prepared, device="cpu")
    losses = [curve(tmp_path / name).l1.to_numpy() for name in ("reference", "other")]
    np.testing.assert_allclose(losses[1][0], losses[0][0], rtol=1e-2)  # bfloat16 has 8 bits of mantissa
    assert not np.array_equal(*losses)
    assert math.isfinite(losses[1].sum())


def test_bfloat16_is_computed_in_float32_where_it_is_emulated(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "CPU_BFLOAT16", False)
    computed_precision.cache_clear()
    made = {}
    for name in PRECISIONS:
        made[name] = train(setting(precision=name), tmp_path / name, data=prepared, device="cpu")
    assert same_weights(tmp_path / "float32", tmp_path / "bfloat16")
    assert {record["computed_in"] for record in made.values()} == {"float32"}
    assert capfd.readouterr().err.count("no native bfloat16") == 1  # once in all, not once a step
    monkeypatch.setattr(precision, "CPU_BFLOAT16", True)
    computed_precision.cache_clear()
    assert computed_precision("bfloat16", torch.device("cpu")) == "bfloat16"


@pytest.mark.parametrize("name", ["enlca", "nlsa"])
def test_batch_in_parts_is_the_batch(prepared: Path, tmp_path: Path, name: str) -> None:
    """Gradients of equal parts average to the whole batch's; NLSA's hash rotations are the same for every part."""
    options = {"k": 6.0, "m": 16} if name == "enlca" else {"chunk": 16}
    run = replace(RUN, network=replace(NETWORK, attention=name, attention_options=options))
    whole = replace(run, training=replace(SETTINGS, batch=4))
    parts = replace(run, training=replace(SETTINGS, batch=4, accumulate=2))
    assert whole.id != parts.id
    for each, folder in ((whole, "whole"), (parts, "parts")):
        train(each, tmp_path / folder, data=prepared, device="cpu")
    np.testing.assert_allclose(curve(tmp_path / "parts").loss, curve(tmp_path / "whole").loss, rtol=1e-4)
    for key, value in state(tmp_path / "whole").items():
        torch.testing.assert_close(state(tmp_path / "parts")[key], value, rtol=0, atol=2e-5)


def test_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match="a batch of 4 is not divisible into 3 equal parts"):
        Training(batch=4, accumulate=3)
    with pytest.raises(UsageError, match="a batch of 4 is not divisible among 3 processes with 1 parts"):
        Group(0, 3).parts(4, 1)
    shares = [Group(rank, 2).parts(8, 2) for rank in (0, 1)]
    assert [list(range(8))[part] for share in shares for part in share] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_moving_average_is_that_of_the_weights(prepared: Path, tmp_path: Path) -> None:
    """After three steps, against the recursion written out with timm's documented warm-up of the decay."""
    run = setting(steps=3, ema_decay=0.8, contrastive_weight=0.0, redraw_every=2)
    train(run, tmp_path / "run", data=prepared, device="cpu")
    torch.manual_seed(0)
    network = create_network(run).train()
    average = {name: value.clone() for name, value in network.state_dict().items()}
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.99), eps=1e-8)
    sampler = PatchSampler([PairedStore(prepared / "photos", 2)], patch=16, batch=2, seed=0)
    learned = {name for name, _ in network.named_parameters()}
    for step in range(3):
        if step == 2:
            for name, value in state(tmp_path / "run").items():
                if name not in learned:
                    network.state_dict()[name].copy_(value)  # the projection drawn anew; test_training checks when
        lr, hr = (pixels / 255 for pixels in sampler(step))
        adam.zero_grad()
        F.l1_loss(network(lr), hr).backward()
        adam.step()
        decay = min(0.8, 1 - (1 + step) ** (-2 / 3)) if step else 0.0
        for name in learned:
            average[name] = decay * average[name] + (1 - decay) * network.state_dict()[name]
    final = state(tmp_path / "run")
    for name in learned:
        torch.testing.assert_close(final[name], average[name], rtol=1e-4, atol=1e-6)
    # a random projection is not averaged: the mean of two is none
    projections = [name for name in final if "projection" in name]
    assert projections
    for name in projections:
        assert torch.equal(final[name], network.state_dict()[name])


def test_new_settings_leave_the_names_of_old_runs() -> None:
    """At their defaults, settings that came later do not enter the id; the id is that of the settings before them."""
    old = {
        key: value for key, value in RUN.as_dict()["training"].items() if key not in ("tf32", "accumulate", "ema_decay")
    }
    assert Run.from_dict({**RUN.as_dict(), "training": old}).id == RUN.id
    for change in ({"tf32": True}, {"accumulate": 2}, {"ema_decay": 0.9}):
        assert setting(**change).id != RUN.id


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_what_the_setting_says(prepared: Path, tmp_path: Path, allowed: bool) -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        train(setting(steps=1, tf32=allowed), tmp_path / "run", data=prepared, device="cpu")
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.slow
def test_compiled_training_follows_the_plain_one_and_goes_on_without_a_compiler(prepared: Path, tmp_path: Path) -> None:
    run = replace(PLAIN, training=replace(SETTINGS, steps=4, contrastive_weight=0.0))
    train(run, tmp_path / "plain", data=prepared, device="cpu")
    compiled = replace(run, training=replace(run.training, compile=True))
    command = [sys.executable, "-m", "sisr", "train", *compiled.arguments(), "--data", str(prepared), "--device", "cpu"]
    for name, compiler in (("compiled", os.environ.get("CXX", "g++")), ("fallback", "/no/such/compiler")):
        environment = {**os.environ, "CXX": compiler, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / f"cache-{name}")}
        told = subprocess.run(
            [*command, "--output", str(tmp_path / name)], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert told.returncode == 0, told.stderr
        fell_back = "torch.compile does not work here" in told.stderr
        assert fell_back == (name == "fallback")
        assert "Traceback" not in told.stderr
        assert json.loads((tmp_path / name / "provenance.json").read_text())["compiled"] is not fell_back
        np.testing.assert_allclose(curve(tmp_path / name).loss, curve(tmp_path / "plain").loss, rtol=1e-3)
    assert same_weights(tmp_path / "fallback", tmp_path / "plain")


def test_loss_that_is_not_finite_is_tried_again_once(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = setting(learning_rate=1e18, steps=50, halve_every=50)
    with pytest.raises(SisrError, match=r"not finite at step \d+ \(images of the batch: .*did so again after going"):
        train(wild, tmp_path / "run", data=prepared, device="cpu")
    assert capsys.readouterr().err.count("Going back to the last checkpoint, once.") == 1
    told = json.loads((tmp_path / "run" / "diverged.json").read_text())
    sampler = PatchSampler([PairedStore(prepared / "photos", 2)], patch=16, batch=2, seed=0)
    assert told["images"] == sampler.names(told["step"] - 1)
    assert told["learning_rate"] == 1e18
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_fault_that_does_not_come_again_costs_the_steps_since_the_checkpoint(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One nan, as a failing memory cell makes it: the run goes back and ends as if nothing had been."""
    train(RUN, tmp_path / "whole", data=prepared, device="cpu")
    honest, calls = F.l1_loss, []

    def faulty(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return honest(sr, hr) * (float("nan") if len(calls) == 8 else 1.0)

    monkeypatch.setattr(F, "l1_loss", faulty)
    train(RUN, tmp_path / "run", data=prepared, device="cpu", checkpoint_seconds=0)
    assert len(calls) == 8 + (RUN.training.steps - 7)  # the seven steps before it were saved
    assert same_weights(tmp_path / "whole", tmp_path / "run")
    assert not (tmp_path / "run" / "diverged.json").exists()


def test_explosion_and_damaged_weights_are_noticed(prepared: Path) -> None:
    sampler = PatchSampler([PairedStore(prepared / "photos", 2)], patch=16, batch=2, seed=0)
    network = create_network(RUN)
    watch = Watch(torch.device("cpu"))
    for step, l1 in enumerate([3.0, 0.2, 0.9]):  # a wild beginning is no explosion
        watch.see(step, torch.tensor([l1, l1, 0.0]))
    watch.check(2, Group(), network, sampler, SETTINGS)
    for step, l1 in enumerate([1.5, 0.1, 7.0], start=3):
        watch.see(step, torch.tensor([l1, l1, 0.0]))
    with pytest.raises(Diverged, match="the loss diverged at step 4 ") as failure:
        watch.check(5, Group(), network, sampler, SETTINGS)
    assert failure.value.losses == [1.5, 1.5, 0.0]
    next(network.parameters()).data[0] = math.inf
    with pytest.raises(Diverged, match="the loss is not finite at step 10 "):
        Watch(torch.device("cpu")).check(9, Group(), network, sampler, SETTINGS)


def test_validation_is_shown_and_changes_nothing(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(RUN, tmp_path / "unseen", data=prepared, device="cpu")
    capsys.readouterr()
    train(RUN, tmp_path / "seen", data=prepared, device="cpu", validate=["photos", "missing"], tensorboard=True)
    said = capsys.readouterr()
    assert "no validation on missing" in said.err
    assert said.out.count(" dB, learning rate") == 12
    assert "steps/s, 0 s left" in said.out.splitlines()[-1]
    assert same_weights(tmp_path / "unseen", tmp_path / "seen")
    assert curve(tmp_path / "unseen").psnr.isna().all()
    model = models.load(tmp_path / "seen" / "weights.safetensors")
    validation = monitor.Validation([PairedStore(prepared / "photos", 2)])
    assert curve(tmp_path / "seen").psnr.iloc[-1] == pytest.approx(validation.measure(model)[0])
    assert model.training is False

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "seen" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 13))
    np.testing.assert_allclose([e.value for e in events.Scalars("psnr")], curve(tmp_path / "seen").psnr, rtol=1e-6)
    assert sorted(events.Tags()["images"]) == ["camera: bicubic, SR, HR", "cat: bicubic, SR, HR"]
    image = events.Images("cat: bicubic, SR, HR")[-1]
    assert (image.height, image.width) == (120, 3 * 128)  # LR 60x70, of which the middle 60x64


def test_a_run_of_some_steps_is_validated_ten_times_and_at_its_end(prepared: Path, tmp_path: Path) -> None:
    run = replace(RUN, training=replace(SETTINGS, steps=62, contrastive_weight=0.0))
    train(run, tmp_path, data=prepared, device="cpu", validate=["photos"])
    rows = curve(tmp_path)
    assert list(rows.step) == list(range(1, 63))
    assert list(rows.step[rows.psnr.notna()]) == [*range(6, 61, 6), 62]


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0 s"), (61, "1:01 min"), (3725, "1:02 h"), (360_000, "100:00 h")])
def test_time_left_is_readable(seconds: float, told: str) -> None:
    assert monitor._duration(seconds) == told
