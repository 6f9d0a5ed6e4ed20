"""Downloads from a server on this machine that breaks off, lies, is slow, sends evil archives; and a full disk."""

import errno
import hashlib
import io
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from skimage import data as pictures

from sisr.cli import main
from sisr.data import download
from sisr.data.catalog import Dataset, Source, known
from sisr.data.download import download as get
from sisr.data.fetch import fetch
from sisr.data.image_files import list_images
from sisr.utils.errors import SisrError
from tests.data.test_fetch_archives import PICTURE, Usage, png, zipped

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; how it misbehaves is in the path: /break/… breaks off once, /404/… is gone, …"""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.ranges: list[str | None] = []

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        kind, name = self.path.strip("/").split("/")
        times = self.server.asked[self.path]
        self.server.asked[self.path] += 1
        self.server.ranges.append(self.headers.get("Range"))
        if kind == "404":
            self.send_error(404)
            return
        if kind == "503" and times < 2:
            self.send_response(503)
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.server.files[name]
        if kind == "wrong":
            content = b"<html>" + content[6:]
        start = 0
        if (asked := self.headers.get("Range")) and kind != "norange":
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            shift = 1 if kind == "shifted" else 0
            self.send_header("Content-Range", f"bytes {start + shift}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        rest = content[start:]
        if kind != "nolength":
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if kind == "break" and times == 0:
            rest = rest[: len(rest) // 2]
        if kind == "always":
            rest = rest[: len(rest) // 10]
        if kind == "slow":
            for i in range(0, len(rest), 250_000):
                self.wfile.write(rest[i : i + 250_000])
                time.sleep(0.05)
        elif kind == "stall" and times == 0:
            self.wfile.write(rest[:1000])
            self.wfile.flush()
            time.sleep(1.0)
        else:
            self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    running.files["data.bin"] = CONTENT
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


Waits = list[float]


def fetched(server: Server, target: Path, *kinds: str, md5: str | None = MD5, waits: Waits | None = None) -> Path:
    addresses = [server.address(f"/{kind}/data.bin") for kind in kinds]
    waits = [] if waits is None else waits
    return get(addresses, target, md5, quiet=True, attempts=4, sleep=waits.append)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("kind", ["good", "slow", "nolength", "norange"])
def test_downloads(server: Server, tmp_path: Path, kind: str) -> None:
    assert fetched(server, tmp_path / "deep" / "file", kind).read_bytes() == CONTENT
    assert names(tmp_path / "deep") == ["file"]
    fetched(server, tmp_path / "deep" / "file", kind)
    assert server.asked[f"/{kind}/data.bin"] == 1  # it is there, with the right checksum


def test_resumes_where_the_connection_broke_off(server: Server, tmp_path: Path) -> None:
    waits: Waits = []
    assert fetched(server, tmp_path / "file", "break", waits=waits).read_bytes() == CONTENT
    first, second = server.ranges
    assert first is None
    assert second is not None
    assert 400_000 < int(second.removeprefix("bytes=").rstrip("-")) <= 500_000
    assert waits == [1]


def test_resumes_what_an_earlier_call_left(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:123_456])
    assert fetched(server, tmp_path / "file", "good").read_bytes() == CONTENT
    assert server.ranges == ["bytes=123456-"]
    (tmp_path / "other.part").write_bytes(CONTENT)  # complete, but not renamed yet
    assert fetched(server, tmp_path / "other", "good").read_bytes() == CONTENT
    assert not (tmp_path / "other.part").exists()


@pytest.mark.parametrize("kind", ["good", "norange", "shifted"])
def test_a_part_of_something_else_does_no_harm(server: Server, tmp_path: Path, kind: str) -> None:
    for rubbish in (b"x" * 1000, b"x" * 2_000_000):
        (tmp_path / "file.part").write_bytes(rubbish)
        assert fetched(server, tmp_path / "file", kind).read_bytes() == CONTENT
        (tmp_path / "file").unlink()


def test_gives_up_with_all_reasons_and_keeps_the_part(server: Server, tmp_path: Path) -> None:
    waits: Waits = []
    with pytest.raises(SisrError) as caught:
        fetched(server, tmp_path / "file", "404", "always", waits=waits)
    assert "404" in str(caught.value)
    assert "broke off" in str(caught.value) or "failed" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert waits == [1, 2, 4]  # none for the 404
    assert names(tmp_path) == ["file.part"]  # for the next call


def test_a_mirror_takes_over(server: Server, tmp_path: Path) -> None:
    assert fetched(server, tmp_path / "file", "404", "wrong", "good").read_bytes() == CONTENT
    assert server.asked["/404/data.bin"] == 1
    assert server.asked["/wrong/data.bin"] == 4
    assert names(tmp_path) == ["file"]


def test_wrong_bytes_never_get_the_final_name(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SisrError, match="checksum"):
        fetched(server, tmp_path / "file", "wrong")
    assert names(tmp_path) == []
    (tmp_path / "file").write_bytes(b"an older version")
    assert fetched(server, tmp_path / "file", "good").read_bytes() == CONTENT


def test_waits_as_long_as_the_server_asks(server: Server, tmp_path: Path) -> None:
    waits: Waits = []
    assert fetched(server, tmp_path / "file", "503", waits=waits).read_bytes() == CONTENT
    assert waits == [7, 7]


def test_a_server_that_falls_silent_is_asked_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", (1.0, 0.2))
    assert fetched(server, tmp_path / "file", "stall").read_bytes() == CONTENT


def test_addresses_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SisrError, match="not an address"):
        get(["nonsense"], tmp_path / "file", quiet=True)
    with pytest.raises(SisrError, match="connection failed"):
        get(["http://127.0.0.1:9/x"], tmp_path / "file", quiet=True, attempts=2, sleep=lambda _: None)


def test_two_at_once_download_once(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=fetched, args=(server, tmp_path / "file", "slow")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked["/slow/data.bin"] == 1
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_too_little_room_is_said_before_anything_is_downloaded(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 900_000))
    with pytest.raises(SisrError, match="MB free"):
        fetched(server, tmp_path / "file", "good")
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_keeps_the_part(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    class Full(io.FileIO):
        """A file on a disk that has room for 300,000 bytes."""

        def write(self, data: bytes) -> int:  # type: ignore[override]
            if self.tell() + len(data) > 300_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def open_(self: Path, mode: str = "r", *rest: object, **options: object) -> object:
        return Full(self, mode) if self.name == "file.part" and mode[0] in "aw" else real(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", open_)
    with pytest.raises(SisrError, match="disk is full"):
        fetched(server, tmp_path / "file", "good")
    monkeypatch.undo()
    assert names(tmp_path) == ["file.part"]
    assert fetched(server, tmp_path / "file", "good").read_bytes() == CONTENT
    assert server.ranges[-1] not in (None, "bytes=0-")


@pytest.fixture
def photographs(server: Server, tmp_path: Path) -> Dataset:
    """The three test photographs, as a set that has to be downloaded."""
    dataset = known()["photographs-test"]
    folder = fetch(dataset, tmp_path / "made", quiet=True).folder
    files = {f"photos/HR/{path.name}": path.read_bytes() for path in list_images(folder / "HR")}
    others = {"Set5/HR/baby.png": PICTURE}
    server.files["photos.zip"] = zipped(tmp_path / "photos.zip", **files, **others).read_bytes()
    altered = {**files, "photos/HR/coffee.png": png(pictures.coffee()[::-1])}
    server.files["altered.zip"] = zipped(tmp_path / "altered.zip", **altered).read_bytes()
    evil = {**files, "../../evil.png": PICTURE}
    server.files["evil.zip"] = zipped(tmp_path / "evil.zip", **evil).read_bytes()
    return replace(dataset, bundled=())


def source(server: Server, name: str, *kinds: str, md5: bool = True) -> Source:
    checksum = hashlib.md5(server.files[name]).hexdigest() if md5 else None
    return Source(name, tuple(server.address(f"/{kind}/{name}") for kind in kinds), "HR", checksum)


def test_a_set_is_downloaded_verified_and_put_in_place(
    server: Server, tmp_path: Path, photographs: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sisr.data.fetch.download", partial(get, sleep=lambda _: None))
    dataset = replace(photographs, sources=(source(server, "photos.zip", "404", "break"),))
    got = fetch(dataset, tmp_path / "data", quiet=True)
    assert got.report.complete
    assert got.came_from == "photos.zip"
    assert names(tmp_path / "data") == [".downloads", "photographs-test"]
    assert names(got.folder / "HR") == ["astronaut.png", "camera.png", "coffee.png"]
    assert names(got.folder) == ["HR"]
    asked = sum(server.asked.values())
    assert fetch(dataset, tmp_path / "data", quiet=True).came_from == "there already"
    assert sum(server.asked.values()) == asked


def test_the_next_source_is_taken_where_one_holds_other_images(
    server: Server, tmp_path: Path, photographs: Dataset
) -> None:
    sources = (
        source(server, "altered.zip", "good"),
        source(server, "evil.zip", "good", md5=False),
        source(server, "photos.zip", "good", md5=False),
    )
    got = fetch(replace(photographs, sources=sources), tmp_path / "data", quiet=True)
    assert got.came_from == "photos.zip"
    assert not list(tmp_path.rglob("evil.png"))


def test_where_no_source_has_it_all_reasons_are_said_and_nothing_is_left(
    server: Server, tmp_path: Path, photographs: Dataset
) -> None:
    sources = (
        source(server, "altered.zip", "good"),
        source(server, "evil.zip", "good"),
        source(server, "photos.zip", "404"),
    )
    with pytest.raises(SisrError) as caught:
        fetch(replace(photographs, sources=sources), tmp_path / "data", quiet=True)
    for words in ("coffee: other pixels", "unsafe", "404", "--from"):
        assert words in str(caught.value)
    assert names(tmp_path / "data") == [".downloads"]


def test_an_archive_without_checksum_that_was_wrong_is_asked_for_again(
    server: Server, tmp_path: Path, photographs: Dataset
) -> None:
    right = server.files["photos.zip"]
    server.files["photos.zip"] = b"<html>come back later</html>"
    dataset = replace(photographs, sources=(source(server, "photos.zip", "good", md5=False),))
    with pytest.raises(SisrError, match="damaged"):
        fetch(dataset, tmp_path / "data", quiet=True)
    server.files["photos.zip"] = right
    assert fetch(dataset, tmp_path / "data", quiet=True).report.complete


def test_a_set_is_taken_from_an_archive(server: Server, tmp_path: Path, photographs: Dataset) -> None:
    got = fetch(photographs, tmp_path / "data", origin=tmp_path / "photos.zip", quiet=True)
    assert got.report.complete
    assert not server.asked
    with pytest.raises(SisrError, match="coffee: other pixels"):
        fetch(photographs, tmp_path / "data", origin=tmp_path / "altered.zip", quiet=True)
    assert fetch(photographs, tmp_path / "data", quiet=True).report.complete  # what was there still is


def test_no_disk_space_while_copying_leaves_nothing(
    server: Server, tmp_path: Path, photographs: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(SisrError, match="No space left"):
        fetch(photographs, tmp_path / "data", origin=tmp_path / "made" / "photographs-test", quiet=True)
    assert names(tmp_path / "data") == []


def test_published_lr_images_are_added(server: Server, tmp_path: Path, photographs: Dataset) -> None:
    from sisr.data.imresize import imresize

    lr = {
        f"x_LR_bicubic/X4/{name}x4.png": png(imresize(getattr(pictures, name)(), 1 / 4)) for name in photographs.names
    }
    server.files["lr.zip"] = zipped(tmp_path / "lr.zip", **lr).read_bytes()
    dataset = replace(
        photographs, sources=(source(server, "photos.zip", "good"),), lr_sources={4: source(server, "lr.zip", "good")}
    )
    got = fetch(dataset, tmp_path / "data", lr=[4], quiet=True)
    assert got.lr == {4: "equal to today's MATLAB (symmetric border)"}
    with pytest.raises(SisrError, match="no archive of LR images of photographs-test at x2"):
        fetch(dataset, tmp_path / "data", lr=[2], quiet=True)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = str(tmp_path / "data")
    assert main(["fetch", "photographs-test", "--data", data]) == 0
    assert "all 3 images, 3 of them verified by their pixels" in capsys.readouterr().out
    assert main(["fetch", "--list", "--data", data]) == 0
    assert "Manga109" in capsys.readouterr().out
    assert main(["fetch", "--list", "--data", data, "--json"]) == 0
    assert '"there": 3' in capsys.readouterr().out
    for call, status, words in [
        (["fetch"], 2, "name a set"),
        (["fetch", "set5"], 2, "did you mean Set5"),
        (["fetch", "Manga109", "--data", data], 1, "apply at"),
        (["fetch", "Set5", "Set14", "--from", "x"], 2, "one set at a time"),
        (["fetch", "Set5", "--from", str(tmp_path / "none"), "--data", data], 1, "does not exist"),
    ]:
        assert main(call) == status
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
