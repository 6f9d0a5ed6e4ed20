"""Trained weights that a run continues from: which they are, whether they are the named ones, and what was taken."""

import json
from pathlib import Path
from typing import Any

from torch import nn

import models
from sisr.config.run import Run, weights_identity
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import sha256


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
    """Copy the trained weights at `path` into a network.

    Raises:
        SisrError: the file cannot be read, or none of its weights fits.
    """
    try:
        source = models.load(weights_file(path)).state_dict()
        return models.start_from(model, source)
    except ValueError as error:
        raise SisrError(f"cannot start from {path}: {error}.") from error


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
