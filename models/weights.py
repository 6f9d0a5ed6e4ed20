"""Networks on disk: safetensors files of this suite, and published checkpoints."""

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from models import custom, edsr_released, spandrel_networks, weight_files
from models.attention._errors import CRASHES, sentence
from models.registry import READERS, Reader, create
from models.restore import building, fill, restore

_OWNERS = 3  # prefixes around one another
_log = logging.getLogger("models")


def save(model: nn.Module, path: str | Path) -> None:
    """Write weights and buffers as safetensors, with `model.config` as JSON in the metadata entry "sisr".

    Writing is atomic. Raises ValueError for a model that `models.create` cannot make, OSError where the file cannot be
    written.
    """
    config = getattr(model, "config", None)
    if config is None or "read_by" in config:
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


def load(
    source: str | Path | Mapping[str, Any], scale: int | None = None, network: str | None = None, **options: Any
) -> nn.Module:
    """The network in a file or state dict, in eval mode, in float32, on the CPU.

    Recognised are this suite's safetensors files; those of the authors of the networks of Table 1, of any width and
    depth; and, where spandrel is installed, those of its architectures. Files are safetensors, `.pt`, `.npz` or `.mat`;
    no code in them is executed. In a checkpoint, the weights under `params_ema`, `params`, `state_dict` and others
    (`weight_files.WRAPPERS`) are used.
    `scale` is needed for VDSR, MemNet and NLRN, whose weights serve all scales. `network` is a network of one's own,
    `file.py:Class` or `package.module:Class`, that the weights belong to, with its options.

    Raises ValueError, in one sentence, unless every weight is present, fits and is a finite number, or if the weights
    have another scale.
    """
    if network is not None:
        return load_into(network, source, scale, **options)
    model = load_any_scale(source, scale)
    if scale is not None and model.scale != scale:
        raise ValueError(f"these weights upscale by {model.scale}, not by {scale}")
    return model


def load_into(
    network: str, source: str | Path | Mapping[str, Any], scale: int | None = None, **options: Any
) -> nn.Module:
    """As `load`, for weights of a named network. scale: the constructor's default is used without it."""
    scale = scale or (custom.default_scale(network) if custom.is_custom(network) else None)
    if scale is None:
        raise ValueError(f"{network} states no upscaling factor: give one, as --scale or scale=…")
    tensors = _copied(source) if isinstance(source, Mapping) else weight_files.read(Path(source))[0]
    try:
        with building(tensors):
            model = create(network, scale, **options)
    except CRASHES as error:
        if isinstance(error, ValueError):
            raise
        raise ValueError(f"{network} cannot be built for these weights: {sentence(error)}") from error
    inner, owner = weight_files.without_owner(tensors)
    if owner and not tensors.keys() & model.state_dict().keys():
        _log.warning("using names without %r.", owner)
        tensors = inner
    fill(model, tensors)
    return model.eval()


def load_any_scale(source: str | Path | Mapping[str, Any], scale: int | None) -> nn.Module:
    """As `load`, but `scale` is only for weights that serve all scales; others may have another scale."""
    if isinstance(source, Mapping):
        return _recognise(_copied(source), scale)
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


def _copied(source: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of what `torch.load` returns; the network does not share them with the caller."""
    return {name: tensor.clone() for name, tensor in weight_files.unwrap(source)[0].items()}


class _UnknownError(ValueError):
    """The tensors are of no network that is recognised by its names."""


def _recognise(state: Mapping[str, Tensor], scale: int | None) -> nn.Module:
    """The network of published weights, whose names may have prefixes that a class around the network adds."""
    inner, owners = state, ""
    for _ in range(_OWNERS):
        if (network := _read(inner, scale)) is not None:
            if owners:
                _log.warning("using names without %r.", owners)
            return network
        inner, owner = weight_files.without_owner(inner)
        if not owner:
            break
        owners += owner
    names = ", ".join(list(state)[:3]) or "none"
    raise _UnknownError(f"its tensors ({names} …) are of no network that is known here; {_advice()}")


def _read(state: Mapping[str, Tensor], scale: int | None) -> nn.Module | None:
    """The network, by the first reader that recognises the names and can read them; None where none recognises them.

    Raises ValueError: the first reader's, where none of those that recognise the names can read them.
    """
    last = (
        # its outer names are those of other networks, too
        Reader("EDSR, NLSN or ENLCN", edsr_released.recognises, edsr_released.load),
        # it knows some of these networks as well, but not every option of them
        Reader("a network of spandrel", spandrel_networks.recognises, spandrel_networks.load),
    )
    failure: ValueError | None = None
    for reader in (*READERS, *last):
        if not reader.recognises(state):
            continue
        try:
            if not reader.any_scale:
                return reader.load(state)
            if scale is None:
                raise ValueError(
                    f"{reader.title}'s weights serve all scales: give one, as --scale or models.load(path, scale=…)"
                )
            return reader.load(state, scale=scale)
        except ValueError as error:
            failure = failure or error
        except (KeyError, IndexError, ArithmeticError, RuntimeError, TypeError) as error:
            # the reader takes the sizes from names and shapes
            failure = failure or ValueError(
                f"the weights do not fit {reader.title}: names or shapes differ ({type(error).__name__}: {error})"
            )
    if failure is not None:
        raise failure
    return None


def _advice() -> str:
    zoo = "" if spandrel_networks.INSTALLED else "install the extra `zoo`, with which more networks are known, or "
    return f"{zoo}write its network in one file and give file.py:Class with these weights (sisr evaluate --weights)"
