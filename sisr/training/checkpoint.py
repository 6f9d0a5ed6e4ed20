"""Checkpoints: written whole or not at all, the last two kept, a damaged one noticed and the one before it used."""

import json
import pickle
import sys
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sisr.config.layout import RUN_FILES
from sisr.config.run import Run
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write


@dataclass
class Progress:
    """How far a run has come, besides its weights and the optimiser's state."""

    step: int = 0
    seconds: float = 0.0
    rows: list[list[float]] = field(default_factory=list)
    """What `train.csv` will hold."""
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Loss, L1 and contrastive loss summed since the last row."""


class Checkpoints:
    """The checkpoint of a run and the one before it, in the run's folder.

    Args:
        folder: of the run; `checkpoint.pt` and `checkpoint.previous.pt` are written there.
        run: the configuration; a checkpoint of another one is refused.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self.run = run
        self.last, self.previous = folder / "checkpoint.pt", folder / "checkpoint.previous.pt"

    def save(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, ema: nn.Module | None = None
    ) -> None:
        """Write a checkpoint; the one that was last becomes the previous one. `ema`: the averaged network, if any.

        Raises:
            SisrError: it cannot be written, for example on a full disk. The last one is still there then.
        """
        content = {
            "run": json.dumps(self.run.as_dict()),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "progress": vars(progress),
        } | ({"ema": ema.state_dict()} if ema else {})
        try:
            with atomic_write(self.last) as temporary:
                torch.save(content, temporary)
                if self.last.exists():
                    self.last.replace(self.previous)
        except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError on a full disk
            raise SisrError(
                f"the checkpoint at step {progress.step} cannot be written to {self.last.parent} "
                f"({_first_line(error)}); free some space and rerun the command to resume from the previous checkpoint."
            ) from error

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, ema: nn.Module | None = None, *, quiet: bool = False
    ) -> Progress:
        """Load the last checkpoint that is whole into the network and the optimiser; start anew where there is none.

        quiet: say nothing and remove nothing, for processes that do not lead.

        Raises:
            SisrError: a checkpoint is there and belongs to another configuration.
        """
        if not quiet:
            for name in map(Path, (self.last.name, *RUN_FILES)):
                for left in self.last.parent.glob(f".{name.stem}.*{name.suffix}"):
                    left.unlink()  # half-written by a process that was killed
        for path in (self.last, self.previous):
            content = _read(path)
            if content is None:
                continue
            if Run.from_dict(json.loads(content["run"])) != self.run:
                raise SisrError(f"{path} belongs to another configuration; choose another --output or delete it.")
            model.load_state_dict(content["model"])
            optimizer.load_state_dict(content["optimizer"])
            if ema is not None:
                ema.load_state_dict(content["ema"])
            saved = content["progress"]  # version 0.1 also saved the energy
            progress = Progress(**{item.name: saved[item.name] for item in fields(Progress)})
            if not quiet:
                print(f"resuming at step {progress.step}.", file=sys.stderr)
            return progress
        return Progress()

    def remove(self) -> None:
        """Delete both: the run is complete."""
        for path in (self.last, self.previous):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """A checkpoint's content, or None where it is missing or damaged. Nothing in the file is executed."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()  # compares every part with its checksum
        if broken is None:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return content
    except (zipfile.BadZipFile, OSError, EOFError, pickle.UnpicklingError):
        pass
    print(f"{path} is damaged; it is left out.", file=sys.stderr)
    return None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].removesuffix(".") if str(error) else type(error).__name__
