"""The script for a GPU: what it calls, with which words, and what it packs. Python is replaced by a recorder."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from benchmarks.common import arguments
from benchmarks.step import Size
from sisr.cli.main import parser

ROOT = Path(__file__).parents[2]
RECORDER = """#!{python}
import json, os, pathlib, sys
words = sys.argv[1:]
if words[0] == "-":
    os.execv({python!r}, [{python!r}, *words])
with open({log!r}, "a") as log:
    log.write(json.dumps(words) + "\\n")
if "--forms" in words:
    folder = pathlib.Path(words[words.index("--output") + 1])
    folder.mkdir(parents=True)
    (folder / "training_step.json").write_text('{{"rows": [{{"milliseconds": 25.0}}]}}')
if words[1] == "sisr":
    run = pathlib.Path(words[words.index("--output") + 1], "runs", "x")
    run.mkdir(parents=True, exist_ok=True)
    (run / "checkpoint.pt").write_text("large")
    (run / "weights.safetensors").write_text("weights")
"""


def test_it_calls_what_there_is_and_packs_all_but_checkpoints(tmp_path: Path) -> None:
    stub, log, output = tmp_path / "python", tmp_path / "log", tmp_path / "out"
    stub.write_text(RECORDER.format(python=sys.executable, log=str(log)))
    stub.chmod(0o755)
    command = [str(ROOT / "benchmarks" / "on_gpu.sh"), str(output), str(tmp_path), "570"]
    done = subprocess.run(command, env={**os.environ, "PYTHON": str(stub), "DEVICE": "cpu"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    assert [call[1] for call in calls] == [
        "pytest", "benchmarks.attention", "benchmarks.training_step", "benchmarks.training_step", "sisr", "sisr",
    ]  # fmt: skip
    for word in calls[0]:
        assert not word.startswith("tests/") or (ROOT / word).is_file(), word
    for call in calls[1:4]:
        known = arguments("", repeats=1)
        Size.add_arguments(known)
        for flag in ("--forms", "--warm-up"):
            known.add_argument(flag)
        known.parse_args(call[2:])
    for seeds, call in zip(("[0]", "[0,1]"), calls[4:], strict=True):
        launch = parser("launch").parse_args(call[3:])
        assert launch.set == ["data.test=[Set5,Set14]", f"seeds={seeds}"]
        # 25 ms a step and four at once: three quarters of the time that is left, 570 s but for the start
        assert launch.scale_steps == pytest.approx(0.75 * 570 / (4 * 0.025) / 20_000, rel=0.05)
        assert 0 < launch.minutes < 570 / 60
    with tarfile.open(output / "on_gpu.tar.gz") as packed:
        names = set(packed.getnames())
    assert "./mini/runs/x/weights.safetensors" in names
    assert "./tests.log" in names
    assert not any("checkpoint" in name for name in names)


def test_it_says_how_it_is_called() -> None:
    done = subprocess.run([str(ROOT / "benchmarks" / "on_gpu.sh")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "on_gpu.sh OUTPUT IMAGES" in done.stderr
