"""Whether an output can be written is known before anything is computed."""

import os
import resource
import shutil
from pathlib import Path

import pytest

from sisr.utils.errors import SisrError
from sisr.utils.files import check_writable


def test_what_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    for path in (tmp_path, tmp_path / "new.csv", tmp_path / "a" / "b" / "c.csv", tmp_path / "old.csv"):
        check_writable(path, size=1000)
    assert [file.name for file in tmp_path.iterdir()] == ["old.csv"]
    assert (tmp_path / "old.csv").read_text() == "old"


def test_a_relative_path_is_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable("out/rows.csv")
    check_writable(".")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("below", ["file/rows.csv", "file/a/b/rows.csv"])
def test_a_file_in_the_place_of_a_folder(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SisrError, match=r"file is a file, not a folder|Not a directory"):
        check_writable(tmp_path / below)


def test_a_folder_without_permission(tmp_path: Path) -> None:
    folder = Path("/proc/self/nothing") if os.geteuid() == 0 else tmp_path / "closed"  # root may write anywhere else
    if os.geteuid() != 0:
        folder.mkdir(mode=0o500)
    with pytest.raises(SisrError, match="cannot be written"):
        check_writable(folder / "rows.csv")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # a file larger than this gets an error
    try:
        with pytest.raises(SisrError, match="cannot be written"):
            check_writable(tmp_path / "rows.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    free = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    check_writable(tmp_path / "rows.csv", size=10_000_000)
    with pytest.raises(SisrError, match=r"needs 20 MB, but .* has 10 MB free"):
        check_writable(tmp_path / "rows.csv", size=20_000_000)
