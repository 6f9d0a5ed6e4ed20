"""Networks on disk: safetensors files of this suite, and published checkpoints."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from models import dbpn, enlcn_released, lapsrn, rcan, rdn, rnan, san, srmdnf, vdsr, weight_files
from models.restore import restore


def save(model: nn.Module, path: str | Path) -> None:
    """Write weights and buffers as safetensors, with `model.config` as JSON in the metadata entry "sisr".

    Writing is atomic. Raises ValueError for a model without `config`, OSError where the file cannot be written.
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
        try:
            save_file(tensors, temporary, metadata={"sisr": json.dumps(config)})
        except SafetensorError as error:  # such as a full disk
            raise OSError(str(error)) from error
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp creates files that only their owner can read
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def load(source: str | Path | Mapping[str, Any], scale: int | None = None) -> nn.Module:
    """The network in a file or state dict, in eval mode, in float32, on the CPU.

    Recognised are this suite's safetensors files; the authors' released ENLCN checkpoints (of any width and depth);
    and weights of LapSRN, SRMDNF and VDSR. Files are safetensors, `.pt` or `.npz`; no code in them is executed. In a
    checkpoint, the weights under `params_ema`, `params`, `state_dict` and others (`weight_files.WRAPPERS`) are used.
    `scale` is needed for VDSR alone, whose weights serve all scales.

    Raises ValueError, in one sentence, unless every weight is present, fits and is a finite number, or if the weights
    have another scale.
    """
    network = load_any_scale(source, scale)
    if scale is not None and network.scale != scale:
        raise ValueError(f"these weights upscale by {network.scale}, not by {scale}")
    return network


def load_any_scale(source: str | Path | Mapping[str, Any], scale: int | None) -> nn.Module:
    """As `load`, but `scale` is only for weights that serve all scales; others may have another scale."""
    if isinstance(source, Mapping):
        return _recognise(weight_files.unwrap(source)[0], scale)
    path = Path(source)
    tensors, config = weight_files.read(path)
    if config is not None:
        return restore(tensors, **config)
    try:
        return _recognise(tensors, scale)
    except _UnknownError as error:
        if path.suffix.lower() != ".safetensors":
            raise
        why = f"{str(path)!r} does not state its network (no entry 'sisr' in its metadata), and {error}"
        raise ValueError(why) from None


class _UnknownError(ValueError):
    """The tensors are of no network that is recognised by its names."""


def _recognise(state: Mapping[str, Tensor], scale: int | None) -> nn.Module:
    """The network of published weights."""
    if vdsr.recognises(state) and scale is None:
        raise ValueError("VDSR's weights serve all scales: choose one with models.load(path, scale=…)")
    readers: tuple[tuple[str, Callable[..., bool], Callable[..., nn.Module]], ...] = (
        ("LapSRN", lapsrn.recognises, lapsrn.load),
        ("SRMDNF", srmdnf.recognises, srmdnf.load),
        ("VDSR", vdsr.recognises, partial(vdsr.load, scale=scale or 0)),
        ("DBPN", dbpn.recognises, dbpn.load),
        ("RDN", rdn.recognises, rdn.load),
        ("RCAN", rcan.recognises, rcan.load),
        ("RNAN", rnan.recognises, rnan.load),
        ("SAN", san.recognises, san.load),
        ("ENLCN", enlcn_released.recognises, enlcn_released.load),  # after the networks that share its outer names
    )
    recognised = [(name, read) for name, recognises, read in readers if recognises(state)]
    if not recognised:
        names = ", ".join(list(state)[:3]) or "none"
        raise _UnknownError(
            f"its tensors ({names} …) are not a released ENLCN checkpoint, nor weights of LapSRN, SRMDNF or VDSR; "
            "trained networks of this suite are safetensors files"
        )
    name, read = recognised[0]
    try:
        return read(state)
    except (KeyError, IndexError, ArithmeticError, RuntimeError, TypeError) as error:
        # the reader takes the sizes from names and shapes
        raise ValueError(
            f"the weights do not fit {name}: names or shapes differ ({type(error).__name__}: {error})"
        ) from error
