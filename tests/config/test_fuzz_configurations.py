"""Presets changed at random: the result is a plan whose networks can be built, or one sentence that names the key.

`SISR_FUZZ=10` tries ten times as many.
"""

import copy
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sisr.config import preflight
from sisr.config import settings as configuration
from sisr.config.presets import plan
from sisr.training import dry_run
from sisr.utils.errors import SisrError, UsageError
from tests.helpers.fuzz import cases

ROOT = Path(__file__).parents[2]
PRESETS = {
    name: yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()) for name in ("quick", "laptop", "paper")
}
BUILT: set[str] = set()
"""Networks that were built, by digest: each is built once."""

Key = tuple[str | int, ...]


def paths(part: Any, above: Key = ()) -> Iterator[Key]:
    """Where every value of a configuration is."""
    if above:
        yield above
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, item in items:
        yield from paths(item, (*above, key))


NUMBERS = (0, -1, 1, 3, 4.0, 2.5, 1e-3, 10**6, 10**30, -(10**30), float("nan"), float("inf"), 2**63, 5000, True)
WORDS = (
    "",
    "..",
    "../../x",
    "a/b",
    "{x}",
    "a b",
    "x.py:C",
    "enlca",
    "none",
    "nan",
    "4",
    "auto",
    "ü",
    "x" * 300,
    "a\nb",
    "\0",
)
junk = st.recursive(
    st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | st.none() | st.text(max_size=8) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def changed_presets(draw: st.DrawFn) -> tuple[dict[str, Any], list[Key]]:
    """A preset with one to three changes, and where they are."""
    config = copy.deepcopy(PRESETS[draw(st.sampled_from(sorted(PRESETS)))])
    where = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        path = draw(st.sampled_from(sorted(paths(config), key=str)))
        *parents, last = path
        part: Any = config
        for parent in parents:
            part = part[parent]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "add", "nest"])):
            case "replace":
                part[last] = draw(junk)
            case "remove":
                del part[last]
            case "rename" if isinstance(part, dict):
                part[draw(st.text(max_size=6) | st.integers())] = part.pop(last)
            case "add" if isinstance(part[last], dict):
                part[last][draw(st.sampled_from(WORDS) | st.integers())] = draw(junk)
            case _:
                part[last] = [part[last]] if isinstance(part, dict) else {"x": part[last]}
        where.append(path)
    return config, where


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail after some seconds of the CPU: a busy computer is slow, too."""

    def stop(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"this took longer than {seconds} seconds")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(config: Any) -> str:
    """What is wrong with a configuration or a file, "" if all its networks can be built."""
    try:
        with at_most(20):
            planned = plan(configuration.read(config) if isinstance(config, Path) else config, ROOT)
            for run in preflight._once(planned):
                if run.digest not in BUILT:
                    dry_run.build(run)
                    BUILT.add(run.digest)
    except (UsageError, SisrError) as error:
        message = str(error)
        assert message
        assert "\n" not in message.strip("\n")
        assert len(message) < 1500, message
        return message
    return ""


@cases(130, deadline=None)
@given(changed_presets())
def test_changed_preset_is_planned_or_refused_in_a_sentence(change: tuple[dict[str, Any], list[Key]]) -> None:
    config, where = change
    message = outcome(config)
    if message and len(where) == 1:
        names = [str(key) for key in where[0] if isinstance(key, str)]
        assert any(name.removesuffix("s") in message for name in names), (message, where)


@cases(70, deadline=None)
@given(
    name=st.sampled_from(sorted(PRESETS)),
    position=st.integers(0, 10**6),
    kind=st.sampled_from(["cut", "insert", "repeat", "utf-16", "latin-1", "bytes", "indent", "list", "empty"]),
    piece=st.text(max_size=3)
    | st.sampled_from(["\t", ": ", "&a ", "*a", "[", "{", "- ", "!!set ", "\0", "---\n", "<<: "]),
)
def test_changed_text_is_planned_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, position: int, kind: str, piece: str
) -> None:
    text = (ROOT / "config" / f"{name}.yaml").read_text()
    lines = text.splitlines(keepends=True)
    at, line = position % len(text), position % len(lines)
    content = {
        "cut": text[:at],
        "insert": text[:at] + piece + text[at:],
        "repeat": "".join([*lines, lines[line]]),
        "utf-16": text,
        "latin-1": f"{text}# größe {piece}\n",
        "bytes": text,
        "indent": "".join([*lines[:line], " ", *lines[line:]]),
        "list": f"- {piece}",
        "empty": "",
    }[kind]
    raw = content.encode({"utf-16": "utf-16", "latin-1": "latin-1"}.get(kind, "utf-8"), errors="replace")
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_bytes(raw if kind != "bytes" else raw[:at] + bytes([position % 256]) + raw[at:])
    message = outcome(file)
    if message and kind in ("repeat", "utf-16", "latin-1", "list", "empty"):
        # a repeated line is a duplicate key, or an unknown one of the last section
        unknown = kind == "repeat" and message.startswith("the configuration has an unknown key")
        assert unknown or message.startswith(str(file))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_text_for_numbers_is_the_same_plan(name: str) -> None:
    """As Snakemake passes what is written within braces on the command line."""

    def texts(part: Any) -> Any:
        if isinstance(part, dict):
            return {str(key): texts(item) for key, item in part.items()}
        return [texts(item) for item in part] if isinstance(part, list) else str(part)

    assert list(plan(texts(PRESETS[name]), ROOT).runs) == list(plan(PRESETS[name], ROOT).runs)
