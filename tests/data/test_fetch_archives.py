"""Archives that are damaged, too large, or want to write where they should not."""

import io
import shutil
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sisr.data import archives
from sisr.utils.errors import SisrError

Usage = namedtuple("Usage", "total used free")


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


PICTURE = png(np.zeros((4, 4), dtype=np.uint8))


def zipped(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def tarred(path: Path, entries: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        for info in extra:
            file.addfile(info)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("ending", ["a.zip", "a.tar", "a.tar.gz"])
def test_images_are_unpacked_and_nothing_else(tmp_path: Path, ending: str) -> None:
    entries = {"Set/HR/a.png": PICTURE, "Set/readme.txt": b"x", "__MACOSX/Set/HR/._a.png": b"x", "b.jpg": b"y"}
    archive = zipped(tmp_path / ending, **entries) if ending == "a.zip" else tarred(tmp_path / ending, entries)
    (tmp_path / "out").mkdir()
    found = archives.unpack(archive, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in found] == ["Set/HR/a.png", "b.jpg"]
    assert found[0].read_bytes() == PICTURE
    only = archives.unpack(archive, tmp_path / "out", lambda path: "HR" in path.parts)
    assert [path.name for path in only] == ["a.png"]


EVIL = ["../evil.png", "/tmp/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png", "\\evil.png", "a\\b.png"]


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("ending", ["a.zip", "a.tar"])
def test_nothing_is_written_outside_of_the_folder(tmp_path: Path, ending: str, name: str) -> None:
    entries = {"good.png": PICTURE, name: PICTURE}
    archive = zipped(tmp_path / ending, **entries) if ending == "a.zip" else tarred(tmp_path / ending, entries)
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    with pytest.raises(SisrError, match="unsafe"):
        archives.unpack(archive, out)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == []
    assert not Path("/tmp/evil.png").exists()


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    fifo = tarfile.TarInfo("pipe.png")
    fifo.type = tarfile.FIFOTYPE
    for info in (link("a.png", str(secret)), link("a.png", "../secret", tarfile.LNKTYPE), fifo):
        with pytest.raises(SisrError, match="link or device"):
            archives.unpack(tarred(tmp_path / "a.tar", {}, info), out)
    # a folder that is a link, and a file through it: the link is no image and is never made
    archives.unpack(tarred(tmp_path / "b.tar", {"sub/x.png": PICTURE}, link("sub2", "..")), out)
    assert not (out / "sub2").exists()
    entry = zipfile.ZipInfo("a.png")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(entry, "../secret")
    with pytest.raises(SisrError, match="link or device"):
        archives.unpack(tmp_path / "a.zip", out)
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["x.png"]


@pytest.mark.parametrize("ending", ["a.zip", "a.tar", "a.tar.gz"])
def test_damaged_archives_are_named(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    entries = {f"{i}.png": png(noise) for i in range(3)}
    archive = zipped(tmp_path / ending, **entries) if ending == "a.zip" else tarred(tmp_path / ending, entries)
    (tmp_path / "out").mkdir()
    whole = archive.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"<html>404</html>" * 50, b""):
        archive.write_bytes(damaged)
        with pytest.raises(SisrError, match="damaged"):
            archives.unpack(archive, tmp_path / "out")
    with pytest.raises(SisrError, match="no file"):
        archives.unpack(tmp_path / f"none{ending}", tmp_path / "out")


def test_an_archive_larger_than_the_disk_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", **{"a.png": PICTURE})
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 1000))
    with pytest.raises(SisrError, match="to unpack"):
        archives.unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
