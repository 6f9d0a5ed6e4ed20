"""Functions of a training loop on all attention modules of a network: auxiliary loss and new projections."""

import torch
from torch import Tensor, nn


def set_auxiliary_loss(model: nn.Module, enabled: bool) -> None:
    """Enable or disable the mechanisms' auxiliary losses (ENLCA's contrastive loss); initially they are disabled.

    Disabled losses cost nothing. Enabled losses are computed in training mode only.
    """
    for module in model.modules():
        if hasattr(module, "auxiliary_loss_enabled"):
            module.auxiliary_loss_enabled = enabled  # type: ignore[assignment]
            module.last_auxiliary_loss = None  # type: ignore[assignment]


def auxiliary_loss(model: nn.Module) -> Tensor | None:
    """Mean of the modules' losses of the last training forward: a scalar with a graph, or None."""
    last = [getattr(module, "last_auxiliary_loss", None) for module in model.modules()]
    losses = [loss for loss in last if loss is not None]
    return torch.stack(losses).mean() if losses else None


def redraw(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Redraw the random projections of all modules, in place.

    The values depend only on the state of the CPU generator and the order of the modules, not on device or rank.
    A network without projections is not changed.
    """
    for module in model.modules():
        new = getattr(module, "redraw", None)
        if callable(new):
            new(generator)
