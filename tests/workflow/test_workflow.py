"""The pipeline itself: what it plans, makes, leaves alone, refuses, and how it goes on after being killed."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from spandrel.architectures.Compact import Compact

from tests.helpers import checkout as checkouts
from tests.helpers.checkout import SNAKEMAKE, planned, snakemake

CODE = """
from torch import nn

class MyNet(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.tail = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        return self.tail(x)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository without data and results; its tiny preset has a network of one's own and a checkpoint
    of another network."""
    folder = checkouts.copy(tmp_path_factory.mktemp("checkout"))
    tiny = folder / "config" / "tiny.yaml"
    preset = yaml.safe_load(tiny.read_text())
    preset["table1"]["networks"].append("my_net.py:MyNet")
    tiny.write_text(yaml.safe_dump(preset | {"published_weights": {"my_compact": {2: "compact.pth"}}}))
    (folder / "my_net.py").write_text(CODE)
    torch.save({"params": Compact(num_feat=8, num_conv=1, upscale=2).state_dict()}, folder / "compact.pth")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("preset", "runs", "scales"), [("quick", 16, 2), ("mini", 28, 1), ("paper", 23, 2)])
def test_presets_show_their_whole_plan(checkout: Path, preset: str, runs: int, scales: int) -> None:
    # the workflow profile would hide the commands
    told = snakemake(checkout, "-n", "-p", "--workflow-profile", "none", "--configfile", f"config/{preset}.yaml")
    assert told.returncode == 0, told.stderr
    said = told.stdout + told.stderr
    plan = planned(said)
    assert plan["train"] == plan["evaluate"] == runs
    assert plan["evaluate_control"] == 2 * scales  # bicubic and HR
    assert plan["table"] == plan["notebook"] == 4
    assert plan["complexity"] == 1
    assert (plan["attention_figure"], plan["crops_figure"]) == (2, 1)
    # the default preset is not merged into the one that was asked for
    assert f"results/{preset}" in said
    assert preset == "quick" or "results/quick" not in said
    assert preset != "paper" or not re.search("photographs|--initialisation", said)


def test_a_mechanism_is_not_evaluated_on_a_set(checkout: Path) -> None:
    words = ("-n", "-p", "--workflow-profile", "none", "--config")
    told = snakemake(checkout, *words, "not_evaluated={nla: {photographs-test: it's slow}}")
    assert told.returncode == 0, told.stderr
    commands = [line for line in (told.stdout + told.stderr).splitlines() if "sisr evaluate results" in line]
    with_it = [line for line in commands if shlex.join(["--not-evaluated", "photographs-test=it's slow"]) in line]
    assert len(with_it) == 1
    assert "-nla-" in with_it[0]
    assert len(commands) == 16


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("k_sweep={k: [0, 6]}", "k_sweep.k.0 is 0; it must be above 0."),
        ("trainings={steps: 1}", "the configuration has an unknown key 'trainings'; did you mean 'training'?"),
        ("data={folders: {mine: workflow}}", "data.folders.mine is workflow, which contains no images"),
        ("threads_per_run=0", "threads_per_run is 0; it must be at least 1."),
        (
            "attention_options={enlca: {k: nan}}",
            "attention_options.enlca.k is 'nan'; it must be of type number or null.",
        ),
        ("attention=[enlca, absent.py:Mine]", "there is no file absent.py, which absent.py:Mine names."),
    ],
)
def test_wrong_configuration_is_one_sentence(checkout: Path, change: str, said: str) -> None:
    told = snakemake(checkout, "-n", "--config", change)
    assert told.returncode == 1
    # two lines of Snakemake's own come before
    own = ("Config file", "Using workflow specific profile")
    lines = [line for line in told.stderr.splitlines() if not line.startswith(own)]
    assert len(lines) == 1
    assert lines[0].startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: [1]", "twice.yaml is not valid YAML: line 53: the key 'seeds' is there twice; keep one of them."),
        ("attention: &a [*a]", "twice.yaml is not valid YAML: line 53: *a contains itself."),
    ],
)
def test_file_that_is_ambiguous_is_one_sentence(checkout: Path, text: str, said: str) -> None:
    """Snakemake reads it first, and takes the last of two keys."""
    preset = (checkout / "config" / "quick.yaml").read_text()
    (checkout / "config" / "twice.yaml").write_text(f"{preset}{text}\n")
    told = snakemake(checkout, "-n", "--configfile", "config/twice.yaml")
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1].endswith(said.replace("53", str(preset.count("\n") + 1)))
    assert "Traceback" not in told.stderr


def test_published_images_are_measured_for_table_1(checkout: Path) -> None:
    for name in ("astronaut", "camera", "coffee"):
        (checkout / "sr").mkdir(exist_ok=True)
        (checkout / "sr" / f"{name}x4.png").touch()
    images = "published_images={rcan: {4: {photographs-test: sr}}}"
    told = snakemake(checkout, "-n", "-p", "--workflow-profile", "none", "--config", images)
    assert told.returncode == 0, told.stderr
    assert planned(told.stdout + told.stderr)["evaluate_published_images"] == 1
    command = (
        "python -m sisr evaluate sr --data data/prepared/photographs-test --scale 4 "
        "--output-dir results/quick/evaluation/images-rcan-x4 --greyscale"
    )
    assert command in told.stdout + told.stderr


def test_a_leaderboard_that_was_made_by_hand_is_made_again(checkout: Path) -> None:
    """Snakemake takes a file of unknown origin for what a rule makes, with whatever rows."""
    results = checkout / "results" / "tiny"
    for file in (results / "leaderboard.html", results / "tables" / "leaderboard.csv"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    words = ("leaderboard", "--configfile", "config/tiny.yaml", "--config", "attention=[enlca, nystrom]")
    told = snakemake(checkout, "-n", *words)
    shutil.rmtree(results)
    assert told.returncode == 0, told.stderr
    jobs = planned(told.stdout + told.stderr)
    assert (jobs["train"], jobs["leaderboard_cost"], jobs["leaderboard"]) == (2, 1, 1)


def test_another_folder_is_told_the_right_one(checkout: Path, tmp_path: Path) -> None:
    told = snakemake(tmp_path, "-n", "-s", str(checkout / "Snakefile"))
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1] == f"the workflow runs in its own folder: add --directory {checkout}"
    assert not [file for file in tmp_path.iterdir() if file.name != ".snakemake"]


@pytest.fixture(scope="module")
def finished(checkout: Path) -> Path:
    """The checkout after its tiny pipeline was killed once and then run to the end."""
    command = [SNAKEMAKE, "--cores", "2", "--configfile", "config/tiny.yaml"]
    process = subprocess.Popen(
        command, cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 900  # a busy machine trains them slowly
    while time.monotonic() < deadline and len(list(checkout.glob("results/tiny/runs/*/weights.safetensors"))) < 2:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {file: file.stat().st_mtime_ns for file in checkout.glob("results/tiny/runs/*/weights.safetensors")}
    assert len(done) >= 2

    assert list((checkout / ".snakemake" / "locks").iterdir())
    unlock = [sys.executable, "workflow/scripts/unlock_stale.py"]
    said = subprocess.run(unlock, cwd=checkout, capture_output=True, text=True, check=True).stdout
    assert "An earlier run was killed; resuming." in said
    told = snakemake(checkout, "--cores", "2", "--configfile", "config/tiny.yaml")
    assert told.returncode == 0, told.stdout + told.stderr
    (checkout / "ending.txt").write_text(told.stdout)
    # what was complete was not made again; the one that was being finished may have been
    kept = [file for file, time_ in done.items() if file.stat().st_mtime_ns == time_]
    assert len(kept) >= len(done) - 2
    return checkout


@pytest.mark.slow
def test_pipeline_makes_tables_figures_and_notebooks(finished: Path) -> None:
    results, ending = finished / "results" / "tiny", finished / "ending.txt"
    for name in ("table1", "table2", "table4", "k_sweep"):
        for file in (f"tables/{name}.html", f"figures/{name}.png", f"notebooks/{name}.html"):
            assert (results / file).stat().st_size > 0
        assert "tiny" in (results / "tables" / f"{name}.md").read_text()
    for name in ("figure1", "figure5", "figure7"):
        assert (results / "figures" / f"{name}.png").stat().st_size > 0
    # what a person reads at the end
    summary = (results / "summary.txt").read_text()
    for shown in ("Table 1", "Table 2", "Table 4", "k-sweep", "figures/k_sweep.png", "notebooks/table1.html"):
        assert shown in summary
    screen = ending.read_text().splitlines()
    screen = screen[next(number for number, line in enumerate(screen) if line.startswith("tiny: 8 networks, ")) :]
    assert len(screen) <= 25
    assert f"page: {(results / 'notebooks' / 'table2.html').resolve().as_uri()}" in screen
    assert "all tables: results/tiny/summary.txt" in screen


@pytest.mark.slow
def test_a_network_of_ones_own_and_a_checkpoint_are_rows_of_table_1(finished: Path) -> None:
    [run] = (finished / "results" / "tiny" / "runs").glob("MyNet-x2-s0-*")
    assert "network_sha256" in (run / "provenance.json").read_text()
    table = (finished / "results" / "tiny" / "tables" / "table1.md").read_text()
    for name in ("MyNet", "my_compact"):
        assert re.search(rf"^\| {name}.* \d+\.\d\d", table, re.MULTILINE), table


@pytest.mark.slow
def test_second_call_has_nothing_to_do(finished: Path) -> None:
    told = snakemake(finished, "--cores", "2", "--configfile", "config/tiny.yaml")
    assert told.returncode == 0
    assert "Nothing to be done" in told.stdout + told.stderr


@pytest.mark.slow
def test_one_more_k_plans_one_more_run_and_what_depends_on_it(finished: Path) -> None:
    told = snakemake(finished, "-n", "--configfile", "config/tiny.yaml", "--config", "k_sweep={k: [1, 6, 3]}")
    plan = planned(told.stdout + told.stderr)
    analysis = {"analyse": 1, "analysis_notebook": 1}  # of every run of the sweep
    shown = {"table": 1, "notebook": 1, "summary": 1, "attention_figure": 1, "all": 1}  # Figure 7 shows every k
    assert plan == {"train": 1, "evaluate": 1, **analysis, **shown, "total": 9}


@pytest.mark.slow
def test_targets_until_and_forcerun(finished: Path) -> None:
    told = snakemake(finished, "-n", "table2", "--configfile", "config/tiny.yaml", "--forcerun", "evaluate")
    plan = planned(told.stdout + told.stderr)
    # four variants; controls are evaluated by another rule
    assert plan["evaluate"] == 4
    assert plan["table"] == plan["notebook"] == 1
    assert "train" not in plan
    told = snakemake(finished, "-n", "--configfile", "config/tiny.yaml", "--forceall", "--until", "train")
    plan = planned(told.stdout + told.stderr)
    assert plan["train"] == 8
    assert not {"evaluate", "table", "notebook"} & set(plan)


@pytest.mark.slow
def test_sets_that_are_present_are_evaluated(finished: Path) -> None:
    shutil.copytree(finished / "data" / "photographs-test" / "HR", finished / "data" / "Set5" / "HR")
    try:
        told = snakemake(finished, "-n", "table2", "--configfile", "config/tiny.yaml")
        assert (
            "data/prepared/Set5/x2" in told.stdout + told.stderr or planned(told.stdout + told.stderr)["prepare"] == 2
        )
    finally:
        shutil.rmtree(finished / "data" / "Set5")
