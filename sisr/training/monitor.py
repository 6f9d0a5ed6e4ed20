"""Progress logging: a progress bar or plain lines, a validation PSNR, TensorBoard."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from sisr.data.imresize import imresize
from sisr.data.store import PairedStore
from sisr.evaluation import inference
from sisr.evaluation.metrics import psnr
from sisr.utils.errors import SisrError

COLUMNS = ("step", "loss", "l1", "contrastive", "learning_rate", "psnr", "seconds")
"""Of `train.csv`. Losses are means since the previous row; psnr is blank where nothing was validated."""


class Validation:
    """PSNR on the centre of a few images, for monitoring only.

    Args:
        sets: prepared sets of one scale.
        side: of the central squares of the LR images, in pixels.
        images: maximum number, the first of the sets.
    """

    def __init__(self, sets: Sequence[PairedStore], side: int = 64, images: int = 5) -> None:
        self.names: list[str] = []
        self.pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        self.scale = sets[0].scale if sets else 1
        for pair in sets:
            for index, name in enumerate(pair.names[: images - len(self.names)]):
                lr, hr = pair.lr(index), pair.hr(index)
                top, left = (max(0, (length - side) // 2) for length in lr.shape[:2])
                bottom, right = top + side, left + side
                s = pair.scale
                self.names.append(name)
                self.pairs.append((lr[top:bottom, left:right], hr[top * s : bottom * s, left * s : right * s]))

    @classmethod
    def of(cls, names: Sequence[str], data: Path, scale: int, *, quiet: bool) -> "Validation":
        """Validation on those of the sets that are prepared; a missing one is no reason to stop a training run."""
        sets = []
        for name in names:
            try:
                sets.append(PairedStore(data / name, scale))
            except SisrError as error:
                if not quiet:
                    print(f"no validation on {name}: {error}", file=sys.stderr)
        return cls(sets)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def measure(self, model: nn.Module) -> tuple[float, list[NDArray[np.uint8]]]:
        """Mean PSNR in dB (protocol P1), and the SR images."""
        training = model.training
        model.eval()
        images = [inference.upscale_array(model, lr) for lr, _ in self.pairs]
        model.train(training)
        values = [psnr(sr, hr, self.scale) for sr, (_, hr) in zip(images, self.pairs, strict=True)]
        return float(np.mean(values)), images


class Monitor:
    """Shows the progress of one training run in the leading process.

    Args:
        name: the run's id.
        steps, start: of the whole run, and the first step of this process.
        validation: measured when asked for; may be empty.
        tensorboard: folder of the event files, None for none.
        quiet: show nothing.
    """

    def __init__(
        self,
        name: str,
        steps: int,
        start: int,
        *,
        validation: Validation,
        tensorboard: Path | None = None,
        quiet: bool = False,
    ) -> None:
        self.steps, self.start, self.quiet = steps, start, quiet
        self.validation = validation
        self.began = time.perf_counter()
        self.bar = tqdm(
            total=steps,
            initial=start,
            desc=name,
            unit="step",
            disable=quiet or not sys.stderr.isatty(),
            leave=False,
            dynamic_ncols=True,
        )
        self.writer: Any = None
        if tensorboard and not quiet:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise SisrError("event files need the package tensorboard; install it, or disable them.") from error

            # hide events that an interrupted process wrote after the checkpoint
            self.writer = SummaryWriter(str(tensorboard), purge_step=start + 1)

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
        if self.writer:
            self.writer.close()

    def advance(self) -> None:
        """Advance by one step."""
        self.bar.update()

    def validate(self, model: nn.Module, step: int) -> float:
        """Validation PSNR in dB; NaN without validation sets."""
        if not self.validation or self.quiet:
            return float("nan")
        value, images = self.validation.measure(model)
        if self.writer:
            for name, sr, (lr, hr) in zip(self.validation.names, images, self.validation.pairs, strict=True):
                self.writer.add_image(f"{name}: bicubic, SR, HR", _side_by_side(lr, sr, hr), step, dataformats="HWC")
        return value

    def report(self, row: dict[str, float]) -> None:
        """Show a row of `train.csv`."""
        if self.quiet:
            return
        step = int(row["step"])
        if self.writer:
            for name, value in row.items():
                if name not in ("step", "seconds") and value == value:
                    self.writer.add_scalar(name, value, step)
        shown = {} if row["psnr"] != row["psnr"] else {"PSNR": f"{row['psnr']:.2f} dB"}
        self.bar.set_postfix({"loss": f"{row['loss']:.4f}"} | shown)
        if self.bar.disable:
            speed = (step - self.start) / (time.perf_counter() - self.began)
            validation = "".join(f", {name} {value}" for name, value in shown.items())
            print(
                f"step {step} of {self.steps}: loss {row['loss']:.5f}, L1 {row['l1']:.5f}, "
                f"contrastive {row['contrastive']:.4f}{validation}, learning rate {row['learning_rate']:.3g}, "
                f"{speed:.3g} steps/s, {_duration((self.steps - step) / speed)} left",
                flush=True,
            )


def _side_by_side(lr: NDArray[np.uint8], sr: NDArray[np.uint8], hr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bicubically upscaled LR, SR and HR in one row: (H, 3W, 3)."""
    images = [imresize(lr, hr.shape[0] / lr.shape[0]), sr, hr]
    return np.concatenate([np.stack([i] * 3, axis=2) if i.ndim == 2 else i for i in images], axis=1)


def _duration(seconds: float) -> str:
    """12 s, 3:05 min or 26:10 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole // 60 % 60:02} h"
