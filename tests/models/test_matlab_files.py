"""MAT-files as `scipy.io` writes them: VDSR's authors' layout, and files that are odd, damaged or hostile."""

import resource
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

import models
from models.matlab_files import read
from tests.helpers.fuzz import cases, damaged

LARGEST = 64 << 20


def cells(arrays: list[Any]) -> np.ndarray:
    made = np.empty((1, len(arrays)), dtype=object)
    for number, array in enumerate(arrays):
        made[0, number] = array
    return made


def released(layers: int = 3, channels: int = 4) -> dict[str, Any]:
    """The authors' layout: a struct of two rows of cells, weights (height, width, in, out)."""
    random = np.random.default_rng(0)
    widths = [1, *[channels] * (layers - 1), 1]
    weights = [random.normal(size=(3, 3, a, b)).astype(np.float32) for a, b in pairwise(widths)]
    biases = [random.normal(size=(b, 1)).astype(np.float32) for b in widths[1:]]
    weights[-1] = weights[-1][..., 0]  # MATLAB drops the last axis
    return {"model": {"weight": cells(weights), "bias": cells(biases)}}


@pytest.mark.parametrize("compressed", [True, False])
def test_vdsrs_layout(tmp_path: Path, compressed: bool) -> None:
    content = released()
    savemat(tmp_path / "a.mat", content, do_compression=compressed)
    model = models.load(tmp_path / "a.mat", scale=3)
    assert model.config == {"name": "vdsr", "scale": 3, "layers": 3, "channels": 4, "bias": True}
    weights, biases = content["model"]["weight"][0], content["model"]["bias"][0]
    # a convolution in MatConvNet is a sum over (row, column, channel) without flipping
    x = np.random.default_rng(1).normal(size=(5, 5, 1))
    expected = np.einsum("yxi,yxio->o", x[1:4, 2:5], weights[0]) + biases[0][:, 0]
    found = model.layers[0](torch.from_numpy(x).float().permute(2, 0, 1)[None])[0, :, 2, 3]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(model.layers[2].weight[0, 1].detach().numpy(), weights[2][:, :, 1])
    models.save(model, tmp_path / "a.safetensors")
    assert torch.equal(models.load(tmp_path / "a.safetensors").layers[1].bias, model.layers[1].bias)
    with pytest.raises(ValueError, match="serve all scales"):
        models.load(tmp_path / "a.mat")


def test_every_kind_of_number_and_place(tmp_path: Path) -> None:
    content = {
        "a": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "b": cells([np.float64(1.5), np.int16([[-7, 8]]), {"inner": np.ones((2, 1, 2), np.float32)}]),
        "empty": cells([]),
    }
    savemat(tmp_path / "a.mat", content)
    found = read(tmp_path / "a.mat", LARGEST)
    assert {name: tuple(each.shape) for name, each in found.items()} == {
        "a": (2, 3), "b.0": (1, 1), "b.1": (1, 2), "b.2.inner": (2, 1, 2),
    }  # fmt: skip
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b.1"].tolist() == [[-7, 8]]


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind: int, shape: tuple[int, ...], *parts: bytes, name: bytes = b"model") -> bytes:
    flags = element(6, struct.pack("<II", kind, 0))
    sizes = element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, flags + sizes + element(1, name) + b"".join(parts))


HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"


def nested(depth: int) -> bytes:
    return array(1, (1, 1), nested(depth - 1)) if depth else array(7, (1, 1), element(7, struct.pack("<f", 1.0)))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", "not a MAT-file of MATLAB 5 to 7.2"),
        (HEADER[:-2] + b"MI", "not a MAT-file of MATLAB 5 to 7.2"),
        (HEADER, "tensors (none"),
        (HEADER + element(14, bytes(16))[:-4], "incomplete"),
        (HEADER + array(1, (100_000, 100_000)), "tensors (none"),  # cells that are not there
        (HEADER + array(7, (100_000, 100_000), element(7, bytes(8))), "has 2 values for the shape"),
        (HEADER + array(7, (-1, 4), element(7, bytes(8))), "has the shape"),
        (HEADER + array(4, (1, 4), element(4, b"text")), "not an array of real numbers"),
        (HEADER + array(17, (1, 1)), "not an array of real numbers"),
        (HEADER + array(7, (1, 2), element(14, bytes(8))), "data of type 14 instead of numbers"),
        (HEADER + element(3, bytes(8)), "an element of type 3"),
        (HEADER + nested(30), "nested more than"),
        (HEADER + struct.pack("<II", 15, 8) + b"no zlib!", "header check"),
    ],
)
def test_odd_files_are_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the sentence is below)
        models.load(tmp_path / "a.mat", scale=2)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_unpacks_to_more_than_it_may(tmp_path: Path) -> None:
    packed = zlib.compress(array(7, (1, 1 << 26), element(7, bytes(1 << 28))), 9)
    (tmp_path / "a.mat").write_bytes(HEADER + struct.pack("<II", 15, len(packed)) + packed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="would unpack to more than"):
        models.load(tmp_path / "a.mat", scale=2)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10  # kilobytes


@pytest.mark.parametrize("changed", ["layer", "bias", "shape"])
def test_weights_that_do_not_fit(tmp_path: Path, changed: str) -> None:
    content = released()
    model = content["model"]
    if changed == "layer":
        model["weight"] = model["weight"][:, :2]
    elif changed == "bias":
        model["bias"] = model["bias"][:, :2]
    else:
        model["weight"][0, 1] = np.ones((5, 5, 4, 4), np.float32)
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(ValueError, match="do not fit VDSR") as error:
        models.load(tmp_path / "a.mat", scale=2)
    assert "\n" not in str(error.value)


@cases(200)
@given(st.data())
def test_any_damaged_file_gives_a_network_or_one_sentence(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.mat"
    savemat(path, released(), do_compression=data.draw(st.booleans()))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = ""
    try:
        models.load(path, scale=2)
    except ValueError as error:
        said = str(error)
    assert "\n" not in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # kilobytes


def test_the_authors_file(reference_data: Path) -> None:
    model = models.load(reference_data / "weights" / "VDSR_Official.mat", scale=4)
    assert model.config == {"name": "vdsr", "scale": 4, "layers": 20, "channels": 64, "bias": True}
    assert sum(parameter.numel() for parameter in model.parameters()) == 664_704 + 19 * 64 + 1
