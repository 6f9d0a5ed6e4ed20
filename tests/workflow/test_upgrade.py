"""A results folder that version 0.1 finished is still finished: an upgrade trains and evaluates nothing again.

`tests/fixtures/finished_0_1.json` holds a small configuration and, for each job that version 0.1 ran for it, the inputs
and parameters that Snakemake recorded. The folder made from it has other commands and another environment on record.
"""

import base64
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers import checkout as checkouts
from tests.helpers.checkout import planned, snakemake

FINISHED = json.loads((Path(__file__).parents[1] / "fixtures" / "finished_0_1.json").read_text())
TRAINED = {"train", "evaluate", "evaluate_control", "complexity", "prepare", "fetch"}
"""Rules whose outputs take long to make."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The finished folder in a checkout of this version, whose files are all newer."""
    folder = checkouts.copy(tmp_path_factory.mktemp("upgraded"))
    finish(folder, FINISHED["jobs"], time.time() - 3600)
    (folder / "config" / "finished.yaml").write_text(yaml.safe_dump(FINISHED["config"]))
    for file in folder.rglob("*"):
        if not {".snakemake", "results", "data"} & set(file.relative_to(folder).parts):
            os.utime(file)
    yield folder
    shutil.rmtree(folder)


def finish(folder: Path, jobs: list[dict[str, Any]], ended: float) -> None:
    """Write the outputs of some jobs and what Snakemake records of them, with a command of an earlier version."""
    metadata = folder / ".snakemake" / "metadata"
    metadata.mkdir(parents=True)
    for job in jobs:
        for name in job["output"]:
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}" if file.suffix == ".json" else "")
            os.utime(file, (ended, ended))
            record = {
                **{key: job[key] for key in ("rule", "input", "params")},
                "code": "an earlier command",
                "shellcmd": "an earlier command",
                "conda_env": base64.b64encode(b"name: earlier").decode(),
                "software_stack_hash": "0" * 32,
                "record_format_version": 6,
                "log": [],
                "starttime": ended,
                "endtime": ended,
                "incomplete": False,
                "input_checksums": {},
            }
            (metadata / base64.b64encode(name.encode()).decode()).write_text(json.dumps(record))


def plan(folder: Path, *words: str) -> dict[str, int]:
    told = snakemake(folder, *words, "-n", "--configfile", "config/finished.yaml")
    assert told.returncode == 0, told.stderr
    return planned(told.stdout + told.stderr)


def test_upgrade_has_nothing_to_do(folder: Path) -> None:
    told = snakemake(folder, "--cores", "2", "-n", "--configfile", "config/finished.yaml")
    assert "Nothing to be done" in told.stdout + told.stderr, told.stdout + told.stderr


def test_upgrade_keeps_the_runs_of_a_comparison(folder: Path) -> None:
    """With a registered mechanism that is not the paper's: its file, which the upgrade brought, retrains nothing."""
    assert not TRAINED & set(plan(folder, "compare"))


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ("k_sweep={k: [1, 6, 3]}", {"train": 1, "evaluate": 1, "table": 1, "notebook": 1, "analyse": 1}),
        ("training={steps: 5}", {"train": 7, "evaluate": 7, "table": 4, "notebook": 4}),
        ("greyscale=rgb", {"evaluate": 7, "evaluate_control": 2, "table": 4}),
        ("table4={size: [24, 24]}", {"complexity": 1, "table": 1, "notebook": 1}),
    ],
)
def test_changed_setting_makes_what_depends_on_it(folder: Path, change: str, made: dict[str, int]) -> None:
    jobs = plan(folder, "all", "--config", change)
    assert {rule: jobs.get(rule) for rule in made} == made
    assert not TRAINED & (set(jobs) - set(made))


def test_run_that_is_taken_away_changes_its_table(folder: Path) -> None:
    """No file is newer then, and none is missing."""
    jobs = plan(folder, "k_sweep", "--config", "seeds=[0]", "k_sweep={k: [6, 1]}")
    assert (jobs["table"], jobs["notebook"]) == (1, 1)
    assert not TRAINED & set(jobs)


def test_newer_input_is_trained_on(folder: Path) -> None:
    prepared = folder / "data" / "prepared" / "photographs" / "x2" / "index.json"
    before = prepared.stat()
    try:
        prepared.write_text('{"changed": true}')
        assert plan(folder)["train"] == 7
    finally:
        prepared.write_text("{}")
        os.utime(prepared, (before.st_atime, before.st_mtime))
