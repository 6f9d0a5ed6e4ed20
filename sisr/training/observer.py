"""What watches a training run: its curve, validation PSNR, divergence, checkpoints, and a request to stop."""

import math
import signal
import sys
import time
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor, nn

from sisr.config.run import Run
from sisr.data.patches import PatchSampler
from sisr.training.checkpoint import Checkpoints
from sisr.training.distributed import Group
from sisr.training.divergence import Watch
from sisr.training.monitor import COLUMNS, Monitor, Validation

_LOG_LINES = 50  # rows of train.csv over a whole run
_VALIDATION_STEPS = 40  # fewest between two validations, except in runs too short for ten: each costs several steps


class Observer:
    """Restores a run from its checkpoint, and is called once after each step.

    Args:
        run, output, group: the run, its folder, the processes that share it.
        model, ema, optimizer: what a checkpoint holds; `ema` is the averaged network, if any.
        sampler: names the images of a step that diverged.
        validation: images whose PSNR is reported; may be empty.
        stop: not empty once the process has been asked to stop.
        checkpoint_seconds: time between two checkpoints.
        tensorboard: also write event files into `output/tensorboard`.
    """

    def __init__(
        self,
        run: Run,
        output: Path,
        group: Group,
        *,
        model: nn.Module,
        ema: nn.Module | None,
        optimizer: torch.optim.Optimizer,
        sampler: PatchSampler,
        validation: Validation,
        stop: list[int],
        checkpoint_seconds: float,
        tensorboard: bool,
    ) -> None:
        self.settings, self.group = run.training, group
        self.model, self.ema, self.optimizer, self.sampler = model, ema, optimizer, sampler
        self.final = ema or model
        self.stop, self.checkpoint_seconds = stop, checkpoint_seconds
        self.checkpoints = Checkpoints(output, run)
        self.state = self.checkpoints.restore(model, optimizer, ema, quiet=not group.leads)
        self.log_every = max(1, self.settings.steps // _LOG_LINES)
        fewest = min(_VALIDATION_STEPS, self.settings.steps // 10)
        self.validate_every = self.log_every * max(1, math.ceil(fewest / self.log_every))
        exact = torch.float32 if sampler.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self.sums = torch.tensor(self.state.sums, device=sampler.device, dtype=exact)  # of this process's parts
        self.divergence = Watch(sampler.device)
        self.monitor = Monitor(
            run.id,
            self.settings.steps,
            self.state.step,
            validation=validation,
            tensorboard=output / "tensorboard" if tensorboard else None,
            quiet=not group.leads,
        )

    def __enter__(self) -> None:
        self.began, self.last_checkpoint = time.perf_counter() - self.state.seconds, time.perf_counter()
        self.monitor.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.monitor.__exit__(kind, error, trace)

    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return time.perf_counter() - self.began

    def after_step(self, step: int, losses: Tensor) -> None:
        """Take note of a step (counted from 0) and its losses: total, L1, contrastive.

        Raises:
            Diverged: the loss, or a weight, is not finite, or the loss exploded.
            SystemExit: with status 143, after a request to stop and a last checkpoint.
        """
        self.sums += losses.to(self.sums.dtype)
        self.divergence.see(step, losses)
        self.monitor.advance()
        logging = (step + 1) % self.log_every == 0 or step + 1 == self.settings.steps
        due = self.group.leads and time.perf_counter() - self.last_checkpoint > self.checkpoint_seconds
        stopping, saving = self.group.any(bool(self.stop), bool(self.stop) or due)
        if logging or saving:
            self.divergence.check(step, self.group, self.model, self.sampler, self.settings)
        if logging:
            self._log(step)
        if saving:
            self._save(step)
        if stopping:
            if self.group.leads:
                print(f"stopped at step {step + 1}; the same command resumes from there.", file=sys.stderr)
            raise SystemExit(128 + signal.SIGTERM)

    def _log(self, step: int) -> None:
        rows = self.state.rows
        means = self.group.mean(self.sums.clone()) / (step + 1 - (int(rows[-1][0]) if rows else 0))
        validating = (step + 1) % self.validate_every == 0 or step + 1 == self.settings.steps
        psnr = self.monitor.validate(self.final, step + 1) if validating else math.nan
        rows.append([step + 1, *means.tolist(), self.settings.learning_rate_at(step), psnr, round(self.seconds(), 3)])
        self.sums.zero_()
        self.monitor.report(dict(zip(COLUMNS, rows[-1], strict=True)))

    def _save(self, step: int) -> None:
        self.state.step, self.state.seconds = step + 1, self.seconds()
        self.state.sums = self.group.mean(self.sums.clone()).tolist()
        if self.group.leads:
            self.checkpoints.save(self.model, self.optimizer, self.state, self.ema)
        self.last_checkpoint = time.perf_counter()
