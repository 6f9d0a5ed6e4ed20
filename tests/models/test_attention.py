"""Every registered mechanism passes every check, and the checks catch what they are there for."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import attention
from models.attention import checks

CHANNELS = 16


def build(name: str):
    def make() -> nn.Module:
        torch.manual_seed(0)
        return attention.create(name, CHANNELS)

    return make


@pytest.mark.parametrize("name", attention.available())
@pytest.mark.parametrize("check", [name for name in checks.CHECKS if name not in checks.SLOW])
def test_mechanism(name, check):
    try:
        checks.CHECKS[check](build(name), CHANNELS)
    except checks.Skipped as reason:
        pytest.skip(str(reason))


# a compiler takes ten seconds for each; `make fuzz` tries all, every run those that the presets train most
COMPILED = attention.available() if "SISR_FUZZ" in os.environ else ["enlca", "linear_response", "nlsa"]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("check", sorted(checks.SLOW))
def test_mechanism_slowly(name, check):
    try:
        checks.CHECKS[check](build(name), CHANNELS)
    except checks.Skipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("name", attention.available())
@settings(max_examples=5)
@given(st.integers(1, 13), st.integers(1, 13))
def test_mechanism_equals_its_reference_at_any_size(name, height, width):
    module = build(name)().double().eval()
    x = torch.randn(2, CHANNELS, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        inputs = module.embed(x) if hasattr(module, "attend") else ()
        fast = module.attend(*inputs, (height, width)) if inputs else module(x)
        slow = module.reference(*inputs, (height, width)) if inputs else module.reference(x)
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
@pytest.mark.parametrize("name", attention.available())
def test_mechanism_on_a_point_and_on_lines(name, size):
    x = torch.randn(1, CHANNELS, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out = build(name)().eval()(x)
    assert out.shape == x.shape
    assert out.isfinite().all()


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, ::2]


class ForgetsDtype(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.double()


class MixesImages(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0)


class Draws(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class DrawsUnseen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.rand(1)
        return x


class IdleWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class WrongGradient(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.detach()


class Overflows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.abs().sum(dim=(1, 2, 3), keepdim=True)


class UnsavedWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.rand(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class WrongTwin(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x

    def reference(self, x: Tensor) -> Tensor:
        return 1.01 * x


class ContentDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ x.transpose(2, 3) @ x if x[0, 0, 0, 0] > 0 else x


@pytest.mark.parametrize(
    ("broken", "check", "sentence"),
    [
        (Halves, "shapes", "output has 8 channels, input has 16"),
        (ForgetsDtype, "shapes", "output is torch.float64, input is torch.float32"),
        (Overflows, "shapes", "an image of zeros at 12x10 pixels: 3840 of 3840 values are not finite"),
        (MixesImages, "batch_independence", "image 0 of a batch of 3 differs from the same image alone"),
        (Draws, "determinism", "two evaluations of the same image differ"),
        (DrawsUnseen, "determinism", "an evaluation uses torch's global generator"),
        (IdleWeight, "gradients", "idle gets no gradient"),
        (WrongGradient, "gradients", "gradient of input along a random direction"),
        (UnsavedWeight, "state_dict", "register random numbers as a buffer"),
        (WrongTwin, "reference", "differs from reference by 0.0099"),
        (ContentDependent, "flops", "the number of operations depends on the image"),
    ],
)
def test_check_catches(broken, check, sentence):
    (result,) = checks.run(broken, CHANNELS, [check])
    assert result.status == "failed"
    assert sentence in result.message


def test_run_reports_every_check():
    results = list(checks.run(lambda: attention.create("none"), 16, ["shapes", "reference"]))
    assert [str(result) for result in results] == ["shapes: passed", "reference: passed"]
    (result,) = checks.run(nn.Identity, 16, ["reference"])
    assert str(result) == "reference: skipped: the mechanism has no reference implementation (method reference)"


def test_a_mechanism_of_ones_own(tmp_path, monkeypatch):
    code = "from models.attention import Attention\nclass Mean(Attention):\n" + (
        "    def attend(self, query, key, value, size):\n"
        "        return value.mean(1, keepdim=True).expand_as(value) + 0 * (query.sum() + key.sum())\n"
    )
    (tmp_path / "own_attention.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    x = torch.rand(1, 16, 3, 4)
    for spec in ("own_attention:Mean", f"{tmp_path}/own_attention.py:Mean"):
        module = attention.create(spec, 16, reduction=2)
        assert module.options["reduction"] == 2
        assert module.options["residual_scale"] == 0.1
        expected = x + 0.1 * module.value(x).mean((2, 3), keepdim=True)
        assert torch.allclose(module(x), expected, atol=1e-6)


def test_registering_a_name_twice_is_refused():
    with pytest.raises(ValueError, match=r"'nla' is already registered by models\.attention\.nla"):
        attention.register("nla")(Halves)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("enclca", {}, "did you mean 'enlca'"),
        ("zzz", {}, "registered are adaptive_enla, agent, channel"),
        ("no_such_package.module:A", {}, "'no_such_package.module' was not found"),
        ("nowhere.py:A", {}, "'nowhere.py' does not exist"),
        ("models.attention.nla:NLB", {}, "no torch.nn.Module named 'NLB'"),
        ("enlca", {"k": 0}, "k .* must be above 0, not 0"),
        ("enlca", {"k": float("nan")}, "k must be a finite number"),
        ("enlca", {"m": 0}, "m .* must be at least 1, not 0"),
        ("enlca", {"epsilon": -1e-4}, "epsilon must not be negative"),
        ("enlca", {"relevent": (0, 3)}, "no option 'relevent': did you mean 'relevant'"),
        ("enlca", {"relevant": (5, 2)}, r"relevant must start before it stops, not \(5, 2\)"),
        ("enlca", {"irrelevant": 0.1}, "irrelevant must be"),
        ("enlca", {"irrelevant": (0.5, 1.5)}, "irrelevant must be"),
        ("enlca", {"reduction": 100}, "reduction must lie between 1 and the 64 channels"),
        ("enlca", {"embedding_kernel": 2}, "embedding_kernel must be 1 or 3"),
        ("nlsa", {"rounds": 0}, "rounds must be at least 1"),
        ("nlsa", {"chunk": 0}, "chunk must be at least 1"),
        ("convolution", {"kernel": 2}, "kernel must be an odd number"),
        ("none", {"k": 1}, "has no option 'k': it has no options"),
    ],
)
def test_wrong_options_are_answered_with_a_sentence(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        attention.create(name, **options)


def test_channels_must_be_a_number_of_channels():
    with pytest.raises(ValueError, match="channels must be a positive integer, not 0"):
        attention.create("nla", 0)


def test_attention_without_attend_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="Attention must define attend"):
        attention.Attention(8)(torch.rand(1, 8, 2, 2))
