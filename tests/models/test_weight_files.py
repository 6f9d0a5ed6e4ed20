"""Weights files that are malformed, wrapped or hostile: the network, or one sentence."""

import copy
import functools
import json
import os
import resource
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import models
from tests.helpers.fuzz import cases, damaged


def small(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return models.create(
        "enlcn", 2, **{"blocks": 2, "channels": 8, "slots": [0], "attention_options": {"m": 8}, **options}
    )


cached = functools.cache(small)


def released() -> dict[str, Tensor]:
    """The authors' layout: one residual block of 8 channels, without attention, scale 2."""
    shapes = {
        "head.0": (8, 3), "body.0.body.0": (8, 8), "body.0.body.2": (8, 8), "body.1": (8, 8), "tail.0.0": (32, 8),
        "tail.1": (3, 8),
    }  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    return {f"{name}.weight": torch.randn(*shape, 3, 3, generator=generator) for name, shape in shapes.items()} | {
        f"{name}.bias": torch.randn(shape[0], generator=generator) for name, shape in shapes.items()
    }


def outcome(path: Path) -> nn.Module | str:
    """The network of a file, or the sentence about it; anything else fails the test."""
    before = sorted(path.parent.iterdir())
    try:
        network = models.load(path)
    except ValueError as error:
        text = str(error)
        assert 10 < len(text) < 1500, text
        assert "\n" not in text
        return text
    finally:
        assert sorted(path.parent.iterdir()) == before
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    return network


def refused(path: Path) -> str:
    sentence = outcome(path)
    assert isinstance(sentence, str)
    return sentence


def own(path: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    """A file of this suite with changed configuration or tensors."""
    model = small()
    save_file(model.state_dict() if tensors is None else tensors, path, {"sisr": json.dumps(model.config | config)})
    return path


WRAPPED: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "params_ema": lambda state: {"params": {"x": torch.zeros(1)}, "params_ema": state},
    "params": lambda state: {"params_ema": None, "params": state, "iter": 5},
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model": lambda state: {"state_dict": {"model": state}},
    "net_g": lambda state: {"net_g": state, "net_d": {"x": torch.zeros(1)}},
    "generator": lambda state: {"generator": state},
    "module.": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "_orig_mod.": lambda state: {"params": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_checkpoints_are_unwrapped_and_reported(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = released()
    path = tmp_path / "checkpoint.PT"
    torch.save(WRAPPED[name](state), path)
    network = models.load(path)
    assert torch.equal(network.get_parameter("head.weight"), state["head.0.weight"])
    line, of_edsr = caplog.messages
    assert line.startswith(f"{path}: using ")
    assert repr(name) in line
    assert "residual scale" in of_edsr
    assert models.load(WRAPPED[name](state)).config == network.config  # the same for what torch.load returns


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: tensor.to(dtype) for name, tensor in released().items()}
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for path in (tmp_path / "a.pth", tmp_path / "a.safetensors"):
        network = outcome(path)
        assert isinstance(network, nn.Module)
        assert torch.equal(network.get_parameter("tail.weight"), state["tail.1.weight"].float())
    half = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in small().state_dict().items()
    }
    assert isinstance(outcome(own(tmp_path / "own.safetensors", half)), nn.Module)


def test_the_format_is_recognised_by_content(tmp_path: Path) -> None:
    models.save(small(), tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").rename(tmp_path / "a.ckpt")
    torch.save(released(), tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", **{name: tensor.numpy().astype(">f4") for name, tensor in released().items()})
    (tmp_path / "c.npz").rename(tmp_path / "c.pt")
    torch.save(released(), tmp_path / "d.pth", _use_new_zipfile_serialization=False)
    for path in sorted(tmp_path.iterdir()):
        assert isinstance(outcome(path), nn.Module)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"channels": 10**6}, "more than the file's weights"),
        ({"channels": 10**30}, "cannot be built"),
        ({"channels": 0}, "channels must be at least 3"),
        ({"channels": 8.5}, "channels must be a whole number"),
        ({"channels": 16}, "size mismatch"),
        ({"blocks": 10**9}, "blocks must be from 0 to"),
        ({"blocks": 9_000}, "more weights than the file"),
        ({"blocks": "4"}, "blocks must be a whole number"),
        ({"blocks": 2.5}, "blocks must be a whole number"),
        ({"slots": 5}, "cannot be built"),
        ({"slots": ["a"]}, "cannot be built"),
        ({"scale": 2.0}, "scale must be a whole number"),
        ({"scale": [2]}, "scale must be a whole number"),
        ({"residual_scale": "x"}, "residual_scale must be a finite number"),
        ({"name": "none"}, "unknown network"),
        ({"name": ["enlcn"]}, "cannot be built"),
        ({"attention": 5}, "cannot be built"),
        ({"attention": "nothing.here:Class"}, "was not found"),
        ({"attention_options": {"m": 10**9}}, "more than the file's weights"),
        ({"attention_options": {"m": 10**18}}, "cannot be built"),
        ({"attention_options": [1]}, "cannot be built"),
        ({"unknown": 1}, "has no option 'unknown'"),
        ({"name": "vdsr", "layers": 10**9}, "cannot be built"),
    ],
)
def test_configurations_that_do_not_fit(tmp_path: Path, config: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(own(tmp_path / "a.safetensors", **config))


@pytest.mark.parametrize("name", ["vdsr", "srmdnf", "lapsrn"])
def test_other_networks_with_a_huge_depth(tmp_path: Path, name: str) -> None:
    depth = "depth" if name == "lapsrn" else "layers"
    model = models.create(name, 2, **{depth: 3, "channels": 4})
    for value in (10**9, 10**30):
        save_file(model.state_dict(), tmp_path / "a.safetensors", {"sisr": json.dumps(model.config | {depth: value})})
        assert "its network cannot be built" in refused(tmp_path / "a.safetensors")


@pytest.mark.parametrize("metadata", ["[1, 2]", "7", '"enlcn"', "{", "[" * 100_000, '{"name": NaN}', "9" * 5000])
def test_metadata_that_is_not_a_configuration(tmp_path: Path, metadata: str) -> None:
    save_file(small().state_dict(), tmp_path / "a.safetensors", {"sisr": metadata})
    refused(tmp_path / "a.safetensors")


def change(name: str, to: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], Any]:
    return lambda state: state.update({name: to(state[name])})


@pytest.mark.parametrize(
    ("mutate", "sentence"),
    [
        (lambda state: state.pop("tail.bias"), 'Missing key.*"tail.bias"'),
        (lambda state: state.update(more=torch.zeros(2)), 'Unexpected key.*"more"'),
        (change("tail.bias", lambda bias: bias[:2].clone()), "size mismatch for tail.bias"),
        (change("tail.bias", lambda bias: bias.to(torch.int32)), "tail.bias is of type int32, not float32"),
        (change("tail.bias", lambda bias: bias.bool()), "tail.bias is of type bool"),
        (change("tail.bias", lambda bias: bias.to(torch.complex64)), "tail.bias is of type complex64"),
        (change("tail.bias", lambda bias: bias * torch.nan), "1 of .* tensors contain NaN or infinite values"),
        (change("head.bias", lambda bias: bias.double() + 1e300), "NaN or infinite"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, mutate: Callable[[dict[str, Tensor]], Any], sentence: str) -> None:
    state = small().state_dict()
    mutate(state)
    path = own(tmp_path / "a.safetensors", state)
    with pytest.raises(ValueError, match=sentence):
        models.load(path)


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("echo ran > ran",)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for zipped in (True, False):
        torch.save({"a": Hostile()}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        assert "system), which is never run" in refused(tmp_path / "a.pt")


def test_what_is_not_a_weights_file(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "matlab.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(500))
    np.savez(tmp_path / "text.npz", **{"head.0.weight": np.array(["text"]), "tail.0.0.weight": np.ones(3)})
    np.savez(tmp_path / "object.npz", a=np.array([Hostile()], dtype=object))
    torch.save({"epoch": 5, "head.0.weight": torch.ones(2)}, tmp_path / "number.pt")
    torch.save({"a": torch.ones(3).to_sparse()}, tmp_path / "sparse.pt")
    torch.save({"a": torch.ones(3, device="meta")}, tmp_path / "meta.pt")
    torch.save({}, tmp_path / "nothing.pt")
    for name, sentence in {
        "empty.pt": "is empty",
        "empty.safetensors": "is empty",
        "folder.pt": "is a folder",
        "matlab.mat": "not a MAT-file of MATLAB 5 to 7.2",
        "text.npz": "instead of numbers",
        "object.npz": "instead of numbers",
        "number.pt": "entry 'epoch' is of type int",
        "sparse.pt": "sparse, quantised or without values",
        "meta.pt": "sparse, quantised or without values",
        "nothing.pt": "its tensors (none …)",
    }.items():
        assert sentence in refused(tmp_path / name)


def test_files_that_describe_more_than_they_contain(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("a.npy", bytes(200 << 20))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    with zipfile.ZipFile(tmp_path / "shape.npz", "w") as file:
        file.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + bytes(400))
    torch.save({"head.0.weight": torch.ones(1).expand(10**6, 10**6)}, tmp_path / "expanded.pt")
    for name, sentence in {
        "bomb.npz": "would unpack to",
        "shape.npz": "is incomplete",
        "expanded.pt": "describes 4,000,000,000,000 bytes",
    }.items():
        assert sentence in refused(tmp_path / name)


def test_a_wide_first_layer_does_not_make_a_wide_network(tmp_path: Path) -> None:
    state = released() | {"head.0.weight": torch.zeros(100_000, 3, 3, 3)}
    torch.save(state, tmp_path / "a.pt")
    assert "its network cannot be built" in refused(tmp_path / "a.pt")


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(-5, 10**9), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


@st.composite
def weights_file(draw: Any) -> tuple[str, bytes]:
    """Suffix and content of a weights file with faults in configuration, header, tensors or bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        kind = draw(st.sampled_from(["configuration", "header", "tensors", "bytes", "bytes"]))
        suffix = draw(st.sampled_from([".safetensors", ".pt", ".npz"]))
        model = cached()
        state = dict(model.state_dict()) if suffix == ".safetensors" else released()
        config = copy.deepcopy(model.config)
        if kind == "configuration":
            suffix, state = ".safetensors", dict(model.state_dict())
            target = draw(st.sampled_from([config, config["attention_options"]]))
            target[draw(st.sampled_from(sorted(target)))] = draw(VALUES)
        if kind == "tensors":
            for name in draw(st.lists(st.sampled_from(sorted(state)), min_size=1, max_size=3, unique=True)):
                dtype = draw(st.sampled_from([torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool]))
                match draw(st.sampled_from(["drop", "type", "shape", "value", "name"])):
                    case "drop":
                        del state[name]
                    case "type":
                        state[name] = state[name].to(dtype)
                    case "shape":
                        state[name] = torch.zeros(draw(st.lists(st.integers(0, 40), max_size=4)))
                    case "value":
                        state[name] = state[name] * draw(st.floats(width=32))
                    case "name":
                        state[draw(st.text(min_size=1, max_size=12))] = state.pop(name)
        if suffix == ".safetensors":
            save_file(state, path, {"sisr": json.dumps(config)})
        elif suffix == ".pt":
            torch.save(state, path, _use_new_zipfile_serialization=draw(st.booleans()))
        else:
            with path.open("wb") as file:
                np.savez(file, **{name.replace("/", ""): tensor.numpy() for name, tensor in state.items()})
        content = path.read_bytes()
    if kind == "header" and suffix == ".safetensors":
        size = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + size])
        entry = header[draw(st.sampled_from(sorted(header)))]
        entry[draw(st.sampled_from(sorted(entry)))] = draw(
            VALUES | st.sampled_from(["F16", "I32", "BF16", "F4", "C64"])
        )
        text = json.dumps(header).encode()
        content = struct.pack("<Q", len(text)) + text + content[8 + size :]
    if kind == "bytes":
        content = draw(damaged(content))
    return suffix, content


@cases(200)
@given(weights_file())
def test_any_weights_file_gives_a_network_or_one_sentence(tmp_path: Path, case: tuple[str, bytes]) -> None:
    suffix, content = case
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # kilobytes
    path.unlink()


def test_undamaged_files_of_the_fuzz_test_are_whole(tmp_path: Path) -> None:
    models.save(small(), tmp_path / "a.safetensors")
    torch.save(released(), tmp_path / "a.pt")
    for path in sorted(tmp_path.iterdir()):
        assert isinstance(outcome(path), nn.Module)
    assert set(load_file(tmp_path / "a.safetensors")) == set(small().state_dict())
