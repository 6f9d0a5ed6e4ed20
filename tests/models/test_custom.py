"""Networks of one's own in one file: built, filled, saved and loaded by name; wrong ones are named in one sentence."""

from pathlib import Path

import pytest
import torch
from torch import nn

import models

CODE = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, upscale=3, *, channels: int = 6):
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.tail = nn.Sequential(nn.Conv2d(channels, 3 * upscale**2, 3, padding=1), nn.PixelShuffle(upscale))

    def forward(self, x):
        return self.tail(torch.relu(self.head(x)))

class Fixed(Small):
    def __init__(self):
        super().__init__(2)

class Named(Small):
    def __init__(self, scale=2):
        super().__init__(scale)
        self.scale = 0.1

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = undefined
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my_net.py"
    path.write_text(CODE)
    return str(path)


def test_a_network_in_a_file_is_made_saved_and_loaded(file: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = models.create(f"{file}:Small", 4, channels=5).eval()
    x = torch.rand(1, 3, 7, 9)
    assert model(x).shape == (1, 3, 28, 36)
    models.save(model, tmp_path / "weights.safetensors")
    loaded = models.load(tmp_path / "weights.safetensors")
    assert loaded.config == model.config == {"name": f"{file}:Small", "scale": 4, "channels": 5}
    assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.net."])
def test_weights_of_ones_own_training_are_loaded(file: str, tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(0)
    model = models.create(f"{file}:Small", 2).eval()
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    torch.save({"params": state, "epoch": 3}, tmp_path / "my.pth")
    loaded = models.load(tmp_path / "my.pth", 2, network=f"{file}:Small")
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(loaded(x), model(x))
    assert loaded.scale == 2
    with pytest.raises(ValueError, match="the weights do not fit Small: size mismatch for tail"):
        models.load(tmp_path / "my.pth", network=f"{file}:Small")  # the constructor's default is 3


def test_a_network_of_one_scale_needs_it_named(file: str, tmp_path: Path) -> None:
    torch.save(models.create(f"{file}:Fixed", 2).state_dict(), tmp_path / "my.pth")
    with pytest.raises(ValueError, match="states no upscaling factor"):
        models.load(tmp_path / "my.pth", network=f"{file}:Fixed")
    assert models.load(tmp_path / "my.pth", 2, network=f"{file}:Fixed").scale == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Smal", "defines no torch.nn.Module named 'Smal'; did you mean 'Small'"),
        ("Named", "has an attribute 'scale' of its own, '0.1', where the suite keeps 2"),
        ("Broken", "cannot be built: NameError: name 'undefined' is not defined (my_net.py, line"),
    ],
)
def test_wrong_classes(file: str, name: str, sentence: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the sentence is compared below)
        models.create(f"{file}:{name}", 2)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_options_and_files(file: str) -> None:
    with pytest.raises(ValueError, match="has no option 'chanels': did you mean 'channels'"):
        models.create(f"{file}:Small", 2, chanels=4)
    with pytest.raises(ValueError, match="channels must be a whole number"):
        models.create(f"{file}:Small", 2, channels="many")
    with pytest.raises(ValueError, match=r"network file 'absent.py' does not exist"):
        models.create("absent.py:Net", 2)


def test_weights_of_another_type_leave_the_caller_s_alone(file: str) -> None:
    state = models.create(f"{file}:Small", 2).state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    loaded: nn.Module = models.load(state, 2, network=f"{file}:Small")
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(1)
    assert all(torch.equal(state[name], before[name]) for name in state)
