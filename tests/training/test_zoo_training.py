"""The other networks of Table 1 train by the same loop, under the same recipe."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import models
from sisr.config.run import Network, Run
from sisr.training.train import create_network, train
from tests.helpers import small_run
from tests.helpers.small_run import SETTINGS, state

SMALL = {
    "dbpn": {"stages": 2, "features": 8, "channels": 8},
    "memnet": {"memories": 2, "recursions": 1, "channels": 8},
    "nlrn": {"recurrences": 2, "channels": 8, "embedding": 4, "window": 20},
    "oisr": {"blocks": 2, "channels": 8},
    "rcan": {"groups": 1, "blocks": 2, "channels": 8, "reduction": 4},
    "rdn": {"blocks": 2, "layers": 2, "channels": 8, "growth": 8},
    "rnan": {"blocks": 2, "channels": 4},
    "san": {"groups": 1, "blocks": 1, "channels": 8, "reduction": 4},
    "srfbn": {"steps": 2, "groups": 2, "channels": 8},
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.prepare(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("name", SMALL)
def test_network_trains(name: str, prepared: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=40, halve_every=100, contrastive_weight=0.0, contrastive_start=0, redraw_every=0)
    better = 0.7
    if name == "srfbn":  # begins near bilinear interpolation
        settings, better = replace(settings, learning_rate=1e-2), 0.995
    run = Run(
        network=Network(name=name, scale=2, network_options=SMALL[name]), training=settings, train=("photos",), seed=0
    )
    torch.manual_seed(run.seed)
    before = {key: tensor.clone() for key, tensor in create_network(run).state_dict().items()}
    train(run, tmp_path / "run", data=prepared, device="cpu", threads=1)
    losses = pd.read_csv(tmp_path / "run" / "train.csv")["loss"]
    assert losses.notna().all()
    after = state(tmp_path / "run")
    assert after.keys() == before.keys()
    still = [key for key in before if torch.equal(before[key], after[key])]
    assert not still
    model = models.load(tmp_path / "run" / "weights.safetensors")
    assert model.config == create_network(run).config
    # trained weights are nearer to HR than those it began with
    images = small_run_pair(prepared)
    model.train(name == "memnet")  # its statistics of 40 steps are not those of its last weights
    errors = []
    for weights in (before, after):
        model.load_state_dict(weights)
        with torch.inference_mode():
            errors.append(float((model(images[0]) - images[1]).abs().mean()))
    assert errors[1] < better * errors[0]


def small_run_pair(prepared: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """One photograph of the set as RGB in [0, 1], LR and HR."""
    from sisr.data.store import PairedStore

    store = PairedStore(prepared / "photos", 2)
    index = store.names.index("cat")
    lr, hr = (
        torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 for image in (store.lr(index), store.hr(index))
    )
    return lr[..., :40, :40], hr[..., :80, :80]
