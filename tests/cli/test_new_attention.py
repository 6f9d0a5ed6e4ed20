"""The file that new-attention writes: it is short, passes every check, trains and is measured as it is."""

import csv
import json
import math
import shlex

import pytest
import yaml

from models import attention
from sisr.cli import attention_template, main
from sisr.utils.errors import UsageError
from tests.helpers import checkout, small_run

FREE = pytest.mark.parametrize("free", [[], ["--free"]], ids=["attend", "free"])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*words: str) -> int:
    return main(["new-attention", *words])


def printed_commands(said: str) -> list[list[str]]:
    """The words of the indented lines, as a shell reads them."""
    return [shlex.split(line) for line in said.splitlines() if line.startswith("  ")]


@FREE
def test_the_template_is_short_and_passes_the_check_that_is_printed(here, capsys, free):
    assert new("my_attention", *free) == 0
    text = (here / "my_attention.py").read_text()
    assert len(text.splitlines()) <= 60
    assert "Template" not in text
    assert "{" not in text.partition("class ")[0]
    check, compare = printed_commands(capsys.readouterr().out)
    assert check == ["python", "-m", "sisr", "check", "my_attention.py:MyAttention"]
    assert shlex.join(check) in text
    assert shlex.join(compare) in text
    assert main([*check[3:], "--quick", "--channels", "16"]) == 0
    said = capsys.readouterr().out
    assert "FAILED" not in said
    assert "passed  training" in said


@FREE
def test_the_template_trains_and_is_measured_as_it_is(here, capsys, free):
    data = small_run.prepare(here / "data" / "prepared") / "photos"
    assert new("my_attention", *free) == 0
    size = ["--network", "edsr", "--scale", "2", "--blocks", "1", "--channels", "8", "--slots", "0"]
    training = ["--steps", "3", "--batch", "2", "--patch", "12", "--train", "photos", "--contrastive-weight", "0.001"]
    own = ["--attention", "my_attention.py:MyAttention"]
    assert main(["train", *size, *own, *training, "--output", "run", "--device", "cpu"]) == 0
    assert main(["evaluate", "run", "--data", str(data), "--scale", "2", "--output-dir", "measured"]) == 0
    with (here / "measured" / "photos_x2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {"cat", "camera"}
    assert all(math.isfinite(float(row["psnr"])) for row in rows)
    network = json.loads((here / "run" / "config.json").read_text())["network"]
    assert network["attention"] == "my_attention.py:MyAttention"


@pytest.mark.parametrize(
    ("words", "file", "spec"),
    [
        (["MyAttention"], "my_attention.py", "my_attention.py:MyAttention"),
        (["my_attention2"], "my_attention2.py", "my_attention2.py:MyAttention2"),
        (["NLSAFast"], "nlsa_fast.py", "nlsa_fast.py:NLSAFast"),
        (["mine", "--output", "ideas"], "ideas/mine.py", "ideas/mine.py:Mine"),
        (["Mine", "--output", "deep/er/first_try.py"], "deep/er/first_try.py", "deep/er/first_try.py:Mine"),
        (["mine", "--output", "my ideas"], "my ideas/mine.py", "my ideas/mine.py:Mine"),
    ],
)
def test_commands_name_the_file_that_was_written(here, capsys, words, file, spec):
    assert new(*words) == 0
    assert (here / file).is_file()
    check, compare = printed_commands(capsys.readouterr().out)
    assert check[-1] == spec
    assert compare[:5] == ["snakemake", "--cores", "8", "compare", "--config"]
    key, _, value = compare[5].partition("=")
    assert key == "attention"
    assert yaml.load(value, Loader=yaml.BaseLoader) == ["enlca", spec]  # as snakemake reads it
    module = attention.create(spec, 8)
    assert type(module).__name__ == spec.rpartition(":")[2]


def test_json_says_the_same(here, capsys):
    assert new("mine", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == "mine.py"
    assert said["attention"] == "mine.py:Mine"
    assert shlex.split(said["check"])[-1] == "mine.py:Mine"


def test_a_file_that_is_there_is_left_as_it_is(here, capsys):
    (here / "mine.py").write_text("precious = 1\n")
    assert new("mine") == 1
    assert capsys.readouterr().err == (
        "sisr new-attention: mine.py exists and is not overwritten; use another name, or remove the file.\n"
    )
    assert (here / "mine.py").read_text() == "precious = 1\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["3d"], "'3d' is not a class name"),
        (["my-attention"], "'my-attention' is not a class name"),
        (["größe"], "'größe' is not a class name"),
        (["../mine"], "'../mine' is not a class name"),
        (["___"], "'___' is not a class name"),
        (["class"], "'class' is a Python keyword"),
        (["none"], "'none' is a Python keyword"),
        (["torch"], "torch is an existing Python module"),
        (["Models"], "models is an existing Python module"),
        (["nla"], "nla is a registered attention"),
        (["shifted_window"], "shifted_window is a registered attention"),
        (["mine", "--output", "my-file.py"], "my-file.py is not a valid module name"),
        (["attention"], "'attention' is the name of the base class"),
    ],
)
def test_bad_names_are_refused_in_one_sentence(here, capsys, words, sentence):
    assert new(*words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_sentence(here, capsys):
    (here / "taken").write_text("")
    assert new("mine", "--output", "taken") == 1
    assert "taken/mine.py cannot be written: " in capsys.readouterr().err


def test_templates_are_code_that_runs_under_their_own_name():
    from sisr.cli.attention_template import attend, free

    for module in (attend, free):
        assert type(module.Template(8)).__name__ == "Template"
    with pytest.raises(UsageError):
        attention_template.names("")


@pytest.mark.slow
def test_the_printed_comparison_is_a_plan_that_works(tmp_path, monkeypatch, capsys):
    folder = checkout.copy(tmp_path)
    monkeypatch.chdir(folder)
    assert new("my_attention") == 0
    compare = printed_commands(capsys.readouterr().out)[1]
    told = checkout.snakemake(
        folder, *compare[1:], "-n", "-p", "--workflow-profile", "none", "--configfile", "config/tiny.yaml"
    )
    assert told.returncode == 0, told.stderr
    said = told.stdout + told.stderr
    assert checkout.planned(said)["train"] == 2
    assert "--attention my_attention.py:MyAttention" in said
