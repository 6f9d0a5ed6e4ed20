"""`python -m sisr launch`: order, time limit, going on, failures, and results that the pipeline takes over."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from sisr.cli import main
from sisr.config.layout import Results
from sisr.config.run import Run
from sisr.launch.jobs import Launch, order, read_preset
from sisr.launch.launch import OWNER, launch, machine
from sisr.launch.pool import DONE, FAILED, STOPPED, WAITING, Job, Pool
from sisr.utils.errors import SisrError, UsageError
from tests.helpers import warm
from tests.helpers.checkout import copy, planned, snakemake

ROOT = Path(__file__).parents[2]
ENVIRONMENT = dict(os.environ)


def job(folder: Path, name: str, code: str, **options: object) -> Job:
    """A job that runs Python code; `made` in it is the file it is to make."""
    made = folder / name
    program = (sys.executable, "-c", f"import pathlib, sys, time; made = pathlib.Path({str(made)!r})\n{code}")
    return Job(name=name, kind="test", words=[], makes=(made,), log=folder / f"{name}.log", program=program, **options)


def run(*jobs: Job, slots: int = 2, **options: object) -> Pool:
    pool = Pool(jobs, slots, environment=ENVIRONMENT, **options)
    pool.run()
    return pool


SPAN = "begin = time.time(); time.sleep(0.3); made.write_text(f'{begin} {time.time()}')"


def span(path: Path) -> tuple[float, float]:
    begin, end = path.read_text().split()
    return float(begin), float(end)


def test_stages_needs_and_what_runs_alone_are_kept(tmp_path: Path) -> None:
    pool = run(
        job(tmp_path, "a", SPAN),
        job(tmp_path, "b", SPAN),
        job(tmp_path, "after_a", SPAN, needs=("a",)),
        job(tmp_path, "alone", SPAN, alone=True),
        job(tmp_path, "later", SPAN, stage=1),
        slots=3,
    )
    assert all(one.state == DONE for one in pool.jobs.values())
    spans = {name: span(tmp_path / name) for name in pool.jobs}
    assert spans["a"][0] < spans["b"][1]
    assert spans["b"][0] < spans["a"][1]  # beside each other
    assert spans["after_a"][0] >= spans["a"][1]
    others = [spans[name] for name in ("a", "b", "after_a", "later")]
    assert all(end <= spans["alone"][0] or begin >= spans["alone"][1] for begin, end in others)
    assert spans["later"][0] >= max(spans[name][1] for name in ("a", "b", "after_a", "alone"))


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    pool = run(
        job(tmp_path, "bad", "print('first'); sys.exit('no room on the disk.')"),
        job(tmp_path, "needs_bad", SPAN, needs=("bad",)),
        job(tmp_path, "makes_nothing", "print('done')"),
        job(tmp_path, "after_bad", SPAN, after=("bad",)),
        job(tmp_path, "good", SPAN, stage=1),
        tell=lambda one: told.append(f"{one.name} {one.state}"),
    )
    assert {name: one.state for name, one in pool.jobs.items()} == {
        "bad": FAILED,
        "needs_bad": FAILED,
        "makes_nothing": FAILED,
        "after_bad": DONE,
        "good": DONE,
    }
    assert pool.jobs["bad"].reason == "no room on the disk"
    assert "`bad`" in pool.jobs["needs_bad"].reason
    assert {"bad failed", "needs_bad failed", "good done"} <= set(told)


def test_time_over_asks_to_stop_and_kills_what_does_not(tmp_path: Path) -> None:
    polite = """
import signal
def stop(number, frame):
    print('stopped at step 7; the same command resumes from there.', flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print('step 5 of 9: loss 1, 2.5 steps/s', flush=True)
time.sleep(60)
"""
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    jobs = [job(tmp_path, "polite", polite, steps=9), job(tmp_path, "deaf", deaf), job(tmp_path, "waits", SPAN)]

    def stop_in_time(pool: Pool) -> None:
        if all((tmp_path / f"{name}.log").read_text() for name in ("polite", "deaf")):
            pool.stop_at, pool.kill_at = time.monotonic(), time.monotonic() + 1

    pool = run(*jobs, watch=stop_in_time)
    assert [one.state for one in jobs] == [STOPPED, STOPPED, WAITING]
    assert (jobs[0].step, jobs[0].rate) == (7, 2.5)
    assert not pool.running
    # the second call starts what was not done, and only that
    (tmp_path / "polite").write_text("")
    again = run(job(tmp_path, "polite", "sys.exit('never')"), job(tmp_path, "waits", SPAN))
    assert all(one.state == DONE for one in again.jobs.values())


def test_what_is_older_than_its_sources_is_made_again(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("")
    table = job(tmp_path, "table", SPAN, sources=(source, tmp_path / "missing"))
    assert run(table).jobs["table"].state == DONE
    assert table.complete
    later = time.time() + 10
    os.utime(source, (later, later))
    assert not table.complete


def test_a_preset_is_changed_and_its_steps_scaled(tmp_path: Path) -> None:
    config = read_preset(ROOT / "config" / "mini.yaml", ["data.test=[Set5]", "seeds=[3]"], 0.01)
    assert config["preset"] == "mini-200-steps"
    assert config["data"]["test"] == ["Set5"]
    training = config["training"]
    assert [training[key] for key in ("steps", "halve_every", "contrastive_start", "redraw_every")] == [200, 40, 30, 10]
    work = Launch(config=config, results=Results(tmp_path), experiments=order(None, config))
    assert work.experiments == ("table2", "k_sweep", "table4", "table1")
    jobs = work.jobs()
    # every run once, in the first experiment that asks for it; nothing is measured before it is trained
    trained = {one.name: one.stage for one in jobs if one.kind == "train"}
    assert list(trained.values()) == sorted(trained.values())
    assert [list(trained.values()).count(stage) for stage in range(4)] == [4, 5, 5, 0]
    for one in jobs:
        assert {*one.needs, *one.after} <= {other.name for other in jobs}
    with pytest.raises(UsageError, match="no experiment 'table3'"):
        order(["table3"], config)
    with pytest.raises(UsageError, match="write it as key=value"):
        read_preset(ROOT / "config" / "mini.yaml", ["seeds"])
    with pytest.raises(UsageError, match="there is no preset at"):
        read_preset(tmp_path / "none.yaml")


def test_a_backbone_is_trained_before_the_runs_that_continue_from_it(tmp_path: Path) -> None:
    config = read_preset(ROOT / "config" / "laptop.yaml", [], 0.1)
    assert config["training"]["steps"] == 200
    assert config["backbone"]["training"]["steps"] == 700
    work = Launch(config=config, results=Results(tmp_path), experiments=("table2",))
    jobs = {one.name: one for one in work.jobs() if one.kind == "train"}
    [backbone] = work.plan.backbones
    assert next(iter(jobs)) == f"train {backbone.id}"
    assert "--start-from" not in jobs[f"train {backbone.id}"].words
    for run_ in work.plan.experiments["table2"]:
        one = jobs[f"train {run_.id}"]
        assert f"train {backbone.id}" in one.needs
        assert one.words[one.words.index("--start-from") + 1] == str(tmp_path / "runs" / backbone.id)
    assert f"train {backbone.id}" not in work.members()["table2"]


def test_without_jsonschema_a_preset_is_taken_unchecked_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert (
        main(["launch", str(ROOT / "config" / "mini.yaml"), "--plan", "--probe", "0", "--output", str(tmp_path)]) == 0
    )
    said = capsys.readouterr().out
    assert "jsonschema is not installed" in said
    assert "table2: 8 networks, 0 of them trained, 0 of 10 evaluations done" in said
    assert "table1: 6 networks" in said  # all of them shared with the experiments before
    assert not list(tmp_path.iterdir())  # a plan starts nothing and writes nothing


def test_two_launches_of_one_results_folder_are_refused(tmp_path: Path) -> None:
    config = read_preset(ROOT / "config" / "quick.yaml", ["preset=twice"])
    work = Launch(config=config, results=Results(tmp_path), experiments=("table2",), device="cpu")
    holder = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True)\n"
    with subprocess.Popen(
        [sys.executable, "-c", f"{holder}time.sleep(60)", tmp_path / "launch.lock"], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(SisrError, match="another launch, or what it started, is at work"):
            launch(work, machine(config, "cpu", 1), quiet=True)
        other.kill()


def test_nothing_is_launched_while_what_a_killed_launch_started_still_runs(tmp_path: Path) -> None:
    config = read_preset(ROOT / "config" / "quick.yaml", ["preset=left"])
    work = Launch(config=config, results=Results(tmp_path), experiments=("table2",), device="cpu")
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        env=ENVIRONMENT | {OWNER: str(tmp_path.resolve())},
    ) as left:
        with pytest.raises(SisrError, match="another launch, or what it started, is at work"):
            launch(work, machine(config, "cpu", 1), quiet=True)
        left.kill()
    assert not (tmp_path / "preset.yaml").exists()


def test_a_command_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["launch", str(ROOT / "config" / "quick.yaml"), "--data", str(tmp_path / "data"), "--output", str(tmp_path)]
    words += ["--from", str(tmp_path / "nowhere"), "--set", "data.train=[T91]", "--set", "data.test=[Set5]"]
    words += ["data.validate=[]", "--experiments", "table2"]
    assert main(words) == 1
    said = capsys.readouterr()
    assert f"FAILED: fetch Set5 (sisr fetch: {tmp_path / 'nowhere'} does not exist)" in said.out
    assert "fetch T91, " in said.err
    assert "the same call tries them again" in said.err
    status = json.loads((tmp_path / "launch.json").read_text())
    assert not status["complete"]
    assert status["experiments"]["table2"]["trained"] == 0
    assert main([*words, "--minutes", "1", "--grace", "60"]) == 2
    assert "are over before anything starts" in capsys.readouterr().err


RUNS = ("enlcn-x2-k1-m128-s0", "enlcn-x2-k6-m128-s0")
LAUNCH = [
    *("-m", "sisr", "launch", "config/tiny.yaml", "--experiments", "k_sweep"),
    *("--jobs", "2", "--threads", "1"),
]


def call(folder: Path, *words: str) -> tuple[str, dict]:
    """`sisr launch` of the tiny sweep of k in a checkout: what it says, and its status file."""
    told = subprocess.run(
        [warm.python(), *LAUNCH, *words], cwd=folder, capture_output=True, text=True, timeout=500, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout, json.loads((folder / "results" / "tiny" / "launch.json").read_text())


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the tiny sweep was launched three times: out of time, ended by SIGTERM, and to the end."""
    folder = copy(tmp_path_factory.mktemp("checkout"))
    preset = folder / "config" / "tiny.yaml"
    content = yaml.safe_load(preset.read_text())
    content["training"] |= {"steps": 240, "halve_every": 80, "contrastive_start": 30, "redraw_every": 50}
    preset.write_text(yaml.safe_dump(content))
    said, status = call(folder, "--minutes", "0.05", "--grace", "1.5")
    assert "time limit reached" in said
    assert not status["complete"]
    logs = folder / "results" / "tiny" / "logs" / "train"
    with subprocess.Popen([warm.python(), *LAUNCH], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        while not any("step " in log.read_text() for log in logs.glob("*.log")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped: train" in said
    runs = folder / "results" / "tiny" / "runs"
    assert list(runs.glob("*/checkpoint.pt"))
    assert not list(runs.glob("*/weights.safetensors"))
    said, status = call(folder)
    assert status["complete"]
    assert "k_sweep: complete" in said
    return folder


@pytest.mark.slow
def test_stopped_trainings_end_with_the_weights_of_uninterrupted_ones(interrupted: Path, tmp_path: Path) -> None:
    results = interrupted / "results" / "tiny"
    others = []
    for run_ in RUNS:
        folder = next((results / "runs").glob(f"{run_}-*"))
        words = Run.from_dict(json.loads((folder / "config.json").read_text())).arguments()
        words += ["--output", str(tmp_path / run_), "--device", "cpu", "--threads", "1"]
        command = [warm.python(), "-m", "sisr", "train", *words]
        others.append(subprocess.Popen(command, cwd=interrupted, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        assert not list(folder.glob("checkpoint*"))
    assert any("resuming at step" in log.read_text() for log in (results / "logs" / "train").glob("*.log"))
    for run_, other in zip(RUNS, others, strict=True):
        assert other.wait(timeout=300) == 0
        folder = next((results / "runs").glob(f"{run_}-*"))
        for file in ("weights.safetensors", "config.json"):
            assert (tmp_path / run_ / file).read_bytes() == (folder / file).read_bytes()


@pytest.mark.slow
def test_what_is_complete_is_neither_launched_nor_planned_by_snakemake_again(interrupted: Path) -> None:
    results = interrupted / "results" / "tiny"
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.suffix in (".safetensors", ".csv")}
    assert results / "tables" / "k_sweep.csv" in before
    _, status = call(interrupted)
    assert status["complete"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    said = snakemake(interrupted, "-n", "k_sweep", "--configfile", "results/tiny/preset.yaml")
    assert said.returncode == 0, said.stderr
    assert planned(said.stdout + said.stderr) == {"notebook": 1, "k_sweep": 1, "total": 2}
