"""What is printed at the end: one table, the page, and commands that work."""

import shlex
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from sisr.cli import last_screen
from sisr.cli.main import main, parser
from sisr.config.layout import Results
from tests.helpers import small_run

TABLES = ["table1", "table2", "table4", "k_sweep"]


def steps(lines: list[str]) -> dict[str, list[str]]:
    """The printed commands by their purpose, as a shell would split them."""
    indented = [line for line in lines if line.startswith("  ") and ":  " in line]
    return {line.partition(":")[0].strip(): shlex.split(line.partition(":  ")[2]) for line in indented}


def accepted(command: list[str]) -> None:
    """Raise SystemExit unless a `python -m sisr` command can be parsed."""
    assert command[:3] == ["python", "-m", "sisr"]
    parser(command[3]).parse_args(command[4:])


@pytest.mark.parametrize("names", [TABLES, ["compare"], ["k_sweep", "table4"], ["table4"], ["table1"]])
def test_at_most_25_lines_with_a_table_a_page_and_three_commands(root: Path, names: list[str]) -> None:
    results = Results(root / "results" / "reference" / "quick")
    lines = last_screen.lines(results, "quick", names, results.summary)
    assert len(lines) <= last_screen.LINES == 25
    assert max(map(len, lines)) <= max(120, len(str(root)) + 80)
    assert lines[0].startswith("quick: 5 tables, ")
    (address,) = [urlparse(line.removeprefix("page: ")) for line in lines if line.startswith("page: ")]
    assert address.scheme == "file"
    assert Path(unquote(address.path)).is_file()
    opened, add, evidence = steps(lines).values()
    assert opened[:3] == ["python", "-m", "webbrowser"]
    assert Path(opened[3]).is_file()
    accepted(add)
    accepted(evidence)
    assert "config/laptop.yaml" in evidence


def test_the_ablation_is_the_table_that_matters(root: Path) -> None:
    lines = last_screen.lines(Results(root / "results" / "reference" / "laptop"), "laptop", TABLES)
    (row,) = [line for line in lines if line.startswith("+ ENLA (k = 1)")]
    markdown = (root / "results" / "reference" / "laptop" / "tables" / "table2.md").read_text()
    (cells,) = [line.split(" | ") for line in markdown.splitlines() if line.startswith("| + ENLA (k = 1)")]
    assert row.split("  ")[-1].strip() == cells[3].strip()  # the difference on the first set
    assert "not comparable with the paper" in "\n".join(lines)


def test_words_are_quoted_for_a_shell() -> None:
    assert last_screen.next_steps([("look", ["show", "my photo.jpg"])]) == ["  look:  show 'my photo.jpg'"]


def test_the_environment_is_named_outside_of_it(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(root / "results" / "reference" / "laptop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert not [line for line in last_screen.lines(results, "laptop", TABLES) if "activate" in line]
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    assert "next, after `source .venv/bin/activate`:" in last_screen.lines(results, "laptop", TABLES)
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    assert not [line for line in last_screen.lines(results, "laptop", TABLES) if "activate" in line]


def test_the_printed_steps_work_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`train` ends with the call that evaluates, which ends with the call that shows crops; all are run as printed."""
    monkeypatch.chdir(tmp_path)
    small_run.prepare(tmp_path / "data" / "prepared")
    (tmp_path / "data" / "prepared" / "photos").rename(tmp_path / "data" / "prepared" / "mine")
    small_run.prepare(tmp_path / "data" / "prepared")
    words = "--scale 2 --blocks 1 --channels 8 --steps 2 --batch 2 --patch 16 --train photos --device cpu"
    assert main(["train", *words.split(), "--output", "a run"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "losses and learning rate: a run/train.csv" in said
    assert (tmp_path / "a run" / "train.csv").is_file()
    evaluate = steps(said)["evaluate"]
    assert "data/prepared/mine" in evaluate
    assert "data/prepared/photos" not in evaluate  # it was trained on
    assert main(evaluate[3:]) == 0
    after = steps(capsys.readouterr().out.splitlines())
    for purpose in ("measure bicubic", "show crops"):
        assert main(after[purpose][3:]) == 0
    assert (tmp_path / "a run" / "evaluation" / "crops.png").is_file()
    assert (tmp_path / "a run" / "evaluation-bicubic" / "mine_x2.csv").is_file()


def test_as_json_no_step_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small_run.prepare(tmp_path)
    words = ["--scale", "2", "--output-dir", tmp_path / "out", "--json"]
    assert main(["evaluate", "bicubic", "--data", str(data / "photos"), *map(str, words)]) == 0
    assert "crops" not in capsys.readouterr().out
