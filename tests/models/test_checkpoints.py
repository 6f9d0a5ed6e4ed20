"""Checkpoints of the field through spandrel: recognised, unwrapped, safe, read once, in little memory."""

import copy
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.io import savemat
from torch import Tensor, nn

import models
from models import weight_files, weights
from models.registry import Reader

pytest.importorskip("spandrel")


def compact() -> nn.Module:
    from spandrel.architectures.Compact import Compact

    return Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2)


def luma() -> nn.Module:
    from spandrel.architectures.Compact import Compact

    return Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=2, upscale=2)


def esrgan() -> nn.Module:
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=8, num_blocks=1, scale=4)


def swinir() -> nn.Module:
    from spandrel.architectures.SwinIR import SwinIR

    return SwinIR(
        upscale=2, img_size=16, window_size=8, img_range=1.0, depths=[1, 1], embed_dim=8, num_heads=[2, 2],
        mlp_ratio=2, upsampler="pixelshuffle",
    )  # fmt: skip


def span() -> nn.Module:
    from spandrel.architectures.SPAN import SPAN

    return SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)


def hat() -> nn.Module:
    from spandrel.architectures.HAT import HAT

    return HAT(
        img_size=16, embed_dim=8, depths=(1, 1), num_heads=(2, 2), window_size=8, compress_ratio=3, squeeze_factor=4,
        upscale=2, upsampler="pixelshuffle",
    )  # fmt: skip


def omnisr() -> nn.Module:
    from spandrel.architectures.OmniSR import OmniSR

    return OmniSR(num_feat=16, block_num=1, res_num=1, up_scale=2, window_size=8)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "Compact": compact,
    "ESRGAN": esrgan,
    "SwinIR": swinir,
    "SPAN": span,
    "HAT": hat,
    "OmniSR": omnisr,
}


def made(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build().eval()


def upscaled(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x.clone())  # some networks change their input


def write(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "model.pth")
    return folder / "model.pth"


@pytest.mark.parametrize("name", NETWORKS)
def test_an_architecture_is_recognised_and_computes_the_same(tmp_path: Path, name: str) -> None:
    source = made(NETWORKS[name])
    network = models.load(write(tmp_path, {"params": source.state_dict()}))
    x = torch.rand(1, 3, 16, 24)
    before = x.clone()
    torch.testing.assert_close(upscaled(network, x), upscaled(source, x).clamp(0, 1), rtol=0, atol=1e-6)
    assert network(x).shape == (1, 3, network.scale * 16, network.scale * 24)
    assert torch.equal(x, before)
    assert network(torch.rand(1, 3, 13, 9)).shape[2:] == (network.scale * 13, network.scale * 9)  # any size
    import spandrel

    assert network.config == {"name": name, "scale": network.scale, "read_by": f"spandrel {spandrel.__version__}"}
    with pytest.raises(ValueError, match=r"only networks made by models.create can be saved"):
        models.save(network, tmp_path / "other.safetensors")


def test_one_channel_is_luma(tmp_path: Path) -> None:
    source = made(luma)
    network = models.load(write(tmp_path, source.state_dict()))
    y = torch.rand(1, 1, 8, 8)
    assert network.luma_only
    assert torch.equal(network.luma(y), upscaled(source, y).clamp(0, 1))
    assert network(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)


def prefixed(prefix: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "params_ema": lambda state: {"params": {"x": torch.zeros(1)}, "params_ema": state, "optimizer": {"step": 3}},
    "state_dict": lambda state: {"state_dict": prefixed("model.")(state), "epoch": 7},
    "net_g": lambda state: {"net_g": prefixed("module.")(state)},
    "model": lambda state: {"model": prefixed("_orig_mod.")(state)},
    "generator": lambda state: {"generator": state, "discriminator": {"x": torch.zeros(1)}},
    "netG.": prefixed("netG."),
    "module.model.": prefixed("module.model."),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", ["Compact", "ESRGAN"])  # ESRGAN's own names begin with "model."
def test_wrapped_checkpoints(tmp_path: Path, wrapping: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    source = made(NETWORKS[name])
    path = write(tmp_path, WRAPPINGS[wrapping](source.state_dict()))
    x = torch.rand(1, 3, 8, 8)
    network = models.load(path)
    torch.testing.assert_close(upscaled(network, x), upscaled(source, x).clamp(0, 1), rtol=0, atol=1e-6)
    said = " ".join(record.getMessage() for record in caplog.records)
    assert wrapping.removeprefix("module.") in said


def test_names_that_begin_with_model_are_kept_where_they_are_the_network_s(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = made(esrgan)
    assert all(name.startswith("model.") for name in source.state_dict())
    models.load(write(tmp_path, source.state_dict()))
    assert caplog.records == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_half_precision_and_formats(tmp_path: Path, dtype: torch.dtype, form: str) -> None:
    source = made(compact).to(dtype)
    path = tmp_path / f"model.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in source.state_dict().items()}, path)
    else:
        torch.save(source.state_dict(), path, _use_new_zipfile_serialization=form == "zip")
    network = models.load(path)
    x = torch.rand(1, 3, 8, 8)
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    torch.testing.assert_close(upscaled(network, x), upscaled(source.float(), x).clamp(0, 1), rtol=0, atol=1e-6)


def test_the_suite_s_own_readers_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout of EDSR's authors, which spandrel is made to claim as well."""
    shapes = {"head.0": (8, 3), "body.0": (8, 8), "tail.0.0": (32, 8), "tail.1": (3, 8)}
    state = {f"{name}.weight": torch.rand(*shape, 3, 3) for name, shape in shapes.items()}
    state |= {f"{name}.bias": torch.rand(shape[0]) for name, shape in shapes.items()}
    monkeypatch.setattr(models.spandrel_networks, "recognises", lambda state: True)
    assert models.load(state).config["name"] == "edsr"


def test_the_first_reader_that_can_read_a_file_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []

    def reader(name: str, result: nn.Module | None) -> Reader:
        def load(state: dict[str, Tensor]) -> nn.Module:
            order.append(name)
            if result is None:
                raise ValueError(f"{name} does not fit")
            return result

        return Reader(name, lambda state: True, load)

    network = made(compact)
    monkeypatch.setattr(weights, "READERS", [reader("first", None), reader("second", network)])
    assert models.load(network.state_dict()) is network
    assert order == ["first", "second"]
    monkeypatch.setattr(weights, "READERS", [reader("first", None), reader("second", None)])
    assert models.load(network.state_dict()).config["name"] == "Compact"  # spandrel's, as the last
    with pytest.raises(ValueError, match="first does not fit"):
        models.load({"x": torch.zeros(2)})


def test_unknown_weights_get_their_first_names_and_what_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, {f"layer{i}.weight": torch.zeros(2) for i in range(5)})
    with pytest.raises(ValueError, match=r"its tensors \(layer0.weight, layer1.weight, layer2.weight …\) are of no"):
        models.load(path)
    with pytest.raises(ValueError, match=r"give file.py:Class with these weights"):
        models.load(path)
    monkeypatch.setattr(models.spandrel_networks, "INSTALLED", False)
    with pytest.raises(ValueError, match="install the extra `zoo`"):
        models.load(path)
    with pytest.raises(ValueError, match="are of no network that is known here"):
        models.load(write(tmp_path, made(compact).state_dict()))


def test_networks_for_other_purposes_are_refused(tmp_path: Path) -> None:
    from spandrel.architectures.Compact import Compact

    for network, sentence in (
        (Compact(num_feat=8, num_conv=2, upscale=1), "whose purpose is Restoration at scale 1"),
        (Compact(num_in_ch=4, num_out_ch=4, num_feat=8, num_conv=2, upscale=2), "4 channels to 4"),
    ):
        with pytest.raises(ValueError, match=sentence):
            models.load(write(tmp_path, network.state_dict()))


def test_damaged_weights_of_an_architecture(tmp_path: Path) -> None:
    state = made(swinir).state_dict()
    name = "conv_after_body.weight"
    for value, sentence in (
        (torch.zeros(3, 3), "do not fit SwinIR"),
        (torch.full_like(state[name], torch.nan), "NaN or infinite"),
        (torch.zeros(1 << 26)[:1].expand(1 << 40), "describes"),
    ):
        with pytest.raises(ValueError, match=sentence):
            models.load(write(tmp_path, state | {name: value}))
    with pytest.raises(ValueError, match="do not fit SwinIR"):
        models.load(write(tmp_path, state | {"layers.99999999.residual_group.blocks.0.norm1.weight": torch.zeros(8)}))


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {"state_dict": prefixed("model.")(made(compact).state_dict())})
    calls = []
    read = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: calls.append(kwargs) or read(*args, **kwargs))
    models.load(path)
    assert [call["weights_only"] for call in calls] == [True]


MEMORY = """
import sys
from pathlib import Path
import torch, models, spandrel
def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024
torch.set_num_threads(1)
models.load(sys.argv[1], scale=2)  # what the libraries need
for path in sys.argv[2:]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = status("VmRSS")
    models.load(path, scale=2)
    print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts the peak of a process from here")
def test_memory_stays_below_two_and_a_half_times_the_file(tmp_path: Path) -> None:
    """The peak of the process; what is in memory of both the file and the network is counted."""
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(0)
    network = Compact(num_feat=640, num_conv=4, upscale=2)
    half = copy.deepcopy(network).half()
    paths = [write(tmp_path, made(compact).state_dict())]
    for name, each in (("full", network), ("half", half)):
        files = [tmp_path / f"{name}{suffix}" for suffix in (".pth", "_legacy.pth", ".safetensors", ".npz")]
        torch.save({"params_ema": each.state_dict()}, files[0])
        torch.save({"params_ema": each.state_dict()}, files[1], _use_new_zipfile_serialization=False)
        save_file(each.state_dict(), files[2])
        np.savez(files[3], **{key: tensor.numpy() for key, tensor in each.state_dict().items()})
        paths += files
    paths += [tmp_path / "own.safetensors", tmp_path / "vdsr.mat"]
    models.save(models.create("edsr", 2, blocks=1, channels=512), paths[-2])
    cells = {"weight": np.empty((1, 5), dtype=object), "bias": np.empty((1, 5), dtype=object)}
    for number, layer in enumerate(models.create("vdsr", 2, layers=5, channels=512, bias=True).layers):
        cells["weight"][0, number] = layer.weight.detach().permute(2, 3, 1, 0).numpy()
        cells["bias"][0, number] = layer.bias.detach()[:, None].numpy()
    savemat(paths[-1], {"model": cells}, do_compression=True)
    words = [sys.executable, "-c", MEMORY, *map(str, paths)]
    # glibc returns what is freed at once, so that memory of one file does not serve the next
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    result = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    peaks = [int(line) / path.stat().st_size for line, path in zip(result.stdout.split(), paths[1:], strict=True)]
    assert min(path.stat().st_size for path in paths[1:]) > 20 << 20
    print({path.name: round(peak, 2) for path, peak in zip(paths[1:], peaks, strict=True)})
    assert all(0.9 < peak < 2.5 for peak in peaks)


def test_the_network_owns_its_weights(tmp_path: Path) -> None:
    """Views of one array in a file do not become weights that change together."""
    flat = torch.rand(4000)
    state = made(compact).state_dict()
    offset, views = 0, {}
    for name, tensor in state.items():
        views[name] = flat[offset : offset + tensor.numel()].view(tensor.shape)
        offset += tensor.numel()
    tensors, _ = weight_files.read(write(tmp_path, views))
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == len(tensors)
    assert all(torch.equal(tensors[name], views[name]) for name in views)


def test_the_logger_names_what_was_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "models")
    models.load(write(tmp_path, {"params_ema": prefixed("module.")(made(compact).state_dict()), "params": {}}))
    assert "using the weights under 'params_ema', names without 'module.'" in caplog.text
    assert weights._log.name == "models"
