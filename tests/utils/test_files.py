"""Files: whether an output can be written is known before anything is computed."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write, check_writable, temporary_folder

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", [False, True])
def test_a_writable_output_is_accepted_and_nothing_is_left(tmp_path: Path, folder: bool) -> None:
    check_writable(tmp_path / "new" / "deep" / "a.csv", folder=folder)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("kept")
    check_writable(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "kept"
    check_writable(tmp_path, folder=True)


def test_a_folder_is_not_a_file_and_a_file_is_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SisrError, match="is a folder; name a file in it"):
        check_writable(tmp_path)
    (tmp_path / "file").touch()
    for output, folder in [("file", True), ("file/inside", True), ("file/a.csv", False), ("file/b/a.csv", False)]:
        with pytest.raises(SisrError, match="file is not a folder"):
            check_writable(tmp_path / output, folder=folder)


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(SisrError, match="too long"):
        check_writable(tmp_path / ("a" * 300 + ".csv"))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc, in which nobody can write")
def test_a_folder_in_which_nothing_can_be_written() -> None:
    with pytest.raises(SisrError, match=r"^/proc/self/new/a.csv cannot be written \("):
        check_writable("/proc/self/new/a.csv")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(SisrError, match=r"a.csv cannot be written \(No space left on device\)"):
        check_writable(tmp_path / "a.csv")


LEAVE = """
import sys, time
from sisr.utils.files import atomic_write, temporary_folder
with atomic_write(sys.argv[1] + "/a.csv") as file, temporary_folder(sys.argv[1] + "/set") as folder:
    (folder / "image.png").touch()
    print("ready", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_of_a_running_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEAVE, str(tmp_path)]
    running, killed = (subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(2))
    try:
        for process in (running, killed):
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        of_killed = {path for path in tmp_path.iterdir() if f"-{killed.pid}." in path.name}
        of_running = {path for path in tmp_path.iterdir() if f"-{running.pid}." in path.name}
        assert (len(of_killed), len(of_running)) == (2, 2)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        others = [tmp_path / name for name in (".a.other-5.x.csv", ".ab.csv", ".set.mine", ".a.x.csv")]
        for path in others:
            path.touch()
        with atomic_write(tmp_path / "a.csv") as file:
            file.write_text("new")
        with temporary_folder(tmp_path / "set"):
            pass
        assert {*tmp_path.iterdir()} == {tmp_path / "a.csv", *others, *of_running}
    finally:
        for process in (running, killed):
            process.kill()
            process.wait()


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mistake"), atomic_write(tmp_path / "a.csv"):
        raise ValueError("mistake")
    with pytest.raises(ValueError, match="mistake"), temporary_folder(tmp_path / "a"):
        raise ValueError("mistake")
    assert not list(tmp_path.iterdir())
