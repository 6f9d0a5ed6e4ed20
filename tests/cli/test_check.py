"""`python -m sisr check`: what it prints, what it says of broken code, and that each check catches what it is for."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models import attention
from models.attention import Attention, _errors, checks
from sisr.cli import main
from tests.helpers import warm

OWN = """
import torch
from torch import nn
from models.attention import Attention

class Good(Attention):
    def attend(self, query, key, value, size):
        return torch.softmax(query @ key.transpose(1, 2), -1) @ value

class Narrow(Attention):
    def attend(self, query, key, value, size):
        return value[..., ::2]

class Crash(Attention):
    def attend(self, query, key, value, size):
        return value + undefined

class Build(nn.Module):
    def __init__(self, channels=64):
        super().__init__()
        self.gate = undefined

class Closed(nn.Module):
    def __init__(self):
        super().__init__()

class Branch(Attention):
    def attend(self, query, key, value, size):
        if query.sum() > 0:
            return value + 0 * query.sum() + 0 * key.sum()
        return value + 0 * query.sum() + 0 * key.sum()
"""


def line_of(text: str) -> int:
    """Number of the first line of OWN, as it is written to a file, that has this text."""
    return next(number for number, line in enumerate(OWN.splitlines(), 1) if text in line)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The working directory, with own.py in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def check(*words: str) -> int:
    return main(["check", *words])


def test_one_line_a_check_with_a_sentence(own, capsys):
    assert check("own.py:Good", "--channels", "16", "--quick") == 0
    heading, *lines, counts = capsys.readouterr().out.splitlines()
    assert heading == "own.py:Good, 16 channels:"
    assert [line.split()[1] for line in lines] == [name for name in checks.CHECKS if name not in checks.SLOW]
    for line in lines:
        status, name, said = line.split(maxsplit=2)
        assert status in ("passed", "skipped")
        assert said == checks.about(name) or status == "skipped"
    assert counts == f"{len(lines) - 4} passed, 4 skipped."  # reference, approximation, weights, auxiliary_loss


def test_a_failure_says_what_to_change_and_once(own, capsys):
    assert check("own.py:Narrow") == 1
    said = capsys.readouterr().out
    assert "attend returned a tensor of shape (2, 120, 32), value has (2, 120, 64): (B, N, Cv)" in said
    assert said.count("FAILED") == 1
    assert said.count("runs after shapes passes") == len(checks.CHECKS) - 1


def test_a_crash_is_told_with_file_and_line(own, capsys):
    assert check("own.py:Crash", "--only", "determinism") == 1
    expected = f"NameError: name 'undefined' is not defined (own.py, line {line_of('value + undefined')})"
    assert expected in capsys.readouterr().out


def test_what_torch_compile_cannot_take_is_told_with_file_and_line(own, capsys):
    assert check("own.py:Branch", "--only", "compiles", "device") == 1
    said = capsys.readouterr().out
    assert f"torch.compile needs more than one graph: at own.py, line {line_of('if query.sum()')}, " in said
    assert (
        f"skipped device    this depends on values, which fake tensors do not have: own.py, line {line_of('if query')}"
        in said
    )


def test_options_and_several_mechanisms(capsys):
    assert (
        check("enlca:k=4,m=8", "nla", "--option", "reduction=2", "--channels", "8", "--only", "options", "shapes") == 0
    )
    said = capsys.readouterr().out
    assert said.startswith("enlca:k=4,m=8, 8 channels:")
    assert "nla, 8 channels:" in said
    assert "4 passed." in said


def test_all_checks_every_registered_mechanism(capsys):
    assert check("--all", "--only", "options", "--channels", "8", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["mechanism"] for row in rows] == attention.available()


def test_json_has_failures_too(own, capsys):
    assert check("own.py:Narrow", "--only", "shapes", "flops", "--json") == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(row["check"], row["status"]) for row in rows] == [("shapes", "failed"), ("flops", "skipped")]
    assert rows[0]["mechanism"] == "own.py:Narrow"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["enlcaa"], "unknown attention 'enlcaa': did you mean 'enlca'?"),
        (["own.py"], "attention 'own.py' names no class: give own.py:Good."),
        (["own.py:Godd"], "own.py defines no torch.nn.Module named 'Godd'; did you mean 'Good'?"),
        (["own.py:Zzz"], "named 'Zzz'; it has Good, Narrow, Crash, Build, Closed, Branch."),
        (["nowhere.py:Good"], "attention file 'nowhere.py' does not exist."),
        (["nowhere.at_all:Good"], "attention module 'nowhere.at_all' was not found"),
        (["enlca:k=0"], "k (the amplification factor) must be above 0, not 0."),
        (["enlca", "--option", "kk=2"], "has no option 'kk': did you mean 'k'?"),
        (["enlca", "--option", "k"], "--option k is not NAME=VALUE"),
        (["--all", "--option", "k=2"], "--option k=2 is not NAME=VALUE of one mechanism"),
        (["enlca", "--channels", "0"], "--channels: must be a whole number from 1 to 65536, not 0"),
        (["enlca", "--only", "shape"], "there is no check 'shape'; did you mean 'shapes'?"),
        ([], "name a mechanism, or give --all"),
        (["enlca", "--all"], "name a mechanism, or give --all"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_status_2(own, capsys, words, sentence):
    assert check(*words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import torch\n\ndef attend(:\n", "cannot be imported: SyntaxError: invalid syntax (broken.py, line 3)."),
        ("\n\nx = undefined\n", "cannot be imported: NameError: name 'undefined' is not defined (broken.py, line 3)."),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero (broken.py, line 1)."),
        ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing' (broken.py, line 1)."),
        ("open('no_such_file')\n", "No such file or directory: 'no_such_file' (broken.py, line 1)."),
    ],
)
@pytest.mark.parametrize("spec", ["broken.py:A", "broken:A"])
def test_code_that_cannot_be_imported_is_one_sentence_with_its_place(own, monkeypatch, capsys, code, sentence, spec):
    (own / "broken.py").write_text(code)
    monkeypatch.syspath_prepend(own)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    assert check(spec) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Build", f"cannot be built: NameError: name 'undefined' is not defined (own.py, line {line_of('gate')})"),
        ("Closed", "cannot be built: TypeError: Closed.__init__() got an unexpected keyword argument 'channels'; "),
    ],
)
def test_a_constructor_that_fails_is_one_sentence(own, capsys, name, sentence):
    assert check(f"own.py:{name}") == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_package_in_the_current_directory_is_found(tmp_path):
    """As a person has it: a package of theirs beside models/ and sisr/."""
    root = Path(__file__).parents[2]
    for name in ("models", "sisr"):
        (tmp_path / name).symlink_to(root / name)
    package = tmp_path / "my_package" / "inner"
    package.mkdir(parents=True)
    (package / "ideas.py").write_text(OWN)
    words = ["check", "my_package.inner.ideas:Good", "--only", "shapes", "--channels", "8"]
    told = subprocess.run(
        [warm.python(), "-m", "sisr", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert "passed  shapes" in told.stdout


class Plain(Attention):
    """What the broken ones below derive from: weights have gradients, nothing else happens."""

    def attend(self, query, key, value, size):
        return value * (1 + 0 * (query.sum() + key.sum()))


class Vector(Plain):
    def auxiliary_loss(self, query, key):
        return query.mean(2)


class Detached(Plain):
    def auxiliary_loss(self, query, key):
        return query.detach().mean()


class NoNumber(Plain):
    def auxiliary_loss(self, query, key):
        return (query - query).mean() / 0


class Always(nn.Module):
    """Computes its loss whether it is wanted or not, and cannot be copied afterwards."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.value = nn.Conv2d(channels, channels, 1)
        self.auxiliary_loss_enabled = False
        self.last_auxiliary_loss: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        out = self.value(x)
        self.last_auxiliary_loss = out.square().mean()
        return x + 0.1 * out


class Copyable(Always):
    def __getstate__(self):
        return self.__dict__ | {"last_auxiliary_loss": None}


class OnTheCpu(Plain):
    def attend(self, query, key, value, size):
        return super().attend(query, key, value, size) * torch.ones(value.shape[1])[:, None]


class KeptOnTheCpu(Plain):
    def __init__(self, channels: int = 64) -> None:
        super().__init__(channels)
        self.factor = torch.ones(channels)

    def attend(self, query, key, value, size):
        return super().attend(query, key, value, size) * self.factor


class OddOption(Plain):
    def __init__(self, channels: int = 64, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(channels)


class Forgetful(Plain):
    def __init__(self, channels: int = 64, *, width: int = 4) -> None:
        super().__init__(channels)
        self.extra = nn.Parameter(torch.ones(width))
        self.options = {}


class Grows(Plain):
    """Each training forward is twice as large as the one before."""

    factor = 1.0

    def forward(self, x: Tensor) -> Tensor:
        self.factor *= 2 if self.training else 1
        return super().forward(x) * self.factor


class NanInTraining(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (float("nan") if self.training else 1)


class HalfWeights(Plain):
    def weights_of(self, query, key, size, positions):
        return torch.full((len(query), len(positions), query.shape[1]), 0.5)


class NegativeMap(nn.Module):
    """A free module that tells a map whose sum is 1."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()

    def attention_map(self, x: Tensor, position: tuple[int, int]) -> Tensor:
        weights = torch.full((len(x), *x.shape[2:]), 3.0 / (x[0, 0].numel() - 1))
        weights[:, position[0], position[1]] = -2
        return weights


class TooManyWeights(Plain):
    def weights_of(self, query, key, size, positions):
        return torch.softmax(query @ key.transpose(1, 2), -1)


@pytest.mark.parametrize(
    ("broken", "name", "sentence"),
    [
        (Vector, "auxiliary_loss", "auxiliary_loss returned a tensor of shape (2, 120), it must be one number"),
        (Detached, "auxiliary_loss", "auxiliary_loss has no gradient"),
        (NoNumber, "auxiliary_loss", "auxiliary_loss: 1 of 1 values are not finite"),
        (Always, "auxiliary_loss", "after a training forward the module cannot be copied"),
        (Copyable, "auxiliary_loss", "auxiliary_loss is also computed outside training"),
        (OnTheCpu, "device", "on a GPU, tensors of the CPU and of the GPU meet: "),
        (KeptOnTheCpu, "device", "register kept ones as buffers"),
        (OddOption, "options", "option dtype is torch.float32, which JSON cannot store"),
        (Grows, "training", "training steps on one batch took the L1 loss from"),
        (NanInTraining, "training", "training loss at step 0: 1 of 1 values are not finite"),
        (HalfWeights, "weights", "the weights have sums from 60 to 60 and the smallest is 0.5 at 12x10 pixels"),
        (NegativeMap, "weights", "the weights have sums from 1 to 1 and the smallest is -2 at 12x10 pixels"),
        (TooManyWeights, "weights", "weights_of gave (2, 120, 120) for 2 images and 3 positions at 12x10 pixels"),
    ],
)
def test_check_catches(broken, name, sentence):
    def build() -> nn.Module:
        torch.manual_seed(0)
        return attention.create(f"{__name__}:{broken.__name__}", 16)

    (result,) = checks.run(build, 16, [name])
    assert result.status == "failed", result
    assert sentence in result.message


def test_options_that_do_not_build_the_same_module_are_told():
    def build() -> nn.Module:
        return Forgetful(16, width=5)

    (result,) = checks.run(build, 16, ["options"])
    assert str(result) == "options: failed: rebuilt from its options, the module differs in extra"


def test_what_cannot_be_checked_is_skipped_with_the_reason():
    names = ["options", "weights", "auxiliary_loss", "training"]
    found = {result.check: str(result) for result in checks.run(lambda: Plain(2, reduction=1), 2, names)}
    assert found["training"] == "training: skipped: the backbone needs at least 3 channels"
    assert found["auxiliary_loss"] == "auxiliary_loss: skipped: the mechanism has no auxiliary loss"
    assert found["options"].startswith("options: skipped: the module was not built by models.attention.create")
    assert found["weights"].startswith("weights: skipped: Plain provides no attention map")


def test_enlca_passes_the_checks_of_its_loss():
    results = checks.run(lambda: attention.create("enlca", 16, m=8), 16, ["auxiliary_loss", "training", "options"])
    assert [result.status for result in results] == ["passed"] * 3


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (
            RuntimeError("backend='inductor' raised:\nInvalidThing: why\nmore"),
            "RuntimeError: backend='inductor' raised: InvalidThing: why",
        ),
        (AssertionError(), "AssertionError"),
    ],
)
def test_errors_become_one_line(error, said):
    assert _errors.sentence(error) == said


FORGETFUL = """
import torch
from torch import nn

class Parts(nn.Module):
    def __init__(self, channels=64):
        self.value = nn.Conv2d(channels, channels, 1)

class NoParts(nn.Module):
    def __init__(self, channels=64):
        self.channels = channels

    def forward(self, x):
        return x

class Inner(nn.Module):
    def __init__(self):
        self.gain = 1.0

class Outer(nn.Module):
    def __init__(self, channels=64):
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        return x
"""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "Parts",
            "cannot be built: AttributeError: the constructor does not call super().__init__(); add it as the first "
            "line of __init__ (forgetful.py, line 7).",
        ),
        (
            "NoParts",
            "the constructor of NoParts does not call super().__init__(); add it as the first line of __init__",
        ),
        ("Outer", "the constructor of Inner does not call super().__init__(); add it as the first line of __init__"),
    ],
)
def test_a_forgotten_super_init_is_named(own, capsys, name, sentence):
    (own / "forgetful.py").write_text(FORGETFUL)
    assert check(f"forgetful.py:{name}", "--only", "shapes") == 1
    shown = capsys.readouterr()
    assert sentence in shown.out + shown.err
    assert "_modules" not in shown.out + shown.err


class Normalised(nn.Module):
    """A convolution with a norm and dropout behind it."""

    def __init__(self, channels: int = 16, norm: nn.Module | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Conv2d(channels, channels, 1)
        self.norm = norm or nn.Identity()
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.norm(self.value(x)))


@pytest.mark.parametrize(
    ("norm", "dropout", "name", "note"),
    [
        (
            nn.BatchNorm2d,
            0.0,
            "batch_independence",
            "other images of its batch (BatchNorm2d norm): with batch stat",
        ),
        (
            nn.BatchNorm2d,
            0.5,
            "batch_independence",
            "other images of its batch (BatchNorm2d norm): with batch stat",
        ),
        (
            lambda channels: nn.InstanceNorm2d(channels, track_running_stats=True),
            0.0,
            "batch_independence",
            "a training forward changes norm.running_mean, norm.running_var "
            "(InstanceNorm2d norm): evaluation computes something else",
        ),
        (nn.InstanceNorm2d, 0.0, "batch_independence", ""),
        (lambda channels: nn.GroupNorm(2, channels), 0.5, "batch_independence", ""),
        (nn.BatchNorm2d, 0.0, "determinism", ""),
        (nn.BatchNorm2d, 0.5, "determinism", "two training forwards of the same image differ (Dropout2d dropout)"),
    ],
)
def test_batch_statistics_and_dropout_pass_with_a_note(norm, dropout, name, note):
    (result,) = checks.run(lambda: Normalised(16, norm(16), dropout), 16, [name])
    assert result.status == "passed"
    assert note in result.note
    assert bool(result.note) == bool(note)


@pytest.mark.parametrize("name", attention.available())
def test_no_registered_mechanism_has_a_note(name):
    results = checks.run(lambda: attention.create(name, 16), 16, ["batch_independence", "determinism"])
    assert [(result.status, result.note) for result in results] == [("passed", "")] * 2


NOTED = """
import torch
from torch import nn

@torch.library.custom_op("sisr_check_test::product", mutates_args=())
def product(x: torch.Tensor) -> torch.Tensor:
    return x @ x.mT @ x

class Foreign(nn.Module):
    def __init__(self, channels=64):
        super().__init__()
        self.value = nn.Conv2d(channels, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm(x) + product(self.value(x))
"""


def test_notes_are_lines_of_their_own_and_in_json(own, capsys):
    (own / "noted.py").write_text(NOTED)
    words = ("noted.py:Foreign", "--channels", "16", "--only", "batch_independence", "flops")
    assert check(*words) == 0
    _, *lines, counts = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["passed", "batch_independence"], ["note", "batch_independence"], ["passed", "flops"], ["note", "flops"],
    ]  # fmt: skip
    # 16 multiply-adds a pixel in the convolution, 2 an element in the norm as fvcore counts it, two operations each
    assert f"at least {2 * 48 * 48 * (16 + 2 * 16) / 1e9:.3g} GFLOP on a 48x48 feature map" in lines[-1]
    assert "sisr_check_test::product may multiply and cannot be counted; torch.utils.flop_counter.reg" in lines[-1]
    assert counts == "2 passed."
    assert check(*words, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert ["batch statistics" in rows[0]["note"], "at least" in rows[1]["note"]] == [True, True]


class Overwrites(Plain):
    def forward(self, x):
        return super().forward(x).add_(x.mul_(2))


class Several(Plain):
    def forward(self, x):
        return super().forward(x), x


class Wider(Plain):
    def forward(self, x):
        return super().forward(x).double()


class Smaller(Plain):
    def forward(self, x):
        return super().forward(x)[..., 1:, :]


class Infinite(Plain):
    def forward(self, x):
        return super().forward(x) / x.abs().amax()


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (Overwrites, "the forward changes its input in place at 12x10 pixels; work on a copy of it"),
        (Several, "output is a tuple, not a tensor"),
        (Wider, "output is torch.float64, input is torch.float32, at 12x10 pixels"),
        (Smaller, "output has 11 rows, input has 12, at 12x10 pixels"),
        (Infinite, "output for an image of zeros at 12x10 pixels: 3840 of 3840 values are not finite"),
    ],
)
def test_a_wrong_output_is_one_sentence(broken, sentence):
    (result,) = checks.run(lambda: broken(16), 16, ["shapes"])
    assert str(result) == f"shapes: failed: {sentence}"


def test_distance_from_what_is_approximated_is_noted(capsys):
    assert (
        check("linear_response", "enla:k=10,m=8", "nla", "--only", "approximation", "--channels", "64", "--json") == 0
    )
    near, far, exact = json.loads(capsys.readouterr().out)
    distances = [[float(x) for x in re.findall(r"([\d.]+)%", row["note"])] for row in (near, far)]
    assert distances[0][0] < 25
    assert distances[0][0] < distances[0][1]
    assert "measure them next" in near["note"]
    assert distances[1][0] > distances[1][1]
    assert "mean pooling is closer: try more features" in far["note"]
    assert exact["status"] == "skipped"
    assert "does not declare what it approximates (method exact)" in exact["message"]


class Misdeclared(attention.Attention):
    def attend(self, query, key, value, size):
        return value

    def exact(self, query, key, value, size):
        return value.mean(1)


def test_what_is_approximated_must_have_the_form_of_the_output():
    (result,) = checks.run(lambda: Misdeclared(16), 16, ["approximation"])
    assert result.status == "failed"
    assert "exact returned (1, 16), attend (1, 2304, 16)" in result.message
