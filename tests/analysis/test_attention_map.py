"""`attention-map`: which position of which image, by real trained networks, drawn, written raw, and refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skimage import data as photographs
from torch import nn

import models
from sisr.analysis.attention_maps import figure, layout, picture
from sisr.analysis.attention_maps import maps as look
from sisr.cli import main
from sisr.data.imresize import imresize
from sisr.report.figures import style
from sisr.results.labels import labelled, network_label, unique
from sisr.training.train import train
from sisr.utils.errors import SisrError, UsageError
from tests.helpers import small_run
from tests.models.test_models import released

NETWORKS = {
    "enlcn": small_run.NETWORK,
    "k1": replace(small_run.NETWORK, attention_options={"k": 1.0, "m": 16}),
    "enla": replace(small_run.NETWORK, name="edsr", attention="enla", attention_options={"k": 6.0, "m": 16}),
    "nlsn": replace(small_run.NETWORK, name="nlsn", attention="nlsa", attention_options={"rounds": 2, "chunk": 24}),
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that were really trained, in runs/, and the images they were trained on, in prepared/photos."""
    folder = tmp_path_factory.mktemp("attention")
    small_run.prepare(folder / "prepared")
    settings = replace(small_run.SETTINGS, steps=3, contrastive_start=0)
    for name, network in NETWORKS.items():
        loss = settings if network.name == "enlcn" else replace(settings, contrastive_weight=0.0)
        run = replace(small_run.RUN, network=network, training=loss)
        train(run, folder / "tiny" / "runs" / name, data=folder / "prepared", device="cpu")
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in NETWORKS:
        (tmp_path / name).symlink_to(trained / "tiny" / "runs" / name)
    (tmp_path / "photos").symlink_to(trained / "prepared" / "photos")
    return tmp_path


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    """What the verb answers with --json; it must succeed."""
    assert main(["attention-map", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit status and what is said, which is one line."""
    status = main(["attention-map", *words])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return status, said.removeprefix("sisr attention-map: ").strip()


def by_hand(file: Path, lr: np.ndarray, row: int, column: int) -> np.ndarray:
    """The row of exact softmax in the last slot, from the weights themselves."""
    model = models.load(file)
    x = torch.from_numpy(lr.transpose(2, 0, 1).copy())[None].float() / 255
    with torch.no_grad():
        x = model.head(x - model.mean)
        for block in model.blocks:
            x = block(model.attention["0"](x) if block is model.blocks[0] else x)
        last = model.attention["2"]
        query, key = (
            nn.functional.conv2d(x, conv.weight, conv.bias)[0].flatten(1).double() for conv in (last.query, last.key)
        )
    query, key = (6.0**0.5 * y / y.norm(dim=0) for y in (query, key))
    logits = query[:, row * lr.shape[1] + column] @ key
    return (logits.exp() / logits.exp().sum()).reshape(lr.shape[:2]).numpy()


def test_the_map_of_a_trained_network_is_its_exact_softmax(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ask(capsys, "photos:cat", "--at", "101,47", "--run", "enlcn", "-o", "map.png", "--raw", "map.npy")
    assert (told["of"], told["lr_position"]) == ("HR", [23, 50])
    (found,) = np.load("map.npy")
    expected = by_hand(here / "enlcn" / "weights.safetensors", imresize(photographs.chelsea()[:120, :140], 0.5), 23, 50)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    (shown,) = told["maps"]
    assert (shown["label"], shown["slot"], shown["k"], shown["positions"]) == ("ENLCA, k = 6, m = 16", "2", 6, 60 * 70)
    rows, columns = np.indices((60, 70))
    near = (rows - 23) ** 2 + (columns - 50) ** 2 <= 64
    assert shown["near"] == pytest.approx(expected[near].sum(), rel=1e-3)
    assert shown["near_if_even"] == pytest.approx(near.mean())
    assert shown["effective_positions"] == pytest.approx(np.exp(-(expected * np.log(expected)).sum()), rel=1e-3)


def test_lr_and_reduced_files_mean_the_same_pixels(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hr = photographs.chelsea()[:120, :140]
    Image.fromarray(hr).save("cat.png")
    Image.fromarray(imresize(hr, 0.5)).save("small.png")
    maps = []
    for words in (
        ["photos:cat", "--at", "33,90"],
        ["cat.png", "--reduce", "--at", "32,91"],
        ["small.png", "--at", "16,45"],
    ):
        told = ask(capsys, *words, "--run", "nlsn", "--slot", "all", "-o", "map.png", "--raw", "map.npy")
        assert told["lr_position"] == [45, 16]
        maps.append(np.load("map.npy"))
    assert maps[0].shape == (2, 60, 70)
    assert np.array_equal(maps[0], maps[1])
    assert np.array_equal(maps[0], maps[2])
    np.testing.assert_allclose(maps[0].sum((1, 2)), 1, atol=1e-5)


def test_every_corner_of_an_image_can_be_marked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (network,), _ = look.open_sources(["nlsn"])
    image = picture.open_picture("photos:camera", 2)
    height, width = image.shown.shape
    for x, y in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        (found,) = look.look(network, image, image.position(x, y))
        assert found.weights.sum() == pytest.approx(1, abs=1e-5)
        assert found.weights[found.position] > 0  # NLSA always sees the position itself
    for x, y in ((width, 0), (0, height), (-1, 0), (0, -1)):
        with pytest.raises(UsageError, match=rf"--at {x},{y} is outside of camera, whose HR image has 100 x 96 pixels"):
            image.position(x, y)


def test_the_estimate_is_what_the_released_network_computes(here: Path) -> None:
    """The authors' checkpoint, and their network written out: weights of random features, and exact ones."""
    theirs = released(scale=2, channels=16, every=1, groups=1, m=20)
    torch.save(theirs.state_dict(), "ENLCAx2.pt")
    (network,), _ = look.open_sources(["ENLCAx2.pt"])
    assert (network.label, network.contrastive) == ("ENLCA, k = 6, m = 20", True)
    lr = imresize(photographs.chelsea()[:40, :36], 0.5)
    image = picture.Picture("cat", lr, lr, 1)
    (exact,), (estimate,) = (look.look(network, image, (7, 11), ["0"], estimate=flag) for flag in (False, True))
    attention = theirs.body[0]
    with torch.no_grad():
        x = theirs.head(theirs.sub_mean(torch.from_numpy(lr.transpose(2, 0, 1).copy())[None].float() / 255))
        theta, delta = attention.similar(x)
        F_ = attention.attn_fn.projection_matrix
        phi_q, phi_k = (torch.exp(F_ @ y - y.square().sum(1, keepdim=True) / 2) + 1e-4 for y in (theta, delta))
        place = 7 * 18 + 11
        for weights, found in (
            (torch.exp(theta.transpose(1, 2) @ delta)[0, place], exact),
            ((phi_q.transpose(1, 2) @ phi_k)[0, place], estimate),
        ):
            np.testing.assert_allclose(found.weights.ravel(), (weights / weights.sum()).numpy(), rtol=1e-3)


def test_other_k_is_the_same_similarity_amplified(here: Path) -> None:
    (network,), _ = look.open_sources(["enlcn"])
    image = picture.open_picture("photos:cat", 2)
    one, six = (look.look(network, image, (30, 30), k=k)[0].weights.astype(np.float64) for k in (1.0, 6.0))
    (own,) = look.look(network, image, (30, 30))
    np.testing.assert_allclose(six, own.weights, rtol=1e-4)
    np.testing.assert_allclose(six, one**6 / (one**6).sum(), rtol=1e-2)


def test_over_k_has_a_column_a_k_and_a_line_a_mechanism(here: Path) -> None:
    networks, _ = look.open_sources(["enlcn", "k1", "enla"])
    image = picture.open_picture("photos:cat", 2)
    maps = [
        shown
        for network in networks
        for flag in (True, False)
        for shown in look.look(network, image, (5, 6), estimate=flag)
    ]
    lines = layout.over_k(maps)
    titles = [line.title for line in lines]
    assert titles == [
        "ENLCA, m = 16, with contrastive loss",
        "ENLA, m = 16, without contrastive loss",
        "ENLCA, m = 16, with contrastive loss: estimate",
        "ENLA, m = 16, without contrastive loss: estimate",
    ]
    labels = [[shown.label if shown else None for shown in line.panels] for line in lines]
    assert labels == [["k = 1", "k = 6"], [None, "k = 6"]] * 2
    changed = layout.over_k(
        [*look.look(networks[0], image, (5, 6), k=6.0), *look.look(networks[0], image, (5, 6), k=2.0)]
    )
    assert [line.title for line in changed] == ["ENLCA, k = 6, m = 16, shown at other k"]
    assert [shown.label for shown in changed[0].panels] == ["k = 2", "k = 6"]
    own = look.look(networks[1], image, (5, 6))[0].weights
    assert np.array_equal(lines[0].panels[0].weights, own)


def test_raw_table_has_one_row_a_position(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(capsys, "photos:cat", "--run", "A=enlcn", "B=nlsn", "--slot", "first", "-o", "map.svg", "--raw", "map.csv")
    table = pd.read_csv("map.csv")
    assert list(table.columns) == ["map", "run", "slot", "k", "row", "column", "weight"]
    assert table.groupby("map").size().to_dict() == {"A": 4200, "B": 4200}
    assert table.groupby("map")["weight"].sum().tolist() == pytest.approx([1, 1], abs=1e-5)
    assert "<svg" in Path("map.svg").read_text()


def test_the_same_call_gives_the_same_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = []
    for name in ("one", "two"):
        ask(capsys, "photos:cat", "--at", "60,60", "--run", "enlcn", "nlsn", "-o", f"{name}.png", f"{name}.svg")
        written.append([Path(f"{name}.{ending}").read_bytes() for ending in ("png", "svg")])
    assert written[0] == written[1]
    # what is honest about it stands in the picture
    assert "a toy scale, 3 steps" in written[0][1].decode()
    assert "Not comparable" in written[0][1].decode()


def test_all_maps_share_one_scale_of_colours() -> None:
    peaked, even = np.full((8, 8), 0.5 / 63), np.full((8, 8), 1 / 64)
    peaked[2, 3] = 0.5
    line = figure.Line("", [figure.Panel("peaked", peaked), None, figure.Panel("even", even)])
    with style.settings():
        drawn = figure.draw(np.zeros((32, 32, 3), np.uint8), (13, 9), [line])
    images = [axes.images[0] for axes in drawn.axes if axes.images and axes.images[0].norm.vmax != 255]
    assert len(images) == 2
    assert images[0].norm is images[1].norm
    assert images[0].norm.vmax == pytest.approx(32)
    assert np.asarray(images[1].get_array()) == pytest.approx(np.ones((8, 8)))
    # a map covers the image, and its largest weight lies under the pixels of its LR position
    assert images[0].get_extent() == [-0.5, 31.5, 31.5, -0.5]


@pytest.mark.parametrize("shape", [(90, 30), (60, 90), (12, 120), (200, 8)])
def test_nothing_overlaps_in_narrow_and_wide_pictures(shape: tuple[int, int]) -> None:
    weights = np.full(shape, 1 / (shape[0] * shape[1]))
    under = ["12.3 % within 8 LR pixels (even: 12.3 %)", "effective: 99,999 of 99,999 positions"]
    lines = [figure.Line("slot 0", [figure.Panel("ENLCA, k = 6", weights, under)] * 3)] * 2
    with style.settings():
        drawn = figure.draw(np.zeros(shape, np.uint8), (1, 1), lines, "picture", "said", False, "note")
        drawn.canvas.draw()
        boxes = [axes.get_window_extent() for axes in drawn.axes] + [text.get_window_extent() for text in drawn.texts]
    whole = drawn.get_window_extent()
    for index, one in enumerate(boxes):
        assert whole.x0 <= one.x0 < one.x1 <= whole.x1
        assert whole.y0 <= one.y0 < one.y1 <= whole.y1
        assert not any(one.overlaps(other) for other in boxes[index + 1 :])


def save(name: str, **options: object) -> str:
    """A weights file of an untrained network."""
    torch.manual_seed(0)
    models.save(
        models.create("edsr", **{"scale": 2, "blocks": 1, "channels": 8, "slots": (0,), **options}),
        f"{name}.safetensors",
    )
    return f"{name}.safetensors"


def test_what_cannot_be_drawn_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, channel, convolution = (
        save("plain"),
        save("channel", attention="channel"),
        save("conv", attention="convolution"),
    )
    four = save("four", attention="nla", scale=4)
    cat = ["photos:cat", "--at", "5,5"]
    for status, sentence, words in (
        (2, "--at 140,5 is outside of cat, whose HR image has 140 x 120 ", [*cat, "--at", "140,5", "--run", "nlsn"]),
        (2, "--at needs X,Y in pixels, for example 120,64, not five.", ["photos:cat", "--at", "five", "--run", "nlsn"]),
        (2, "there is no image 'dog' in photos; it has cat, camera.", ["photos:dog", "--run", "nlsn"]),
        (1, "image dog.png does not exist; give a file, or SET:NAME", ["dog.png", "--run", "nlsn"]),
        (1, f"{plain} cannot be drawn: edsr has no attention in this network", [*cat, "--run", plain]),
        (1, f"{channel} cannot be drawn: Channel has no map: its weights are between ", [*cat, "--run", channel]),
        (1, f"{convolution} cannot be drawn: Convolution has no map: the weights of a ", [*cat, "--run", convolution]),
        (2, f"{four} upscales x4, not x2; choose networks of one scale.", [*cat, "--run", "nlsn", four]),
        (2, "nlsn upscales x2, not x4; choose networks of one scale.", [*cat, "--run", "nlsn", "--scale", "4"]),
        (1, "nowhere is neither a weights file nor a run folder", [*cat, "--run", "nowhere"]),
        (2, "nlsn has no attention in slot 7; it has 0, 2.", [*cat, "--run", "nlsn", "--slot", "7"]),
        (2, "nlsn has no amplification factor", [*cat, "--run", "nlsn", "--over", "k"]),
        (1, "nlsn cannot be drawn: its query and key are not normalised", [*cat, "--run", "nlsn", "--k", "2"]),
        (2, "argument --k: must be a number above 0, not 0", [*cat, "--run", "enlcn", "--k", "0"]),
        (2, "figures are written as .png, .svg or .pdf, not as map.gif.", [*cat, "--run", "nlsn", "-o", "map.gif"]),
        (2, "--raw writes .npy or .csv, not map.txt.", [*cat, "--run", "nlsn", "--raw", "map.txt"]),
        (2, "photos is a set with LR images; remove --reduce.", [*cat, "--reduce", "--run", "nlsn"]),
    ):  # fmt: skip
        found = refused(capsys, *words)
        assert found[0] == status, words
        assert found[1].startswith(sentence), words
    assert not list(here.glob("*.png"))


def test_networks_without_a_map_can_be_left_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channel = save("channel", attention="channel")
    told = ask(capsys, "photos:cat", "--run", "nlsn", channel, "--skip", "-o", "map.svg")
    assert [shown["label"] for shown in told["maps"]] == ["NLSA-r2"]
    assert told["skipped"] == [
        f"Skipped: {channel} (Channel has no map: its weights are between channels, not between positions)."
    ]
    assert "Skipped: " in Path("map.svg").read_text()
    with pytest.raises(SisrError, match="cannot be drawn"):
        look.open_sources([channel], skip=True)


def test_labels() -> None:
    assert labelled("mine=runs/a") == ("mine", "runs/a")
    assert labelled("runs/a") == (None, "runs/a")
    assert unique(["A", "A", "B"], [None, None, None]) == ["A (1)", "A (2)", "B"]
    config = {"name": "enlcn", "attention": "enlca", "attention_options": {"k": 6.0, "m": 128}}
    assert network_label(config, None) == "ENLCN"
    assert network_label({**config, "attention_options": {"k": 2.0, "m": 128}}, None) == "ENLCN, k = 2"
    assert network_label({"name": "edsr", "attention": "nla"}, None) == "NLA (exact)"
    assert network_label({"name": "srmdnf"}, None) == "SRMDNF"


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_without_a_position_the_strongest_contrast_is_marked(factor: int) -> None:
    lr = np.full((40, 50), 90, np.uint8)
    lr[20:23, 31:34] = 240
    image = picture.Picture("spot", np.kron(lr, np.ones((factor, factor), np.uint8)), lr, factor)
    row, column = image.position(*image.contrast())
    assert abs(row - 21) <= 4
    assert abs(column - 32) <= 4
