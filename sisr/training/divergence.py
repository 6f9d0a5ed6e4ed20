"""Detection of a diverging loss, without waiting for the GPU at every step."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sisr.config.run import Training
from sisr.data.patches import PatchSampler
from sisr.training.distributed import Group
from sisr.utils.files import atomic_write

LIMIT = 1.0
"""An L1 loss above this limit, after it has been below, has diverged: images are in [0, 1], so a black image has a
smaller loss."""
_NONE = 2**62


@dataclass
class Diverged(Exception):  # noqa: N818  (caught for a retry)
    """The loss of a step is not finite or has diverged."""

    step: int
    """Counted from 1."""
    losses: list[float]
    """Loss, L1 and contrastive loss of the step."""
    learning_rate: float
    images: list[str]
    """Source images of the patches of the step."""

    def __str__(self) -> str:
        what = "diverged" if all(abs(value) < float("inf") for value in self.losses) else "is not finite"
        return f"the loss {what} at step {self.step} (images of the batch: {', '.join(self.images)})."

    def record(self, folder: Path) -> None:
        """Write `diverged.json` into the folder of a run."""
        loss, l1, contrastive = (value if abs(value) < float("inf") else str(value) for value in self.losses)
        content = {
            "step": self.step,
            "loss": loss,
            "l1": l1,
            "contrastive": contrastive,
            "learning_rate": self.learning_rate,
            "images": self.images,
        }
        with atomic_write(folder / "diverged.json") as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


class Watch:
    """Records the first diverged step and its losses on the device."""

    def __init__(self, device: torch.device) -> None:
        self.first = torch.full((), _NONE, dtype=torch.int64, device=device)
        self.losses = torch.zeros(3, device=device)
        self.learned = torch.zeros((), dtype=torch.bool, device=device)

    def see(self, step: int, losses: Tensor) -> None:
        """Process the losses of a step: (3,), the second is the L1 loss."""
        with torch.no_grad():
            bad = ~torch.isfinite(losses).all() | (self.learned & (losses[1] > LIMIT))
            new = bad & (self.first == _NONE)
            self.first = torch.where(new, step, self.first)
            self.losses = torch.where(new, losses, self.losses)
            self.learned |= losses[1] <= LIMIT

    def check(self, step: int, group: Group, model: nn.Module, sampler: PatchSampler, settings: Training) -> None:
        """Raise Diverged in all processes if a loss diverged in any, or if a weight is not finite after `step`."""
        first = int(group.least(self.first.clone()))
        if first == _NONE:
            norms = torch.stack(torch._foreach_norm([parameter.detach() for parameter in model.parameters()]))
            if bool(torch.isfinite(norms).all()):
                return
            first, self.losses = step, torch.full_like(self.losses, float("nan"))
        losses = group.mean(self.losses.clone()).tolist()
        raise Diverged(first + 1, losses, settings.learning_rate_at(first), sampler.names(first))
