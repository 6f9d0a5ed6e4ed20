"""Networks on disk: safetensors files of this suite, and published checkpoints."""

import json
import os
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models import enlcn_released, lapsrn, srmdnf, vdsr
from models.registry import create, fill


def save(model: nn.Module, path: str | Path) -> None:
    """Write weights and buffers as safetensors, with `model.config` as JSON in the metadata entry "sisr".

    Writing is atomic. Raises ValueError for a model without `config`.
    """
    config = getattr(model, "config", None)
    if config is None:
        raise ValueError(f"{type(model).__name__} has no config; only networks made by models.create can be saved")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        save_file(tensors, temporary, metadata={"sisr": json.dumps(config)})
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp creates files that only their owner can read
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def load(source: str | Path | Mapping[str, Tensor], scale: int | None = None) -> nn.Module:
    """The network in a file or state dict, in eval mode, on the CPU.

    Recognised are this suite's safetensors files; the authors' released ENLCN checkpoints (`.pt` file or its state
    dict, of any width and depth); and plain arrays (`.npz`) of LapSRN, SRMDNF and VDSR. `scale` is needed for VDSR
    alone, whose weights serve all scales. Every weight must be present and match: ValueError names the differences.
    """
    if isinstance(source, Mapping):
        network = _recognise(source, scale)
    else:
        path = Path(source)
        if not path.is_file():
            raise ValueError(f"weights file {str(path)!r} does not exist")
        network = _load_own(path) if path.suffix == ".safetensors" else _recognise(_read(path), scale)
    if scale is not None and network.scale != scale:
        raise ValueError(f"these weights upscale by {network.scale}, not by {scale}")
    return network


def _recognise(state: Mapping[str, Tensor], scale: int | None) -> nn.Module:
    if lapsrn.recognises(state):
        return lapsrn.load(state)
    if srmdnf.recognises(state):
        return srmdnf.load(state)
    if vdsr.recognises(state):
        if scale is None:
            raise ValueError("VDSR's weights serve all scales: choose one with models.load(path, scale=…)")
        return vdsr.load(state, scale)
    return enlcn_released.load(state)


def _read(path: Path) -> Mapping[str, Tensor]:
    """Arrays of a `.npz` or state dict of a `.pt` file, in float32 or unchanged; never executes code from the file."""
    try:
        if path.suffix == ".npz":
            import numpy as np

            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{str(path)!r} contains no weights that can be loaded safely: {type(error).__name__}"
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{str(path)!r} contains a {type(content).__name__}, not a state dict")
    return content


def _load_own(path: Path) -> nn.Module:
    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get("sisr", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is not a complete safetensors file: {error}") from error
    if config is None:
        raise ValueError(f"{str(path)!r} does not state its network (no entry 'sisr' in its metadata)")
    return fill(create(**config), tensors)
