"""Every source of the catalogue, played by a server on this machine: its archive, its redirects, its headers."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from sisr.cli import main
from sisr.data import catalog, sources
from sisr.data.catalog import Dataset, Fingerprint, Source, known
from sisr.data.fetch import fetch
from sisr.data.image_files import list_images, pixel_hash, read_image
from sisr.data.imresize import imresize
from sisr.utils.errors import SisrError
from tests.data.test_fetch_archives import png

HR = "{set}/HR/{name}.png"
# what stands where in each archive, as its publisher laid it out; `{set}` is the set's name there
LAYOUTS = {
    "DIV2K_train_HR.zip": ("DIV2K_train_HR/{name}.png",),
    "DIV2K_valid_HR.zip": ("DIV2K_valid_HR/{name}.png",),
    "Flickr2K.zip": ("Flickr2K/{name}.png",),
    "Flickr2K.tar": ("Flickr2K/Flickr2K_HR/{name}.png", "Flickr2K/Flickr2K_LR_bicubic/X4/{name}x4.png"),
    "BSDS500-master.zip": ("BSDS500-master/BSDS500/data/images/{split}/{name}.png",),
    "BSR_bsds500.tgz": ("BSR/BSDS500/data/images/{split}/{name}.png",),
    "SR_training_datasets.zip": ("SR_training_datasets/T91/{name}.png",),
    "SR_testing_datasets.zip": ("SR_testing_datasets/{lapsrn}/{name}.png",),
    "benchmark.tar": ("benchmark/" + HR, "benchmark/{set}/LR_bicubic/X4/{name}x4.png"),
    "Set5_HR.tar.gz": ("Set5_HR/{name}.png",),
    "Set14_HR.tar.gz": ("Set14_HR/{name}.png",),
    "BSD100_HR.tar.gz": ("BSD100_HR/{name}.png",),
    "Urban100_HR.tar.gz": ("Urban100_HR/{name}.png",),
    "PAN-master.zip": ("PAN-master/datasets/" + HR, "PAN-master/datasets/{set}/LR_bicubic/X4/{name}x4.png"),
    "dcscn-super-resolution-master.zip": ("dcscn-super-resolution-master/data/bsd100/img_{number:03d}.png",),
    "SelfExSR-master.zip": (
        "SelfExSR-master/data/Urban100/image_SRF_4/img_{number:03d}_SRF_4_HR.png",
        "SelfExSR-master/data/Urban100/image_SRF_4/img_{number:03d}_SRF_4_LR.png",
    ),
}
LR = "DIV2K_{part}_LR_bicubic/X{scale}/{name}x{scale}.png"
CASES = [(name, source) for name, dataset in known().items() for source in dataset.sources]


class Server(ThreadingHTTPServer):
    """Answers each path with what is in `files`; GitHub redirects, and states neither a size nor supports ranges."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def answer(self, with_body: bool) -> None:
        self.server.asked[f"{self.command} {self.path}"] += 1
        if self.path.startswith(("/github.com/", "/huggingface.co/")):
            host = "/codeload" if "github" in self.path else "/cdn"
            self.send_response(302)
            self.send_header("Location", host + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not with_body and self.path.startswith("/nohead/"):
            self.send_error(405)
            return
        name = self.path.rpartition("/")[2]
        content = self.server.files.get(self.path, self.server.files.get(name))
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        if chunked := self.path.startswith("/codeload/"):
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not with_body:
            return
        if chunked:
            for start in range(0, len(content), 1 << 16):
                part = content[start : start + (1 << 16)]
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.answer(True)

    def do_HEAD(self) -> None:
        self.answer(False)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (24, 36, 3), dtype=np.uint8)


def small(name: str, images: int = 3) -> tuple[Dataset, dict[str, np.ndarray]]:
    """A set of the catalogue with a few made-up images of the right names, known by their pixels."""
    dataset = known()[name]
    pictures = {image: picture(number) for number, image in enumerate(dataset.names[:images])}
    prints = {image: Fingerprint(24, 36, 3, pixel_hash(pixels), {}) for image, pixels in pictures.items()}
    by_pixels = bool(dataset.fingerprints)  # otherwise by name, as the whole set
    return (
        replace(dataset, images=images, names=tuple(pictures), fingerprints=prints if by_pixels else {}),
        pictures,
    )


def members(source: Source, name: str, pictures: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The content of a source's archive: this set as it is laid out there, beside other sets and other files."""
    files = {}
    for number, (image, pixels) in enumerate(pictures.items(), 1):
        for layout in LAYOUTS[source.archive]:
            path = layout.format(
                set=name,
                name=image,
                number=number,
                split="train" if number % 2 else "test",
                lapsrn="BSDS100" if name == "B100" else name,
            )
            lr = "x4.png" in path or path.endswith("_LR.png")
            files[path] = png(imresize(pixels, 1 / 4) if lr else pixels)
    top = next(iter(files)).partition("/")[0]
    files[f"{top}/README.md"] = b"text"
    if source.archive in ("benchmark.tar", "SR_testing_datasets.zip", "SR_training_datasets.zip", "PAN-master.zip"):
        other = "datasets/Set18" if source.archive.startswith("PAN") else "General100"
        files[f"{top}/{other}/HR/im_1.png"] = png(picture(90))
    if source.folder:  # a repository has pictures of its own, some with the names of this set
        files[f"{top}/figures/teaser.png"] = png(picture(91))
        files[f"{top}/results/{next(iter(pictures))}.png"] = png(picture(92))
    return files


def archive(name: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w") as file:
            for path, content in files.items():
                file.writestr(path, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz" if name.endswith("gz") else "w") as tar:
            for path, content in files.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def local(server: Server, source: Source, content: bytes) -> Source:
    """The source with all its addresses on this machine; the last path names its archive."""
    addresses = []
    for address in source.addresses:
        path = "/" + address.partition("://")[2]
        server.files[path] = server.files["/codeload" + path] = server.files["/cdn" + path] = content
        addresses.append(server.address(path))
    return replace(source, addresses=tuple(addresses), md5=source.md5 and hashlib.md5(content).hexdigest(), bytes=None)


@pytest.mark.parametrize(("name", "source"), CASES, ids=[f"{name}-{source.archive}" for name, source in CASES])
def test_every_source_gives_its_set(server: Server, tmp_path: Path, name: str, source: Source) -> None:
    dataset, pictures = small(name)
    content = archive(source.archive, members(source, name, pictures))
    got = fetch(replace(dataset, sources=(local(server, source, content),)), tmp_path, quiet=True)
    assert got.came_from == source.archive
    stored = {path.stem: read_image(path) for path in list_images(got.folder / "HR")}
    assert stored.keys() == pictures.keys()
    assert all(np.array_equal(stored[image], pixels) for image, pixels in pictures.items())
    if any("x4.png" in layout or "_LR" in layout for layout in LAYOUTS[source.archive]):
        assert got.lr == {4: "equal to today's MATLAB (symmetric border)"}
    else:
        assert got.lr == {}


@pytest.mark.parametrize("part", ["train", "valid"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_archive_of_lr_gives_its_images(server: Server, tmp_path: Path, part: str, scale: int) -> None:
    name = "DIV2K" if part == "train" else "DIV2K-valid"
    dataset, pictures = small(name)
    hr, lr = dataset.sources[0], dataset.lr_sources[scale]
    files = {
        LR.format(part=part, scale=scale, name=image): png(imresize(pixels, 1 / scale))
        for image, pixels in pictures.items()
    }
    sources_ = local(server, hr, archive(hr.archive, members(hr, name, pictures)))
    lr_ = local(server, lr, archive(lr.archive, files))
    got = fetch(replace(dataset, sources=(sources_,), lr_sources={scale: lr_}), tmp_path, lr=[scale], quiet=True)
    assert got.lr == {scale: "equal to today's MATLAB (symmetric border)"}


def test_checksums_are_of_archives_and_not_of_repositories() -> None:
    for name, source in CASES:
        changing = any("/archive/refs/heads/" in address for address in source.addresses)
        assert changing == bool(source.folder), name
        if changing:
            assert source.md5 is None
            assert known()[name].names  # verified by its images
    for name in ("Set5", "Set14", "B100", "Urban100"):
        first, *_ = known()[name].sources
        assert "huggingface.co/datasets/eugenesiow/" in first.addresses[0]
    # what deepinv records for these is a digest of the unpacked folder, so no archive can have it
    assert [known()[name].sources[0].md5 for name in ("Set5", "Set14", "B100")] == [None] * 3


def test_dead_sources_are_tried_last_and_once(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, dataset in known().items():
        dead = [bool(source.dead) for source in dataset.sources]
        assert dead == sorted(dead), name
    dataset, _ = small("T91")
    gone = replace(dataset.sources[0], addresses=("http://127.0.0.1:9/a.zip",))
    with pytest.raises(SisrError) as caught:
        fetch(replace(dataset, sources=(gone,)), tmp_path, quiet=True)
    assert "times" not in str(caught.value)
    assert "reported dead (the host no longer answers" in str(caught.value)
    assert "--from" in str(caught.value)


def test_only_the_named_folder_of_a_repository_is_unpacked(server: Server, tmp_path: Path) -> None:
    """A picture of the set's name elsewhere in the repository is not taken, and a huge one is not unpacked."""
    dataset, pictures = small("Urban100")
    source = next(source for source in dataset.sources if source.folder)
    files = members(source, "Urban100", pictures)
    files["SelfExSR-master/data/Urban100/image_SRF_2/img_001_SRF_2_HR.png"] = b"not a picture"
    content = archive(source.archive, files)
    got = fetch(replace(dataset, sources=(local(server, source, content),)), tmp_path, quiet=True)
    assert got.report.complete
    assert not got.report.extra


def test_whether_sources_answer_is_asked_without_a_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files |= {"a.zip": bytes(2_000_000), "b.zip": b"x"}
    github = Source("repo.zip", (server.address("/github.com/a.zip"),), "HR", folder="data")
    whole = Source("a.zip", (server.address("/nohead/a.zip"), server.address("/there/a.zip")), "HR", bytes=2_000_000)
    other = Source("b.zip", (server.address("/there/b.zip"),), "HR", bytes=7)
    gone = Source("c.zip", (server.address("/there/c.zip"), "http://127.0.0.1:9/c.zip"), "HR", dead="since ever")
    sets = {
        "good": replace(known()["Set5"], name="good", sources=(github, whole, gone)),
        "bad": replace(known()["Set14"], name="bad", sources=(other, gone)),
        "asked": replace(known()["Manga109"], name="asked"),
    }
    monkeypatch.setattr(catalog, "known", lambda *_: sets)
    monkeypatch.setattr(catalog, "find", lambda name, _: sets[name])
    assert main(["fetch", "--check", "good", "asked"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6
    assert said[0].endswith("/github.com/a.zip  answers")  # made on demand: its size is not known
    assert said[1].endswith("/nohead/a.zip  answers, 2.0 MB")
    assert said[3].endswith("does not answer: 404 Not Found (reported dead: since ever)")
    assert "does not answer: NewConnectionError" in said[4]
    assert said[5].split() == ["asked", "on", "request"]
    assert main(["fetch", "--check"]) == 1  # `bad` has none that works
    assert "it has 1 bytes instead of 7" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert server.asked["GET /there/a.zip"] == 0  # no body was asked for where HEAD is answered


def test_a_silent_source_is_given_up(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/a.zip"
        dataset = replace(known()["Set5"], sources=(Source("a.zip", (address,), "HR"),))
        (answer,) = sources.ask([dataset], timeout=(0.5, 0.2))
    assert not answer.works
    assert "Timeout" in answer.error
