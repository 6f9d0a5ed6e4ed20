"""Networks are built before anything is planned: wrong settings and wrong code are one sentence, and nothing hangs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from models import attention
from sisr.config import Network, Run, Training, preflight
from sisr.config.presets import Plan, plan
from sisr.training import dry_run
from sisr.utils.errors import SisrError, UsageError

ROOT = Path(__file__).parents[2]
QUICK = yaml.safe_load((ROOT / "config" / "quick.yaml").read_text())
MINE = """
{first}
import torch

class Mine(torch.nn.Module):
    def __init__(self, channels: int = 64, *, strength: float = 1.0) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        return {output}
"""


def planned(name: str, root: Path) -> Plan:
    """A plan whose only networks with attention hold a custom one."""
    made = plan(QUICK | {"attention": ["none", name]}, root)
    return replace(made, experiments=dict.fromkeys(made.experiments, ()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for custom mechanisms, which is the current one; in it five seconds without work are a hang."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preflight, "IDLE", 5.0)
    monkeypatch.setitem(preflight.LIMITS, "build", 4.0)
    (tmp_path / "data").symlink_to(ROOT / "data")
    return tmp_path


@pytest.mark.parametrize(
    ("first", "output", "said"),
    [
        ("import sys; sys.exit(0)", "x", "cannot be imported: SystemExit: 0 (mine.py, line 2)."),
        ("import os; os._exit(3)", "x", "ended Python while it was imported and built (exit status 3)."),
        ("while True: pass", "x", "hangs while it is imported and built; it was stopped."),
        ("import time; time.sleep(1000)", "x", "hangs while it is imported and built; it was stopped."),
        ("class Odd(Exception): pass\nraise Odd('no')", "x", "cannot be imported: Odd: no (mine.py, line 3)."),
        (
            "print('sisr dry run')",
            "x[..., :1]",
            "its output has the shape (1, 16, 24, 1) for an input of (1, 16, 24, 24)",
        ),
        ("", "missing", "name 'missing' is not defined (mine.py, line 11)"),
    ],
)
def test_code_that_cannot_work_is_one_sentence(folder: Path, first: str, output: str, said: str) -> None:
    (folder / "mine.py").write_text(MINE.format(first=first, output=output))
    record = folder / "checked.json"
    with pytest.raises(SisrError) as caught:
        preflight.check(planned("mine.py:Mine", folder), record)
    assert str(caught.value).startswith("compare.attention: ")
    assert "mine.py:Mine" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not record.exists()


def test_what_passed_is_not_built_again_until_its_code_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, record = folder / "mine.py", folder / "checked.json"
    # what depends on values cannot be built without them
    file.write_text(MINE.format(first="", output="x * self.scale if float(self.scale.sum()) > 0 else None"))
    made = planned("mine.py:Mine", folder)
    preflight.check(made, record)
    assert any("mine.py:Mine" in spec for spec in json.loads(record.read_text()).values())
    started: list[Any] = []
    monkeypatch.setattr(preflight, "_failure", started.append)
    preflight.check(made, record)
    assert not started
    file.write_text(file.read_text() + "\n")
    preflight.check(made, record)
    assert [task["run"]["network"]["attention"] for task in started[0]] == ["mine.py:Mine"]
    record.write_text("[")
    preflight.check(made, record)
    assert len(started) == 2


@pytest.mark.parametrize("patch", [16, 200])
@pytest.mark.parametrize("name", attention.available())
def test_every_mechanism_is_built(name: str, patch: int) -> None:
    network = Network(name="edsr", attention=name, blocks=2, channels=8, slots=(0,), initialisation="interpolation")
    dry_run.build(Run(network=network, training=Training(patch=patch, contrastive_weight=0.1)))


@pytest.mark.parametrize(
    ("options", "patch", "said"),
    [
        ({"irrelevant": [50, 6500]}, 24, "irrelevant (50, 6500) selects ranks 50 to 6500 of 576 keys"),
        ({"irrelevant": [50, 65000]}, 200, "irrelevant (50, 65000) selects ranks 50 to 65000 of 40000 keys"),
        ({"reduction": 0}, 24, "reduction must lie between 1 and the 8 channels, not 0"),
        ({"embedding_kernel": 2}, 24, "embedding_kernel must be 1 or 3, not 2"),
        ({"m": -1}, 24, "m (the number of random features) must be at least 1, not -1"),
        ({"k": 101.0}, 24, "k must be at most 100 where epsilon is 0.0001, not 101.0"),
        ({"k": 1500.0, "epsilon": 0.0}, 24, "k must be at most 1400 where epsilon is 0.0, not 1500.0"),
        ({"margin": "wide"}, 24, "margin must be a finite number"),
        ({"orthogonal": "False"}, 24, "orthogonal must be true or false"),
        ({"m": 1.5}, 24, "m must be a whole number"),
        ({"q": 1}, 24, "has no option 'q'"),
        ({"normalise_eps": -1.0}, 24, "normalise_eps must be above 0, not -1.0"),
    ],
)
def test_options_that_cannot_work_are_one_sentence(options: dict[str, Any], patch: int, said: str) -> None:
    network = Network(name="enlcn", attention="enlca", attention_options=options, blocks=1, channels=8, slots=(0,))
    run = Run(network=network, training=Training(patch=patch, contrastive_weight=0.1))
    with pytest.raises(UsageError) as caught:
        dry_run.build(run)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    if "irrelevant" in options:  # nothing is wrong where the loss is not computed
        dry_run.build(replace(run, training=replace(run.training, contrastive_weight=0.0)))


def test_large_k_is_finite_up_to_the_largest() -> None:
    import torch

    for k, epsilon in ((100.0, 1e-4), (1400.0, 0.0)):
        torch.manual_seed(0)
        module = attention.create("enla", 16, k=k, epsilon=epsilon)
        x = torch.randn(1, 16, 24, 24, requires_grad=True)
        module(x).square().mean().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()


def test_the_key_is_named(folder: Path) -> None:
    config = QUICK | {"attention_options": {"enlca": {"irrelevant": [50, 6500]}}}
    with pytest.raises(SisrError, match=r"^attention_options.enlca: with a patch of 24x24, enlca fails: irrelevant"):
        preflight.check(plan(config, ROOT))
