"""Snakemake with `--use-conda`: what it asks conda to do, recorded by a stand-in on the PATH."""

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import checkout as checkouts
from tests.helpers.checkout import snakemake

ROOT = Path(__file__).parents[2]
# answers what Snakemake asks of conda, and creates an empty folder as an environment
CONDA = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$*" in
    "info --json") echo '{{"conda_prefix": "{folder}", "platform": "linux-64"}}' ;;
    "--version") echo "conda 26.1.0" ;;
    "clean "*) ;;
    *channel_priority*) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
    "env create "*) shift $(($# - 1)); mkdir -p "$1" ;;
    *) echo "not known: $*" >&2; exit 1 ;;
esac
"""
# `source activate ENVIRONMENT`, before each job
ACTIVATE = 'echo "$1" >> {folder}/activated\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of the repository, with a conda beside it."""
    folder = checkouts.copy(tmp_path / "checkout")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_every_job_runs_in_the_environment_of_the_repository(checkout: Path, tmp_path: Path) -> None:
    conda = tmp_path / "conda"
    (conda / "bin").mkdir(parents=True)
    for name, text in (("conda", CONDA), ("activate", ACTIVATE)):
        (conda / "bin" / name).write_text(text.format(folder=conda))
        (conda / "bin" / name).chmod(0o755)
    store = "data/prepared/photographs-test/x4/index.json"
    called = ["--cores", "1", "--use-conda", store, "--configfile", "config/tiny.yaml"]
    environment = {"PATH": os.pathsep.join([str(conda / "bin"), os.environ["PATH"]])}
    done = snakemake(checkout, *called, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / store).is_file()

    created = [shlex.split(line) for line in (conda / "calls").read_text().splitlines() if "create" in line]
    (words,) = created  # one environment for both rules
    assert words[:2] == ["env", "create"]
    given, prefix = (Path(words[words.index(option) + 1]) for option in ("--file", "--prefix"))
    assert given.read_bytes() == (ROOT / "environment.yml").read_bytes()
    assert prefix.parent == checkout / ".snakemake" / "conda"
    # the jobs that fetch and prepare
    assert (conda / "activated").read_text().splitlines() == [str(prefix)] * 2

    # an environment that is there is not created again
    (checkout / store).unlink()
    assert snakemake(checkout, *called, environment=environment).returncode == 0
    assert len([line for line in (conda / "calls").read_text().splitlines() if "create" in line]) == 1
    assert json.loads((checkout / "data" / "verified" / "photographs-test.json").read_text())
