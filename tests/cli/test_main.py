"""The command line as a whole: names of verbs, their subcommands, help and exit status."""

import argparse
import errno
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from sisr.cli import main, verbs
from sisr.cli.main import RENAMED, _command, parser

ROOT = Path(__file__).parents[2]


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(words)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    return status, *capsys.readouterr()


def test_every_verb_has_help_with_an_example_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    with_steps = {verb: list(_command(verb).SUBCOMMANDS) for verb in verbs() if hasattr(_command(verb), "SUBCOMMANDS")}
    steps = [[verb, name] for verb, names in with_steps.items() for name in names]
    assert ["compare", "page"] in steps
    for words in [*([verb] for verb in verbs()), *steps]:
        status, out, _ = outcome(capsys, *words, "--help")
        assert status == 0
        assert f"example:\n  python -m sisr {' '.join(words)}" in out
        assert "--json" in out or words in ([verb] for verb in with_steps)


def test_former_names_work_and_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = outcome(capsys, "--help")[1] + outcome(capsys, "compare", "--help")[1]
    for former, words in RENAMED.items():
        assert former not in verbs()
        assert f" {former} " not in listed
        status, out, _ = outcome(capsys, former, "--help")
        assert (status, out) == outcome(capsys, *words, "--help")[:2]
        assert out.startswith(f"usage: sisr {' '.join(words)} ")


@pytest.mark.parametrize("words", [(), ("--results", "nowhere", "--runs", "a"), ("--json",)])
def test_compare_without_a_subcommand_is_the_table(words: tuple[str, ...]) -> None:
    taken = vars(parser("compare").parse_args(words))
    assert taken == vars(parser("compare").parse_args(["table", *words]))
    assert taken["prog"] == "sisr compare table"


@pytest.mark.parametrize(
    ("words", "said", "expected"),
    [
        (("compare",), "sisr compare table: name at least two methods", 2),
        (("compare", "pag"), "sisr compare: argument SUBCOMMAND: invalid choice: 'pag'", 2),
        (("compare", "--shwo"), "sisr compare: unrecognized arguments: --shwo (see sisr compare --help)", 2),
        (("compare", "page", "--results", "nowhere"), "sisr compare page: there is no", 1),
        (("comparison-page", "--results", "nowhere"), "sisr compare page: there is no", 1),
        (("checks",), "sisr reference-checks: the following arguments are required: --reference", 2),
        (("chek",), "sisr: no verb 'chek'; did you mean check?", 2),
    ],
)
def test_wrong_calls_are_one_sentence(
    words: tuple[str, ...], said: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, error = outcome(capsys, *words)
    assert (status, error.count("\n")) == (expected, 1)
    assert error.startswith(said)


def imported(code: str) -> set[str]:
    """Modules that a new process has imported after some code."""
    code = f"import sys, io\nsys.stdout, told = io.StringIO(), sys.stdout\n{code}\nprint(*sys.modules, file=told)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_verbs_that_compute_nothing_do_not_import_torch() -> None:
    """Importing it takes seconds."""
    calls = [["--help"], ["models"], ["fetch", "--list"], ["claims", "--results", "results/reference/laptop"]]
    calls += [["tables", "--show", "--results", "results/reference/quick"]]
    modules = imported(f"from sisr.cli import main\nfor words in {calls}: assert main(words) == 0, words")
    assert "sisr.cli.commands.claims" in modules
    assert not {"torch", "torchvision", "timm"} & modules


def test_models_are_imported_without_what_few_need() -> None:
    modules = imported("import models")
    assert "models.edsr" in modules
    assert not {"torchvision", "timm", "torch._dynamo", "sympy", "pandas", "sisr"} & modules


def test_models_are_listed_as_their_constructors_have_them() -> None:
    from models import attention, registry
    from models.attention._registry import resolve
    from sisr.config import declared

    networks = {name: resolve(registry.find(name), {}) for name in registry.available()}
    mechanisms = {name: resolve(attention._registry.find(name), {}) for name in attention.available()}
    assert declared.defaults(declared.MODELS) == networks
    assert declared.defaults(declared.MODELS / "attention") == mechanisms


def test_result_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = outcome(capsys, "models", "--json")
    assert status == 0
    listed = json.loads(out)
    assert set(listed) == {"networks", "attention", "costs"}
    assert listed["costs"]["enlca"] == {
        "gflops": 0.65792,
        "parameters": 12480,
        "paper": listed["costs"]["enla"]["paper"],
    }


def test_every_mechanism_is_listed_with_its_paper_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    from sisr.config import declared

    _, out, _ = outcome(capsys, "models")
    lines = {line.split()[0]: line for line in out.partition("attention:")[2].splitlines()[1:]}
    assert set(lines) == set(declared.mechanisms())
    assert {name for name, line in lines.items() if "(control)" in line} == {"convolution", "mean_pooling", "none"}
    for name, (gflops, parameters) in declared.costs().items():
        assert lines[name].split()[1:3] == [f"{gflops:.3f}", f"{parameters:,}"]


def test_console_script_calls_main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"sisr": "sisr.cli.main:main"}


def sisr(*words: str, **environment: str) -> "subprocess.Popen[bytes]":
    """A real process of the command line."""
    return subprocess.Popen(
        [sys.executable, "-m", "sisr", *words],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}


class Terminal(io.TextIOWrapper):
    """A terminal that has only ASCII."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii", errors="strict")


@pytest.mark.parametrize("verb", ["", *verbs(), *(f"compare {name}" for name in parser("compare").subcommands)])
def test_help_on_a_terminal_without_utf_8(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with suppress(SystemExit):
        assert main([*verb.split(), "--help"]) == 0
    terminal.seek(0)
    assert terminal.read().startswith("usage: sisr ")


def test_help_in_the_c_locale() -> None:
    process = sisr("train", "--help", **ASCII)
    out, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (0, b"")
    assert out.startswith(b"usage: sisr train")


def test_a_reader_that_ends_early_is_no_error() -> None:
    process = sisr("train", "--help", PYTHONUNBUFFERED="")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=120) == 1


def failing(error: BaseException) -> SimpleNamespace:
    def run(args: argparse.Namespace) -> None:
        raise error

    return SimpleNamespace(HELP="", EXAMPLE="", configure=lambda parser: None, run=run)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted."),
        (MemoryError(), 1, "there is not enough memory."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "there is not enough memory; use"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.csv"), 1, "a.csv: No space left on device."),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a"), 1, "a: Permission denied."),
    ],
)
def test_errors_of_the_machine_are_one_sentence(
    error: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.modules["sisr.cli.main"], "_command", lambda verb: failing(error))
    assert main(["models"]) == status
    text = capsys.readouterr().err
    assert text.startswith(f"sisr models: {message}")
    assert text.count("\n") == 1


def test_errors_in_the_code_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["sisr.cli.main"], "_command", lambda verb: failing(RuntimeError("a mistake")))
    with pytest.raises(RuntimeError, match="a mistake"):
        main(["models"])


FAILING = """
from torch import nn

class Failing(nn.Conv2d):
    def __init__(self, scale=1):
        super().__init__(3, 3, 1)

    def forward(self, x):
        return [x][len(x)]
"""


@pytest.mark.parametrize(
    "words",
    [
        "upscale photo.png --weights my.pth --network net.py:Failing --scale 1",
        "export my.pth --network net.py:Failing --scale 1",
        "complexity net.py:Failing:scale=1 --size 8 8",
    ],
)
def test_errors_in_custom_code_name_its_line(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(FAILING)
    Image.new("RGB", (9, 8)).save("photo.png")
    torch.save(torch.nn.Conv2d(3, 3, 1).state_dict(), "my.pth")
    status, _, error = outcome(capsys, *words.split())
    assert (status, error) == (1, f"sisr {words.split()[0]}: IndexError: list index out of range (net.py, line 9).\n")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["my.pth", "net.py", "photo.png"]


@pytest.mark.parametrize(
    "words",
    [
        "train --seed -1", "train --seed 18446744073709551616", "train --seed x", "train --threads 0",
        "train --threads -2", "train --checkpoint-seconds nan", "train --checkpoint-seconds -1",
        "complexity enlca --channels 0", "complexity enlca --seconds nan", "complexity enlca --seconds 0",
        "complexity enlca --size 5 -5",
        "crops x --images 0", "crops x --size 99999999999", "launch x --every 0", "launch x --grace nan",
        "launch x --scale-steps inf", "launch x --threads 0", "fetch x --lr 1", "check enlca --channels -1",
        "compare crops --data x --size 7", "attention-map x --run y --k nan",
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_one_sentence(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, error = outcome(capsys, *words.split(), *(["--output", "x"] if words.startswith("train") else []))
    assert (status, error.count("\n")) == (2, 1)
    assert re.search(r": argument --\S+: must be a (whole )?number .*, not ", error)


@pytest.mark.parametrize(
    "words",
    [
        "complexity convolution --output {file}/new/a.csv", "complexity convolution --output {folder}",
        "complexity convolution --label a --by-size {file}/a.csv",
        "reference-checks --reference x --output {file}/a.md",
        "attention-map x --run y -o {file}/a.png", "attention-map x --run y --raw {file}/a.npy",
        "crops x -o {file}/a.png", "train --output {file}", "tables table1 --results {file}",
        "claims --results {file}",
        "tables compare --results {file}", "compare figures --results {file}", "compare page --results {file}",
        "compare --runs a --output {file}/a", "notebook x {file}/a.ipynb",
        "analyse --runs a --data x --output {file}/a",
    ],
)  # fmt: skip
def test_outputs_that_cannot_be_written_are_found_first(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    status, out, error = outcome(capsys, *words.format(file=tmp_path / "file", folder=tmp_path).split())
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert "is not a folder." in error or "is a folder; name a file in it." in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
