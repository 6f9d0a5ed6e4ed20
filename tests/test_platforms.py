"""macOS and Windows: nothing of the main path needs a module, a function or an encoding that only Linux has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from sisr.evaluation import inference
from sisr.utils import gpus, processes, provenance
from tests.helpers import small_run

SCRIPT = Path(__file__).parent / "helpers" / "without_posix.py"


def run(*words: str | Path, cwd: Path) -> str:
    """Run a verb where POSIX-only modules are hidden; return what it prints."""
    command = [sys.executable, "-X", "warn_default_encoding", SCRIPT, *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_imported_without_posix(root: Path, tmp_path: Path) -> None:
    files = [path for package in ("models", "sisr") for path in (root / package).rglob("*.py")]
    imported = int(run("imports", cwd=tmp_path))
    assert imported > 0.9 * len(files)  # all but the packages themselves, __main__ and the template


def test_the_modules_are_hidden(tmp_path: Path) -> None:
    code = tmp_path / "probe.py"
    code.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "import without_posix\n"
        "without_posix.PACKAGES = (without_posix.Path(__file__).parent,)\n"
        "without_posix.hide()\n"
        "import os, signal\n"
        "assert not hasattr(os, 'killpg') and not hasattr(signal, 'SIGKILL')\n"
        "for name in (*without_posix.MODULES, *without_posix.LINUX):\n"
        "    try:\n"
        "        __import__(name)\n"
        "    except ModuleNotFoundError:\n"
        "        continue\n"
        "    raise SystemExit(f'{name} can be imported')\n"
    )
    done = subprocess.run([sys.executable, code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_train_evaluate_and_upscale_without_posix(tmp_path: Path) -> None:
    data = small_run.prepare(tmp_path / "data")
    network = ["--network", "enlcn", "--scale", "2", "--blocks", "1", "--channels", "8", "--slots", "0"]
    recipe = ["--attention", "enlca", "--steps", "2", "--batch", "2", "--patch", "16", "--train", "photos"]
    run("train", *network, *recipe, "--data", data, "--output", "run", "--device", "cpu", cwd=tmp_path)
    record = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert record["peak_memory_bytes"] > 50_000_000  # torch alone takes more
    run("evaluate", "run", "--data", data / "photos", "--scale", "2", "--output-dir", "out", cwd=tmp_path)
    assert (tmp_path / "out" / "photos_x2.csv").read_text().count("\n") == 3
    Image.fromarray(np.full((12, 10, 3), 128, np.uint8)).save(tmp_path / "photo.png")
    run("upscale", "photo.png", "-o", "large.png", "--weights", "run", cwd=tmp_path)
    with Image.open(tmp_path / "large.png") as image:
        assert image.size == (20, 24)


def test_a_process_is_killed_with_its_children_without_process_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    child = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{child}; print(p.pid, flush=True); p.wait()"], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    grandchild = psutil.Process(int(parent.stdout.readline()))
    monkeypatch.delattr(os, "killpg")
    processes.kill_tree(parent.pid)
    assert parent.wait(60) != 0
    psutil.wait_procs([grandchild], timeout=60)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
    processes.kill_tree(parent.pid)  # it has ended: nothing happens


@pytest.mark.filterwarnings("ignore:only soft file lock is available")
def test_a_gpu_is_locked_without_flock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(gpus.LOCKS, str(tmp_path))
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert gpus._lock("GPU-1", 0)
    assert not gpus._lock("GPU-1", 0)
    assert gpus._lock("GPU-1", 1)
    for lock in gpus._held:
        lock.release()
    assert gpus._lock("GPU-1", 0)


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_a_gpu_of_apple(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, chosen: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)  # there is no such device here
    monkeypatch.setattr(inference.gpus, "claim", lambda name: None)
    assert inference.device("auto").type == chosen


def test_names_of_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance.sys, "platform", "darwin")
    answer = subprocess.CompletedProcess([], 0, "Apple M9\n")
    monkeypatch.setattr(provenance.subprocess, "run", lambda command, **_: answer)
    assert provenance.device_name(torch.device("cpu")) == "Apple M9"
    assert provenance.device_name(torch.device("mps")) == "Apple M9 GPU"
