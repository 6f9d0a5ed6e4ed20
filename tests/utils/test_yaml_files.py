"""The reader of YAML: what is ambiguous, too large or not YAML is one sentence."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sisr.utils import yaml_files
from sisr.utils.errors import UsageError

LAUGHS = "a: &a [l, l, l, l, l, l, l, l, l]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice"),
        ("a: {b: 1, b: 1}", "line 1: the key 'b' is there twice"),
        ("seeds: &a [*a]", "line 1: *a contains itself"),
        ("a: &a\n  b: {c: *a}", "line 2: *a contains itself"),
        (LAUGHS, "it has more than 10000 values"),
        ("[" * 33 + "]" * 33, "it is nested more than 32 levels deep"),
        ("[" * 100_000, "it is nested more than 32 levels deep"),
        ("a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20, "line 2: it is nested"),
        ("- " + "x" * (1 << 18), "it has more than 256 KiB"),
        ("on: 1", "the key True is neither text nor a whole number"),
        ("? [a]\n: 1", "the key ['a'] is neither"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: !!int text", "a value that does not have its type"),
        ("a: " + "9" * 5_000, "a value that does not have its type"),
        ("a: [1", "line 2: did not find expected ',' or ']'"),
        ("a: *b", "undefined alias"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: \0", "not allowed"),
    ],
)
def test_what_is_not_a_plain_document_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        yaml_files.parse(text, "it")
    assert said in str(caught.value)
    assert str(caught.value).startswith("it is not valid YAML: ")
    assert "\n" not in str(caught.value)


@settings(max_examples=50)
@given(json_values)
def test_plain_values_are_read_as_they_were_written(value: object) -> None:
    assert yaml_files.parse(yaml.safe_dump(value, allow_unicode=True), "it") == value


def test_aliases_merges_and_dates_are_read() -> None:
    text = "a: &a {k: 1, m: 2}\nb: {<<: *a, k: 3}\nc: [*a, *a]\nd: 2001-01-01\n2: x\n"
    expected = {"a": {"k": 1, "m": 2}, "b": {"k": 3, "m": 2}, "c": [{"k": 1, "m": 2}] * 2, "d": "2001-01-01", 2: "x"}
    assert yaml_files.parse(text, "it") == expected
    assert yaml_files.parse("[" * 32 + "]" * 32, "it")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_another_encoding_is_one_sentence(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "preset.yaml"
    file.write_bytes("about: größe".encode(encoding))
    with pytest.raises(UsageError, match=r"preset.yaml is not UTF-8 text \(byte \d+\); save it as UTF-8"):
        yaml_files.read(file)
    file.write_bytes("about: größe".encode("utf-8-sig"))
    assert yaml_files.read(file) == {"about": "größe"}


@pytest.mark.parametrize("name", ["", "absent.yaml", "x" * 300, "a\0b"])
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read: "):
        yaml_files.read(tmp_path / name)


def test_nothing_else_reads_yaml(root: Path) -> None:
    files = [
        root / "Snakefile",
        *(file for name in ("sisr", "models", "workflow") for file in (root / name).rglob("*")),
    ]
    readers = re.compile(r"yaml\.(safe_load|load|full_load|unsafe_load|parse)|load_configfile")
    found = {
        file.name
        for file in files
        if file.suffix in ("", ".py", ".smk") and file.is_file() and readers.search(file.read_text())
    }
    assert found == {"yaml_files.py"}
