"""Trained weights that a run continues from: which they are, whether they are the named ones, and what was taken."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import models
from models import weight_files
from sisr.config.mechanisms import is_custom
from sisr.config.run import Run, weights_identity
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import sha256

_NAMED = 8


def identity(path: Path) -> str:
    """What `training.start_from` holds for a path: the id of a finished run, or `sha256:` and a file's digest.

    Raises:
        UsageError: there is neither a finished run nor a weights file.
    """
    if path.is_dir():
        try:
            plain = json.loads((path / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} is not the folder of a finished run: it has no readable config.json.") from error
        if not (path / "weights.safetensors").is_file():
            raise UsageError(f"{path} is not a finished run: it has no weights.safetensors.")
        return Run.from_dict(plain).id
    if not path.is_file():
        raise UsageError(f"there is no run or weights file {path} to start from.")
    return weights_identity(path)


def check_start(run: Run, path: Path | None) -> None:
    """Raise UsageError unless `path` holds the weights that `training.start_from` names."""
    named = run.training.start_from
    if not named and path is None:
        return
    if path is None:
        raise UsageError(f"this run starts from {named}; give its folder or file with --start-from.")
    if (there := identity(path)) != named:
        raise UsageError(f"this run starts from {named or 'scratch'}, but {path} is {there}.")


def warm_start(model: nn.Module, path: Path) -> models.Started:
    """Copy the trained weights at `path` into a network: a run, or any weights file that `models.load` reads.

    For a network of one's own, a file may also hold its weights by their own names.

    Raises:
        SisrError: the file cannot be read, or none of its weights fits.
    """
    try:
        return models.start_from(model, _source(model, weights_file(path)))
    except ValueError as error:
        raise SisrError(f"cannot start from {path}: {str(error).rstrip('.')}.") from error


def _source(model: Any, file: Path) -> Mapping[str, Tensor]:
    if not is_custom(model.config["name"]):
        return models.weights.load_any_scale(file, int(model.scale)).state_dict()
    tensors, _ = weight_files.read(file)
    inner, _ = weight_files.without_owner(tensors)
    return tensors if tensors.keys() & model.state_dict().keys() else inner


def in_words(path: Path, started: models.Started) -> str:
    """One line on what was taken and what was initialised."""
    new = f"initialised are {', '.join(started.new)}" if started.new else "nothing else was needed"
    if len(started.new) > _NAMED:
        new = f"initialised are {', '.join(started.new[:_NAMED])} and {len(started.new) - _NAMED} more"
    return f"starting from {path}: {len(started.taken)} tensors are taken; {new}."


def record_of(run: Run, path: Path | None, started: models.Started | None) -> dict[str, Any]:
    """Provenance of a warm start; empty for a run from scratch."""
    if path is None or started is None:
        return {}
    return {
        "start_from": run.training.start_from,
        "start_from_sha256": sha256(weights_file(path)),
        "weights_taken": len(started.taken),
        "weights_initialised": list(started.new),
    }


def weights_file(path: Path) -> Path:
    """The file with the weights of a run's folder, or the file itself."""
    return path / "weights.safetensors" if path.is_dir() else path
