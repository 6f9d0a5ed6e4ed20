"""Every command that the documentation shows is run, or checked as far as it can be here (see docs_commands.HOW)."""

import contextlib
import glob
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisr import cli
from sisr.cli.main import _command, parser
from tests.helpers import docs_checkout, docs_commands, warm
from tests.helpers.docs_commands import Command

pytestmark = pytest.mark.slow
PAGES = docs_commands.pages()
SHOWING = [page for page in PAGES if docs_commands.commands(page)]
SCRIPTS = Path(sys.executable).parent
seen: dict[str, str] = {}  # plans and the like that an earlier page has asked for in the same words


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The checkout that every page gets a copy of."""
    folder = tmp_path_factory.mktemp("docs")
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield docs_checkout.make(folder)
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: str(page.relative_to(docs_commands.ROOT)))
def test_commands_of_a_page_work(
    page: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = docs_commands.commands(page)
    here = tmp_path / "checkout"
    shutil.copytree(whole, here, copy_function=os.link)  # files are replaced, never changed in place
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PATH", os.pathsep.join([str(SCRIPTS), os.environ["PATH"]]))
    for command in shown:
        status, said = check(command)
        assert status == 0, f"{command}\n{said}{''.join(capfd.readouterr())}"


def check(command: Command) -> tuple[int, str]:
    """Exit status of a command, or of what stands for it, and what it said."""
    if command.python:
        exec(compile(command.text, str(command), "exec"), {"__name__": "page"})
        return 0, ""
    way = docs_commands.way(command.text)
    assert way, f"{command}\nis neither run nor listed in tests/helpers/docs_commands.py"
    words = shlex.split(command.text, comments=True)
    if way.kind == "known":
        return 0, ""
    if way.kind == "flags":
        return flags(words)
    if "torchrun" in words[:2]:
        return torchrun(words[words.index("torchrun") :])
    words += way.added.split()
    assert not {"|", ">", "&&", ";"} & set(words), f"{command}\nis more than one command"
    words = [found for word in words for found in (sorted(glob.glob(word)) or [word])]
    if words[:3] == ["python", "-m", "sisr"]:
        return sisr(words[3:], only_parse=way.kind == "parsed")
    if words[0] == "python":
        words[0] = warm.python()
    if (told := seen.get(shlex.join(words))) is not None:
        return 0, told
    status, told = outcome(words)
    if not status:
        seen[shlex.join(words)] = told
    return status, told


def outcome(words: list[str]) -> tuple[int, str]:
    if words[0] == "snakemake":
        words = [warm.python(), "-m", *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    return done.returncode, done.stdout + done.stderr


def sisr(words: list[str], *, only_parse: bool = False) -> tuple[int, str]:
    """One verb, in this process: starting Python and importing torch would take most of the time."""
    try:
        if only_parse:
            parser(words[0]).parse_args(words[1:])
            return 0, ""
        return cli.main(words), ""
    except SystemExit as stopped:  # --help, or words that argparse refuses
        return int(stopped.code or 0), ""


def torchrun(words: list[str]) -> tuple[int, str]:
    """The launcher's own parser takes its words, the verb's parser the rest."""
    from torch.distributed.run import get_args_parser

    try:
        taken = get_args_parser().parse_args(words[1:])
    except SystemExit as stopped:
        return int(stopped.code or 0), ""
    assert taken.module
    assert taken.training_script == "sisr"
    return sisr(taken.training_script_args, only_parse=True)


def flags(words: list[str]) -> tuple[int, str]:
    """Whether the help of a program knows every flag."""
    if words[:2] == ["python", "-m"]:
        status, told = help_of_module(words[2])
    else:
        status, told = outcome([words[0], "--help"])
    asked = {word.split("=")[0] for word in words if word.startswith("-") and word != "-m"}
    unknown = asked - set(re.findall(r"(?<![\w-])--?\w[\w-]*", told))
    return status or len(unknown), f"{told}\nunknown: {unknown}"


def help_of_module(name: str) -> tuple[int, str]:
    """What `python -m NAME --help` says, in this process."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_module(name, run_name="__main__")
    return int(stopped.value.code or 0), said.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(docs_commands.ROOT)))
def test_every_block_says_what_it_is(page: Path) -> None:
    """A block without a language could hide a command from these tests."""
    for language, line, lines in docs_commands.blocks(page):
        assert language in docs_commands.LANGUAGES, f"{page.name}:{line}: {language or 'no language'}"
        if language in ("text", "console"):
            hidden = [text for text in lines if re.match(r"\s*(\$ )?(python|snakemake|make|torchrun) ", text)]
            assert not hidden, f"{page.name}:{line}: a command in a block that is not run: {hidden}"


def test_a_command_that_is_not_listed_is_noticed() -> None:
    assert docs_commands.way("rm -rf results") is None
    assert docs_commands.way("makeshift") is None
    assert docs_commands.way("python -m sisr fetch Set5") is docs_commands.DOWNLOADS
    assert docs_commands.way("python -m sisr fetch photographs photographs-test") is docs_commands.RUN
    with pytest.raises(AssertionError, match="neither run nor listed"):
        check(Command("page.md", 1, "rm -rf results"))


def test_what_is_not_run_says_why() -> None:
    for beginning, way in docs_commands.HOW.items():
        assert way.why or (way.kind == "run" and not way.added), beginning


@pytest.mark.parametrize("verb", cli.verbs())
def test_examples_of_a_verb_are_calls_that_it_takes(verb: str) -> None:
    example = _command(verb).EXAMPLE.replace("\\\n", " ")
    for line in example.splitlines():
        words = shlex.split(line, comments=True)
        assert words[:4] == ["python", "-m", "sisr", verb], line
        assert sisr(words[3:], only_parse=True)[0] == 0, line
