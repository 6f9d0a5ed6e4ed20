"""Reading weights files: safetensors, PyTorch's `.pt`, NumPy's `.npz`, MATLAB's `.mat`, recognised by content.

A file may come from anywhere. No code in it is executed, and a file whose content is larger than its size allows is
refused before anything is allocated.
"""

import json
import logging
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from models import matlab_files

WRAPPERS = (
    "params_ema",
    "params-ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net_g",
    "netG",
    "net",
    "generator",
    "weights",
)
"""Keys under which training code stores a state dict, in order of preference: averaged weights first."""
PREFIXES = ("module.", "_orig_mod.")
"""Prefixes of all names, added by DataParallel and torch.compile."""
OWNERS = ("model.", "net_g.", "netG.", "net.", "network.", "generator.")
"""Prefixes of all names that a class around the network adds, unless the network itself has such names."""
_HALF = (torch.float16, torch.bfloat16)
_SMALL = 64 << 20  # bytes; no allocation of this size is a danger
_PART = 1 << 20  # elements that are converted at a time
_COMPRESSION = 20  # weights are noise to a compressor; only constant ones compress better
_CODE = re.compile(r"\b(?:GLOBAL|global:?|class:?) ([\w.]+\.[\w.]+)")
_log = logging.getLogger("models")


def read(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a weights file, on the CPU, and its network's configuration, or None.

    Each tensor has memory of its own; half precision is converted to float32. A state dict that is wrapped (`WRAPPERS`)
    or whose names have a prefix (`PREFIXES`) is unwrapped, which the logger "models" reports. Raises ValueError, in one
    sentence, for everything that is not a whole file with tensors only.
    """
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder, not a weights file")
    if not path.is_file():
        raise ValueError(f"weights file {str(path)!r} does not exist")
    # a malformed file makes the libraries raise exceptions of almost any kind
    config = None
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an exception says what is wrong
            start = file.read(9)
            if not start:
                raise ValueError("the file is empty")
            if start.startswith(b"PK"):
                content = _zip(path)
            elif start.startswith(b"MATLAB "):
                content = matlab_files.read(path, max(_SMALL, _COMPRESSION * path.stat().st_size))
            elif path.suffix.lower() == ".safetensors" or start[8:] == b"{":
                content, config = _safetensors(path)
            else:
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        kind = "safetensors file" if path.suffix.lower() == ".safetensors" else "file of weights"
        raise ValueError(
            f"{str(path)!r} is not a complete {kind}, or contains no weights that can be loaded safely: "
            f"{_reason(error)}"
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{str(path)!r} contains a {type(content).__name__}, not a state dict")
    tensors, taken = unwrap(content)
    del content  # what else a checkpoint has, such as the optimiser's state, is not kept
    _check(tensors, path)
    _separate(tensors)
    if taken:
        _log.warning("%s: using %s.", path, taken)
    return tensors, config


def unwrap(content: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """The state dict in a checkpoint, and in words where it was; "" where it is not wrapped.

    Raises ValueError where an entry is not a tensor.
    """
    taken = []
    while key := next((key for key in WRAPPERS if isinstance(content.get(key), Mapping) and content[key]), None):
        content = content[key]
        taken.append(f"the weights under {key!r}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"entry {str(name)[:80]!r} is of type {type(value).__name__}, not a tensor")
    while content and (prefix := next((each for each in PREFIXES if all(n.startswith(each) for n in content)), None)):
        content = {name.removeprefix(prefix): tensor for name, tensor in content.items()}
        taken.append(f"names without {prefix!r}")
    return dict(content), ", ".join(taken)


def without_owner(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The tensors without a prefix of `OWNERS` that all names have, and that prefix; "" where there is none."""
    prefix = next((each for each in OWNERS if tensors and all(name.startswith(each) for name in tensors)), "")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, prefix


def _reason(error: Exception) -> str:
    """One line on what is wrong with a file."""
    if match := _CODE.search(str(error)):
        return f"it refers to Python code ({match[1]}), which is never run; save the state dict alone"
    if isinstance(error, pickle.UnpicklingError | LookupError):  # a text may read as instructions without operands
        return "it was not written by torch.save, or is damaged"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")[:200]


def _safetensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The file is read part by part: what is read of a mapped file is in memory as well, and may change with it."""
    with safe_open(path, framework="pt") as mapped, path.open("rb") as file:  # the first checks the header
        config = json.loads((mapped.metadata() or {}).get("sisr", "null"), parse_constant=_refuse)
        if config is not None and not isinstance(config, dict):
            raise ValueError("its metadata entry 'sisr' is not the configuration of a network")
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        tensors = {}
        for name in mapped.keys():  # noqa: SIM118  (not a mapping)
            unread = mapped.get_tensor(name)
            tensor = torch.empty(unread.shape, dtype=torch.float32 if unread.dtype in _HALF else unread.dtype)
            file.seek(8 + length + header[name]["data_offsets"][0])
            for part in tensor.view(-1).split(_PART):
                stored = torch.empty(len(part), dtype=unread.dtype)
                if file.readinto(stored.view(torch.uint8).numpy()) < stored.nbytes:  # type: ignore[arg-type]
                    raise ValueError(f"{name} is incomplete")
                part.copy_(stored)
            tensors[name] = tensor
        return tensors, config


def _refuse(constant: str) -> None:
    raise ValueError(f"the configuration of its network contains {constant}")


def _zip(path: Path) -> Any:
    """Arrays of a `.npz`, or what a `.pt` file contains."""
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        size = sum(member.file_size for member in members)
        if size > max(_SMALL, _COMPRESSION * path.stat().st_size):
            raise ValueError(f"its {path.stat().st_size:,} bytes would unpack to {size:,}")
        if any(member.filename.endswith(".npy") for member in members):
            return {member.filename.removesuffix(".npy"): _array(file, member) for member in members}
    return torch.load(path, map_location="cpu", weights_only=True)


def _array(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Tensor:
    """One array; its header is compared with the size of its data before the data is read."""
    formats = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with file.open(member) as stream:
        shape, _, dtype = _header(stream, formats)
        if dtype.kind not in "fiu" or dtype.itemsize > 8:
            raise ValueError(f"{member.filename} contains {dtype} instead of numbers")
        if math.prod(shape) * dtype.itemsize != member.file_size - stream.tell():
            raise ValueError(f"{member.filename} is incomplete")
    with file.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    return torch.from_numpy(np.asarray(array, dtype=dtype.newbyteorder("=")))


def _header(stream: IO[bytes], formats: Mapping[tuple[int, int], Any]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = formats[np.lib.format.read_magic(stream)](stream)
    return header


def _check(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError where tensors are not plain ones, or take more memory than the file holds."""
    held, described = {}, 0
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ValueError(f"{str(path)!r} contains {name} as a tensor that is sparse, quantised or without values")
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        described += tensor.numel() * tensor.element_size()
    if described > max(_SMALL, 4 * sum(held.values())):
        raise ValueError(f"{str(path)!r} describes {described:,} bytes of weights and holds {sum(held.values()):,}")


def _separate(tensors: dict[str, Tensor]) -> None:
    """Give each tensor memory of its own, in float32 instead of half precision; one after another, to save memory."""
    seen: set[int] = set()
    for name in list(tensors):
        tensor = tensors.pop(name)
        if tensor.dtype in _HALF:
            tensor = tensor.float()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() > tensor.numel() * tensor.element_size():
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        seen.add(tensor.untyped_storage().data_ptr())
        tensors[name] = tensor
