"""Presets with networks of one's own, checkpoints of any name, and runs or files to continue from."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import save_file

import models
from sisr.config import comparison, preflight
from sisr.config.presets import plan
from sisr.config.run import Run
from sisr.utils.errors import SisrError, UsageError

ROOT = Path(__file__).parents[2]
CODE = """
from torch import nn

class Small(nn.Module):
    def __init__(self, scale=4, *, factor: int = 1):
        super().__init__()
        self.tail = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale * factor))

    def forward(self, x):
        return self.tail(x)
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The preset `quick` with one network in a file; the current folder is the checkout's root."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(CODE)
    preset = yaml.safe_load((ROOT / "config" / "quick.yaml").read_text())
    preset["table1"] = {"scales": [2], "networks": ["edsr", "my_net.py:Small"]}
    return copy.deepcopy(preset)


def own(made: Any) -> Run:
    return next(run for run in made.experiments["table1"] if run.network.name == "my_net.py:Small")


def test_a_network_of_ones_own_is_a_run_of_table1(config: dict[str, Any]) -> None:
    run = own(plan(config))
    assert run.id.startswith("Small-x2-s0-")
    assert run.network.options() == {}
    assert run.network.attention is None
    assert comparison.code(run, {}) == Path("my_net.py")
    config["network_options"] = {"my_net.py:Small": {"factor": 1}}
    changed = own(plan(config))
    assert changed.network.options() == {"factor": 1}
    assert changed.id != run.id
    assert Run.from_dict(json.loads(json.dumps(changed.as_dict()))) == changed


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("my_net.py:Smal", "table1.networks.1: my_net.py defines no Smal; did you mean 'Small'?"),
        ("other.py:Small", "table1.networks.1: there is no file other.py, which other.py:Small names."),
        ("my_net.py", "table1.networks.1: my_net.py names no class; write my_net.py:Class."),
    ],
)
def test_wrong_names(config: dict[str, Any], name: str, sentence: str) -> None:
    config["table1"]["networks"][1] = name
    with pytest.raises(UsageError) as error:
        plan(config)
    assert str(error.value) == sentence


def test_a_network_that_does_not_work_is_refused_before_anything_runs(config: dict[str, Any]) -> None:
    """One process: both networks of the plan are built and tried."""
    config["network_options"] = {"my_net.py:Small": {"factor": 2}}
    config["table1"]["networks"] = ["my_net.py:Small"]
    with pytest.raises(SisrError, match=r"table1: .*my_net.py:Small"):
        preflight.check(plan(config))


def test_published_weights_may_have_any_name(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "swinir.pth").touch()
    config["published_weights"] = {"my_swinir": {2: "swinir.pth", 4: "swinir.pth"}}
    assert plan(config).published == {"my_swinir-x2": Path("swinir.pth")}  # Table 1 has x2 only
    config["published_weights"] = {"bicubic": {2: "swinir.pth"}}
    with pytest.raises(UsageError, match=r"published_weights.bicubic is the name of a control"):
        plan(config)
    config["published_weights"] = {"my swinir": {2: "swinir.pth"}}
    with pytest.raises(UsageError, match="published_weights"):
        plan(config)


def test_a_preset_continues_from_a_run_or_a_file(config: dict[str, Any], tmp_path: Path) -> None:
    source = own(plan(config))
    folder = tmp_path / "finished"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(source.as_dict()))
    models.save(models.create("my_net.py:Small", 2), folder / "weights.safetensors")
    save_file(models.create("my_net.py:Small", 2).state_dict(), "my.safetensors")
    started = {}
    for start in ("finished", "my.safetensors"):
        config["training"]["start_from"] = start
        made = plan(config)
        started[start] = own(made).training.start_from
        assert made.start(own(made), Path("runs")) == Path(start)
    assert started["finished"] == source.id
    assert started["my.safetensors"].startswith("sha256:")
    config["training"]["start_from"] = "my_net"
    with pytest.raises(UsageError, match="not a weights file or the folder of a finished run"):
        plan(config)
