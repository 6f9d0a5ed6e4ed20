"""`sisr train --config`: the configuration of a run, and single settings that override it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sisr.cli import main
from sisr.cli.commands.train import run_from
from sisr.cli.main import parser
from sisr.config import Network, Run, Training

RUN = Run(
    network=Network(name="enlcn", attention="enlca", attention_options={"k": 4.0, "m": 16}, blocks=2, slots=(0, 2)),
    training=Training(steps=7, contrastive_weight=1e-3, channels_last=True),
    train=("DIV2K",),
    seed=3,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(RUN.as_dict()))
    return file


def read(file: Path, *words: str) -> Run:
    return run_from(parser("train").parse_args(["--config", str(file), *words, "--output", "x"]))


def test_configuration_is_the_run(file: Path) -> None:
    assert read(file) == RUN
    assert read(file).id == RUN.id
    assert read(file, *RUN.arguments()) == RUN


def test_settings_override_single_values(file: Path) -> None:
    changed = read(file, "--steps", "9", "--no-channels-last", "--seed", "0", "--train", "T91", "--scale", "2")
    training = replace(RUN.training, steps=9, channels_last=False)
    assert changed == Run(network=replace(RUN.network, scale=2), training=training, train=("T91",), seed=0)
    # a value that is the default of the flag overrides, too
    assert read(file, "--blocks", "32").network.blocks == 32


def test_options_are_those_of_the_attention(file: Path) -> None:
    assert read(file, "--attention-options", "k=6.0").network.attention_options == {"k": 6.0, "m": 16}
    assert read(file, "--attention", "nla").network.attention_options == {}
    assert read(file, "--attention", "none").network.attention is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not a readable config.json of a run."),
        ("{", "is not a readable config.json of a run."),
        ("[]", "is not the configuration of a run."),
        ("{}", "this is not the configuration of a run"),
        (
            json.dumps(RUN.as_dict() | {"seed": 2**63}),
            "seed is 9223372036854775808; it must be at most 9223372036854775807",
        ),
        (json.dumps(RUN.as_dict() | {"seed": -1}), "seed is -1; it must be 0 or more"),
    ],
)
def test_wrong_file_is_one_sentence(
    tmp_path: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.json"
    if content is not None:
        file.write_text(content)
    assert main(["train", "--config", str(file), "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
