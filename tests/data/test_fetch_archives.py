"""Archives that are damaged, too large, or want to write where they should not."""

import io
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from collections import namedtuple
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sisr.data import archives
from sisr.utils.errors import SisrError
from tests.helpers.fuzz import cases, damaged

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


EVIL = [
    "../evil.png",
    "/tmp/evil.png",
    "a/../../evil.png",
    "..\\evil.png",
    "C:\\evil.png",
    "\\evil.png",
    "a\\..\\b.png",
]


@pytest.mark.parametrize(("ending", "name"), [*product(["a.zip", "a.tar"], EVIL), ("a.tar", "a\\b.png")])
def test_nothing_is_written_outside_of_the_folder(tmp_path: Path, ending: str, name: str) -> None:
    entries = {"good.png": PICTURE, name: PICTURE}
    archive = zipped(tmp_path / ending, **entries) if ending == "a.zip" else tarred(tmp_path / ending, entries)
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    with pytest.raises(SisrError, match="unsafe"):
        archives.unpack(archive, out)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == []
    assert not Path("/tmp/evil.png").exists()


def test_backslashes_in_a_zip_archive_separate_folders(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", **{"Set\\HR\\a.png": PICTURE, "Set\\": b""})
    (tmp_path / "out").mkdir()
    assert archives.unpack(archive, tmp_path / "out") == [tmp_path / "out" / "Set" / "HR" / "a.png"]


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
    for broken in (whole[: len(whole) // 2], b"<html>404</html>" * 50, b""):
        archive.write_bytes(broken)
        with pytest.raises(SisrError, match="damaged"):
            archives.unpack(archive, tmp_path / "out")
    with pytest.raises(SisrError, match="no file"):
        archives.unpack(tmp_path / f"none{ending}", tmp_path / "out")


def test_a_tar_archive_cut_between_two_members_is_damaged(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar", {"a.png": PICTURE, "b.png": PICTURE})
    with tarfile.open(archive) as file:
        second = file.getmember("b.png").offset
    archive.write_bytes(archive.read_bytes()[:second])
    (tmp_path / "out").mkdir()
    with pytest.raises(SisrError, match=r"damaged .*its end is missing"):
        archives.unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_damaged_member_leaves_nothing_behind_and_keeps_what_was_there(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        archive = tmp_path / "a.zip"
        with zipfile.ZipFile(archive, "w", method) as file:
            file.writestr("Set/a.png", PICTURE)
            file.writestr("Set/deep/b.png", bytes(range(256)) * 40)
            start = file.getinfo("Set/deep/b.png").header_offset + 30 + len("Set/deep/b.png")
        content = bytearray(archive.read_bytes())
        content[start + 12 : start + 40] = bytes(28)
        archive.write_bytes(content)
        out = tmp_path / "out"
        (out / "Set").mkdir(parents=True, exist_ok=True)
        (out / "Set" / "kept.txt").touch()
        with pytest.raises(SisrError, match="damaged"):
            archives.unpack(archive, out)
        assert [path.name for path in out.rglob("*")] == ["Set", "kept.txt"]


@pytest.mark.parametrize(
    "header", [{"GNU.sparse.map": "1,x"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, {"size": "x"}]
)
def test_bad_pax_headers_are_one_sentence(tmp_path: Path, header: dict[str, str]) -> None:
    info = tarfile.TarInfo("a.png")
    info.size, info.pax_headers = len(PICTURE), header
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info, io.BytesIO(PICTURE))
    (tmp_path / "out").mkdir()
    with suppress(SisrError):  # a size that is not a number is ignored by tarfile
        archives.unpack(tmp_path / "a.tar", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] in ([], ["a.png"])


def test_an_archive_of_zeros_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_BOMB", 1 << 16)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", bytes(1 << 20))
    (tmp_path / "out").mkdir()
    with pytest.raises(SisrError, match="its images would take 1 MB"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")


SUFFIXES = {".zip": "", ".tar": "w:", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
NAMES = st.sampled_from(["a.png", "Set/b.png", "Set\\c.png", "d.jpg", "../e.png", "/f.png", "g.txt", "a.png/h.png"])
HEADERS = st.dictionaries(
    st.sampled_from(["size", "path", "mtime", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major"]),
    st.sampled_from(["0", "1", "-1", "x", "99999999999999999999", "a.png", "1,2", ""]),
    max_size=3,
)


@st.composite
def archive_file(draw: Any) -> tuple[str, bytes]:
    """Suffix and content of an archive with odd members, often damaged."""
    suffix = draw(st.sampled_from(sorted(SUFFIXES)))
    names = draw(st.lists(NAMES, min_size=1, max_size=3))
    buffer = io.BytesIO()
    if suffix == ".zip":
        method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
        with zipfile.ZipFile(buffer, "w", method) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the same name twice
            for name in names:
                file.writestr(name, PICTURE)
    else:
        with tarfile.open(fileobj=buffer, mode=SUFFIXES[suffix], format=draw(st.sampled_from([0, 1, 2]))) as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(PICTURE)
                info.type = draw(st.sampled_from([tarfile.REGTYPE] * 4 + [tarfile.GNUTYPE_SPARSE, tarfile.LNKTYPE]))
                info.pax_headers = draw(HEADERS)
                tar.addfile(info, io.BytesIO(PICTURE))
    content = buffer.getvalue()
    return suffix, draw(damaged(content)) if draw(st.integers(0, 3)) else content


@cases(200)
@given(archive_file())
def test_any_archive_is_unpacked_or_refused_in_one_sentence(case: tuple[str, bytes]) -> None:
    suffix, content = case
    with tempfile.TemporaryDirectory() as folder:
        archive, out = Path(folder) / f"archive{suffix}", Path(folder) / "deep" / "out"
        out.mkdir(parents=True)
        archive.write_bytes(content)
        try:
            written = archives.unpack(archive, out)
            sentence = ""
        except SisrError as error:
            written, sentence = [], str(error)
        assert "\n" not in sentence
        files = {path for path in Path(folder).rglob("*") if path.is_file()}
        assert files == {archive, *written}
        assert all(out in path.parents for path in written)
        assert written or not list(out.iterdir())


def test_an_archive_larger_than_the_disk_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", **{"a.png": PICTURE})
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 1000))
    with pytest.raises(SisrError, match="to unpack"):
        archives.unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
