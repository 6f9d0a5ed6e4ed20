"""The command line as a whole: names of verbs, their subcommands, help and exit status."""

import json
import tomllib
from pathlib import Path

import pytest

from sisr.cli import main, verbs
from sisr.cli.main import RENAMED, parser

ROOT = Path(__file__).parents[2]


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(words)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    return status, *capsys.readouterr()


def test_every_verb_has_help_with_an_example_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [["compare", name] for name in ("table", "check", "crops", "figures", "page")]
    for words in [*([verb] for verb in verbs()), *steps]:
        status, out, _ = outcome(capsys, *words, "--help")
        assert status == 0
        assert f"example:\n  python -m sisr {' '.join(words)}" in out
        assert "--json" in out or words == ["compare"]


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


def test_result_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = outcome(capsys, "models", "--json")
    assert status == 0
    assert set(json.loads(out)) == {"networks", "attention"}


def test_console_script_calls_main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"sisr": "sisr.cli.main:main"}
