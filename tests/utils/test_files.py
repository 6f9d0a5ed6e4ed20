"""Files: whether an output can be written is known before anything is computed."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from sisr.utils.errors import SisrError
from sisr.utils.files import check_writable


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
