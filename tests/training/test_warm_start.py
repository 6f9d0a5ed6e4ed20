"""Continuing from trained weights: inserted attention starts as the identity, other scales take what fits."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import models
from models import attention
from models.warm_start import Gated
from sisr.config.run import Run, Training
from sisr.training.train import train
from sisr.training.warm_start import identity
from sisr.utils.errors import SisrError, UsageError
from tests.helpers import small_run
from tests.helpers.small_run import NETWORK, RUN, SETTINGS, same_weights

CHANNELS, PATCH = 16, 12
BACKBONE = replace(RUN, network=replace(NETWORK, name="edsr", attention=None, attention_options={}, slots=None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared set and a trained backbone."""
    folder = small_run.prepare(tmp_path_factory.mktemp("warm_start"))
    train(BACKBONE, folder / "backbone", data=folder, device="cpu", threads=1)
    return folder


def network(name: str | None, scale: int = 2, **options: object) -> torch.nn.Module:
    return models.create("edsr", scale, blocks=2, channels=CHANNELS, attention=name, slots=[0, 2], **options)


@pytest.mark.parametrize("name", attention.available())
def test_every_mechanism_starts_as_the_identity_and_can_leave_it(name: str) -> None:
    torch.manual_seed(0)
    backbone, model = network(None), network(name)
    started = models.start_from(model, backbone.state_dict())
    assert set(started.taken) == set(backbone.state_dict())
    assert all(new.startswith("attention.") for new in started.new)
    x = torch.rand(2, 3, PATCH, PATCH)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), backbone.eval()(x), rtol=0, atol=1e-5)
    inserted = [parameter for key, parameter in model.named_parameters() if key in started.new]
    model.train()(x).square().mean().backward()
    assert not inserted or any(parameter.grad is not None and parameter.grad.any() for parameter in inserted)


class Free(torch.nn.Module):
    """A mechanism with weights that declares no way to start as the identity."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x)


def test_a_free_module_stands_behind_a_gate_that_the_file_keeps(tmp_path: Path) -> None:
    backbone, model = network(None).eval(), network(f"{__name__}:Free").eval()
    models.start_from(model, backbone.state_dict())
    assert isinstance(model.attention["0"], Gated)
    x = torch.rand(1, 3, PATCH, PATCH)
    with torch.no_grad():
        torch.testing.assert_close(model(x), backbone(x))
        model.attention["0"].gate.fill_(0.5)
        assert not torch.allclose(model(x), backbone(x))
        models.save(model, tmp_path / "weights.safetensors")
        torch.testing.assert_close(models.load(tmp_path / "weights.safetensors")(x), model(x))


def test_another_scale_takes_everything_but_the_upsampler() -> None:
    source, model = network(None), network(None, scale=4)
    started = models.start_from(model, source.state_dict())
    assert {name.split(".")[0] for name in started.new} == {"upsampler"}
    assert torch.equal(model.head.weight, source.head.weight)


def test_weights_of_another_width_are_refused() -> None:
    other = models.create("edsr", 2, blocks=2, channels=CHANNELS + 4)
    del other.tail
    with pytest.raises(ValueError, match=r"none of its \d+ tensors fits EDSR"):
        models.start_from(network(None), {f"x.{name}": value for name, value in other.state_dict().items()})


def continued(**training: object) -> Run:
    return replace(RUN, training=replace(SETTINGS, start_from=BACKBONE.id, **training))


def test_a_run_continues_and_records_from_what(folder: Path, tmp_path: Path) -> None:
    assert identity(folder / "backbone") == BACKBONE.id
    record = train(continued(), tmp_path / "run", start=folder / "backbone", data=folder, device="cpu", threads=1)
    source = json.loads((folder / "backbone/provenance.json").read_text())
    assert record["start_from"] == BACKBONE.id
    assert record["start_from_sha256"] == source["weights_sha256"]
    assert record["weights_taken"] == len(models.load(folder / "backbone/weights.safetensors").state_dict())
    assert len({RUN.id, continued().id, continued(inserted_rate=10.0).id}) == 3


def test_inserted_weights_have_their_own_rate(folder: Path, tmp_path: Path) -> None:
    """At a negligible rate of everything but the inserted weights, only these move."""
    run = continued(learning_rate=1e-12, inserted_rate=1e9)
    train(run, tmp_path / "run", start=folder / "backbone", data=folder, device="cpu", threads=1)
    before, after = (small_run.state(path) for path in (folder / "backbone", tmp_path / "run"))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=1e-7)
    assert after["attention.0.value.weight"].abs().max() > 1e-4


def test_interrupted_continuation_ends_with_the_same_bits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sisr.training import train as training

    run = continued(inserted_rate=10.0)
    arguments = {"start": folder / "backbone", "data": folder, "device": "cpu", "threads": 1}
    train(run, tmp_path / "whole", **arguments)
    sampled = training.PatchSampler.__call__

    def stop_at_seven(self: object, step: int, *rest: object) -> object:
        if step == 7:
            raise KeyboardInterrupt
        return sampled(self, step, *rest)

    monkeypatch.setattr(training.PatchSampler, "__call__", stop_at_seven)
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "parts", checkpoint_seconds=0, **arguments)
    monkeypatch.undo()
    train(run, tmp_path / "parts", **arguments)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


def test_other_weights_than_the_named_ones_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = folder / "backbone/weights.safetensors"
    with pytest.raises(UsageError, match="give its folder or file with --start-from"):
        train(continued(), tmp_path / "run", data=folder)
    with pytest.raises(UsageError, match=r"starts from edsr-.*, but .* is sha256:"):
        train(continued(), tmp_path / "run", start=weights, data=folder)
    with pytest.raises(UsageError, match="starts from scratch, but"):
        train(RUN, tmp_path / "run", start=weights, data=folder)
    with pytest.raises(UsageError, match="there is no run or weights file"):
        identity(tmp_path / "nothing")
    with pytest.raises(UsageError, match="not the folder of a finished run"):
        identity(tmp_path)
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes(weights.read_bytes()[:100])
    run = replace(RUN, training=replace(SETTINGS, start_from=identity(broken)))
    with pytest.raises(SisrError, match="cannot start from"):
        train(run, tmp_path / "run", start=broken, data=folder)
    assert not (tmp_path / "run").exists()


def test_cosine_schedule_by_hand() -> None:
    settings = Training(steps=8, learning_rate=4.0, schedule="cosine")
    rates = [settings.learning_rate_at(step) for step in (0, 2, 4, 6)]
    assert rates == pytest.approx([4, 2 + math.sqrt(2), 2, 2 - math.sqrt(2)])
    assert Training(steps=8, learning_rate=4.0, halve_every=4).learning_rate_at(4) == 2
    with pytest.raises(UsageError, match="schedule is 'linear'"):
        Training(schedule="linear")
    with pytest.raises(UsageError, match="inserted_rate needs start_from"):
        Training(inserted_rate=2)
