"""A GPU of its own for every process: real processes and locks, NVIDIA's list of GPUs played by a script."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sisr.utils import gpus
from sisr.utils.errors import UsageError
from tests.helpers import warm

ONE, TWO = "GPU-1a2b3c4d-0000-4000-8000-000000000001", "GPU-5e6f7a8b-0000-4000-8000-000000000002"
PLAIN = f"GPU 0: NVIDIA H100 (UUID: {ONE})\nGPU 1: NVIDIA H100 (UUID: {TWO})\n"
PART = "MIG-aaaaaaaa-0000-5000-8000-00000000000{}"
DIVIDED = PLAIN + "".join(f"  MIG 3g.40gb     Device  {part}: (UUID: {PART.format(part)})\n" for part in (0, 1))
CLAIM = """
import os, sys
from sisr.utils import gpus
gpus.claim(sys.argv[1])
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two GPUs: the file that `nvidia-smi --list-gpus` prints."""
    program, listed = tmp_path / "bin" / "nvidia-smi", tmp_path / "gpus.txt"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$*" = --list-gpus ] && cat {listed}\n')
    program.chmod(0o755)
    listed.write_text(PLAIN)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(gpus.LOCKS, str(tmp_path))
    for name in (gpus.RUNS, gpus.CLAIMED, "CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return listed


@pytest.fixture
def start(machine: Path, root: Path) -> Iterator[Start]:
    """Starts a process that claims a GPU, prints CUDA_VISIBLE_DEVICES and stays until its input is closed."""
    processes = []

    def begin(device: str = "auto", **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM, device],
            cwd=root,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        with process:  # closes its pipes and waits
            process.kill()


def said(process: "subprocess.Popen[str]") -> str:
    """The next line of what it printed."""
    assert process.stdout
    return process.stdout.readline().strip()


def warned(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    return process.stderr.readline().strip()


def test_processes_never_share_and_the_next_one_waits(start: Start) -> None:
    first, second = start(SISR_RUNS_PER_GPU="1"), start(SISR_RUNS_PER_GPU="1")
    assert {said(first), said(second)} == {ONE, TWO}
    third = start(SISR_RUNS_PER_GPU="1")
    assert warned(third) == "waiting for a GPU: 2 of 2 in use by other runs."
    first.stdin.close()  # type: ignore[union-attr]
    freed = ONE if said(third) == ONE else TWO
    fourth = start(SISR_RUNS_PER_GPU="1")
    assert warned(fourth).startswith("waiting")
    third.send_signal(signal.SIGKILL)  # no chance to clean up
    assert said(fourth) == freed


def test_as_many_runs_a_gpu_as_asked_for_spread_over_the_gpus(start: Start) -> None:
    several = [start(SISR_RUNS_PER_GPU="2") for _ in range(4)]
    assert sorted(map(said, several)) == [ONE, ONE, TWO, TWO]
    assert warned(start(SISR_RUNS_PER_GPU="2")).startswith("waiting")


def test_gpus_are_filled_one_by_one(start: Start) -> None:
    """A second run joins a GPU only when every GPU has one."""
    assert said(start(SISR_RUNS_PER_GPU="2")) == ONE
    assert said(start(SISR_RUNS_PER_GPU="2")) == TWO
    assert said(start(SISR_RUNS_PER_GPU="2")) == ONE


def test_by_hand_the_first_gpu_is_shared_when_all_are_in_use(start: Start) -> None:
    assert {said(start()), said(start())} == {ONE, TWO}
    third = start()
    assert said(third) == ONE
    assert warned(third) == "all 2 GPUs are in use by other runs; sharing the first."


def test_what_is_visible_already_is_kept_to(start: Start, machine: Path) -> None:
    second = start(CUDA_VISIBLE_DEVICES="1", SISR_RUNS_PER_GPU="1")
    assert said(second) == "1"
    # the same GPU under another name is the same GPU
    other = start(CUDA_VISIBLE_DEVICES=TWO[:8], SISR_RUNS_PER_GPU="1")
    assert warned(other) == "waiting for a GPU: 1 of 1 in use by other runs."
    assert said(start(CUDA_VISIBLE_DEVICES="0,1", SISR_RUNS_PER_GPU="1")) == "0"


def test_gpu_of_a_scheduler_is_told_by_its_uuid(start: Start, machine: Path) -> None:
    """Two jobs of a cluster each see one GPU, which both call 0."""
    machine.write_text(f"GPU 0: NVIDIA H100 (UUID: {ONE})\n")
    assert said(start(CUDA_VISIBLE_DEVICES="0", SISR_RUNS_PER_GPU="1")) == "0"
    machine.write_text(f"GPU 0: NVIDIA H100 (UUID: {TWO})\n")
    assert said(start(CUDA_VISIBLE_DEVICES="0", SISR_RUNS_PER_GPU="1")) == "0"


@pytest.mark.parametrize(
    ("device", "environment"),
    [("cpu", {}), ("cuda:1", {}), ("auto", {"LOCAL_RANK": "0"}), ("auto", {"SISR_GPU": ONE})],
)
def test_left_alone(start: Start, device: str, environment: dict[str, str]) -> None:
    assert said(start(device, **environment)) == "None"


@pytest.mark.parametrize(("built_for", "seen"), [("13.0", ONE), (None, None)])
def test_device_claims_where_torch_can_use_a_gpu(machine: Path, root: Path, built_for: str | None, seen: str) -> None:
    lines = f"""
import os, torch
torch.version.cuda = {built_for!r}
from sisr.evaluation import inference
inference.device("auto")
print(os.environ.get("CUDA_VISIBLE_DEVICES"))
"""
    told = subprocess.run([warm.python(), "-c", lines], cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(seen)


def test_none_without_a_driver(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine.parent))
    assert gpus.visible() == []
    assert gpus.slots() == 0
    gpus.claim("auto")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        (None, [ONE, TWO]),
        ("", []),
        ("NoDevFiles", []),
        ("1, 0", [TWO, ONE]),
        ("0,7,1", [ONE]),  # CUDA ignores what follows a number that does not exist
        (TWO, [TWO]),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(
    machine: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None, seen: list[str]
) -> None:
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert [uuid for _, uuid in gpus.visible()] == seen


def test_parts_of_a_divided_gpu_are_gpus(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write_text(DIVIDED)
    assert [name for name, _ in gpus.visible()] == [ONE, PART.format(0), PART.format(1)]
    monkeypatch.setenv(gpus.RUNS, "2")
    assert gpus.slots() == 6
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", PART.format(1))
    assert gpus.visible() == [(PART.format(1),) * 2]


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_wrong_number_of_runs_is_one_sentence(machine: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(gpus.RUNS, value)
    with pytest.raises(UsageError, match="must be a whole number above 0"):
        gpus.claim("auto")


def test_lock_folder_that_is_not_there(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.LOCKS, str(machine.parent / "absent"))
    with pytest.raises(UsageError, match="set SISR_GPU_LOCKS to another folder"):
        gpus.claim("cuda")
