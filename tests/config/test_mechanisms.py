"""The notation of mechanisms and their options: what is written is read back, and one parser reads it everywhere."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisr.cli import main
from sisr.cli.commands.train import run_from
from sisr.cli.main import parser
from sisr.config import declared
from sisr.config.mechanisms import Mechanism, read_option, write_options
from sisr.config.recipes import TRAINING
from sisr.config.run import Network, Run, Training
from sisr.utils.errors import UsageError

ROOT = Path(__file__).parents[2]
texts = st.text() | st.text("ab,=:'\"[]{}()\\ \n0.")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
keys = st.from_regex(r"[^\W\d]\w*", fullmatch=True)
names = st.sampled_from(
    [
        "enlca",
        "my attention.py:Mine",
        "package.module:Mine",
        "C:\\folder\\mine.py:Mine",
        "D:/a b/mine.py:Mine",
        "größe.py:Größe",
    ]
)
mechanisms = st.builds(Mechanism, names, st.dictionaries(keys, values, max_size=4))


def same(one: Any, other: Any) -> bool:
    """Equal, 6 and 6.0 or 1 and true told apart: they make different run ids."""
    return repr(one) == repr(other)


@given(mechanisms)
def test_what_is_written_is_read_back(mechanism: Mechanism) -> None:
    read = Mechanism.parse(str(mechanism))
    assert read.name == mechanism.name
    assert same(dict(read.options), dict(mechanism.options))


@given(st.dictionaries(keys, values, max_size=4))
def test_train_reads_the_options_that_a_run_writes(options: dict[str, Any]) -> None:
    run = Run(network=Network(attention="enlca", attention_options=options), training=Training())
    read = run_from(parser("train").parse_args([*run.arguments(), "--output", "x"]))
    assert same(dict(sorted(read.network.attention_options.items())), dict(sorted(options.items())))
    assert read.id == run.id


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("nla", "nla", {}),
        ("enlca:m=128,k=6.5", "enlca", {"m": 128, "k": 6.5}),
        ("enlca:k=6,m=6.0", "enlca", {"k": 6, "m": 6.0}),
        ("enlca:relevant=[0, 0.02],orthogonal=false", "enlca", {"relevant": [0, 0.02], "orthogonal": False}),
        # as Python writes it, which version 0.1 did
        ("enlca:relevant=(0, 0.02),orthogonal=False", "enlca", {"relevant": [0, 0.02], "orthogonal": False}),
        (
            "edsr:attention_options={'k': 6.0, 'm': 8},slots=(0,)",
            "edsr",
            {"attention_options": {"k": 6.0, "m": 8}, "slots": [0]},
        ),
        ("a:b=True,c=none,d=Null,e=NONE,f=true", "a", {"b": True, "c": None, "d": None, "e": None, "f": True}),
        ('a:b="true",c="6"', "a", {"b": "true", "c": "6"}),
        ("a:b=one, two,c=3", "a", {"b": "one, two", "c": 3}),
        ('a:b="one, c=two",d=3', "a", {"b": "one, c=two", "d": 3}),
        ('a:b={"c=": [1, "x,d=2"]},d=3', "a", {"b": {"c=": [1, "x,d=2"]}, "d": 3}),
        ("a:b=.5,c=1e-4,d=NaN,e=007", "a", {"b": 0.5, "c": 1e-4, "d": "NaN", "e": "007"}),
        ("package.module:Class", "package.module:Class", {}),
        ("folder/file.py:Class:m=4,name=abc", "folder/file.py:Class", {"m": 4, "name": "abc"}),
        ("C:\\folder\\file.py:Class:m=4", "C:\\folder\\file.py:Class", {"m": 4}),
        ("edsr:attention=C:/mine.py:Class,slots=[0]", "edsr", {"attention": "C:/mine.py:Class", "slots": [0]}),
    ],
)
def test_notation(text: str, name: str, options: dict[str, Any]) -> None:
    read = Mechanism.parse(text)
    assert (read.name, dict(read.options)) == (name, options)
    assert same(dict(read.options), options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not NAME:option=value"),
        ("enlca:", "is not NAME:option=value"),
        ("enlca:m=", "the option m has no value."),
        ("enlca:m=,k=3", "the option m has no value."),
        ("enlca:m=1,m=2", "the option m is given twice."),
        ("enlca:m=[1, 2", "the option m is '[1, 2', which is not JSON"),
        ('enlca:m="1', "the option m is '\"1', which is not JSON"),
    ],
)
def test_wrong_notation_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Mechanism.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_option_a_word() -> None:
    assert read_option("k=6.0") == ("k", 6.0)
    assert read_option("text=a,b=c") == ("text", "a,b=c")
    assert write_options({"text": "a,b=c", "k": 6.0}) == ['text="a,b=c"', "k=6.0"]
    with pytest.raises(UsageError, match="write it as name=value"):
        read_option("k")


@pytest.mark.parametrize(
    ("word", "value"), [("orthogonal=False", False), ("orthogonal=false", False), ("k=none", None)]
)
def test_train_reads_words_of_python_and_json(word: str, value: Any) -> None:
    """`orthogonal=False` was a text in version 0.1, and so true."""
    read = run_from(parser("train").parse_args(["--attention-options", word, "--output", "x"]))
    assert read.network.attention_options == {word.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["kk=4"], "attention 'enlca' has no option 'kk': did you mean 'k'?"),
        (["k=abc"], "attention 'enlca' cannot be built with k='abc'"),
        (["m=0"], "m "),
        (["relevant=[0"], "the option relevant is '[0', which is not JSON"),
        (["orthogonal"], "orthogonal"),
    ],
)
def test_wrong_options_are_one_sentence(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--network", "enlcn", "--blocks", "1", "--channels", "8", "--attention", "enlca", "--slots", "0"]
    status = main(
        ["train", *words, "--output", str(tmp_path), "--data", str(tmp_path), "--attention-options", *options]
    )
    error = capsys.readouterr().err
    assert status in (1, 2)
    assert said in error
    assert error.count("\n") == 1
    status = main(["check", "enlca", *(f"--option={word}" for word in options)])
    error = capsys.readouterr().err
    assert status == 2
    assert said in error
    assert error.count("\n") == 1


def test_planning_needs_no_torch() -> None:
    code = "import sisr.config.preflight, sisr.config.paper_figures, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_declarations_are_those_of_the_classes() -> None:
    from models import attention, registry
    from models.attention import Attention
    from models.attention._registry import find

    assert set(declared.mechanisms()) == set(attention.available())
    assert set(declared.networks()) == set(registry.available())
    for name, mechanism in declared.mechanisms().items():
        found: Any = find(name)
        for key, value in mechanism.attributes.items():
            assert getattr(found, key) == value, (name, key)
        if "random_projection" in mechanism.attributes or hasattr(found, "redraw"):
            assert mechanism.get("random_projection", True) == hasattr(found, "redraw"), name
        if "own_loss" in mechanism.attributes:
            none = (Attention.auxiliary_loss, None)
            assert mechanism.get("own_loss") == (getattr(found, "auxiliary_loss", None) not in none), name
        assert set(mechanism.get("recipes", TRAINING)) == set(TRAINING), name
    for name, network in declared.networks().items():
        built: Any = registry.create(name)
        assert network.get("attention") == built.config.get("attention")
        for key in set(network.attributes) - {"attention"}:
            assert getattr(built, key) == network.get(key), (name, key)
