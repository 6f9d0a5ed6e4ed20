"""Training on several outputs and on luma: what enters the loss, and what a trial of the compiler leaves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from models.colour import to_ycbcr
from sisr.config.run import Network, Run
from sisr.data.patches import PatchSampler
from sisr.data.store import PairedStore
from sisr.training.train import create_network, train
from tests.helpers import small_run
from tests.helpers.small_run import SETTINGS, same_weights

OPTIONS = {
    "srfbn": {"steps": 3, "groups": 1, "channels": 4},
    "memnet": {"memories": 2, "recursions": 1, "channels": 4},
    "nlrn": {"recurrences": 1, "channels": 4, "embedding": 2},
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.prepare(tmp_path_factory.mktemp("prepared"))


def run(name: str, **changed: object) -> Run:
    training = replace(SETTINGS, steps=1, contrastive_weight=0.0, contrastive_start=0, redraw_every=0)
    network = Network(name=name, scale=2, network_options=OPTIONS[name])
    return Run(network=network, training=replace(training, **changed), train=("photos",), seed=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OPTIONS)
def test_loss_is_the_mean_of_the_losses_of_all_outputs(name: str, prepared: Path, tmp_path: Path) -> None:
    plan = run(name)
    train(plan, tmp_path / "run", data=prepared, device="cpu", threads=1)
    torch.manual_seed(plan.seed)
    model = create_network(plan).train()
    lr, hr = (
        pixels / 255 for pixels in PatchSampler([PairedStore(prepared / "photos", 2)], patch=16, batch=2, seed=3)(0)
    )
    if name == "srfbn":
        outputs = [*model.outputs(lr)]  # type: ignore[operator]
        assert len(outputs) == 3
    else:
        hr = to_ycbcr(hr)[:, :1]
        outputs = [*model.outputs(lr)]  # type: ignore[operator]
        assert len(outputs) == (3 if name == "memnet" else 1)
    expected = torch.stack([F.l1_loss(each, hr) for each in outputs]).mean()
    found = pd.read_csv(tmp_path / "run" / "train.csv")
    assert found["l1"].tolist() == pytest.approx([expected.item()], rel=1e-5)
    assert found["loss"].tolist() == found["l1"].tolist()


def test_training_resumes_with_the_statistics_of_batch_normalisation(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = run("memnet", steps=4)
    train(plan, tmp_path / "whole", data=prepared, device="cpu", threads=1)
    from sisr.training.observer import Observer

    after_step = Observer.after_step

    def stopped(self: Observer, step: int, losses: torch.Tensor) -> None:
        if step == 1:
            self.stop.append(15)
        after_step(self, step, losses)

    with monkeypatch.context() as patch:
        patch.setattr(Observer, "after_step", stopped)
        with pytest.raises(SystemExit):
            train(plan, tmp_path / "parts", data=prepared, device="cpu", threads=1)
    train(plan, tmp_path / "parts", data=prepared, device="cpu", threads=1)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("name", ["srfbn", "memnet"])
def test_a_trial_of_the_compiler_changes_no_statistics(
    name: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def compiler(network: Any) -> Any:
        compiled.append(network)
        return lambda x: network(x)

    monkeypatch.setattr(torch, "compile", compiler)
    record = train(run(name, compile=True), tmp_path / "compiled", data=prepared, device="cpu", threads=1)
    assert record["compiled"]
    assert [network.__name__ for network in compiled] == ["outputs"]
    train(run(name), tmp_path / "plain", data=prepared, device="cpu", threads=1)
    assert same_weights(tmp_path / "compiled", tmp_path / "plain")
