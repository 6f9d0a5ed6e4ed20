"""What training switches on all attention modules of a network at once: the auxiliary loss, and new projections."""

import torch
from torch import Tensor, nn


def set_auxiliary_loss(model: nn.Module, enabled: bool) -> None:
    """Switch the mechanisms' own losses (ENLCA's contrastive loss) on or off; they are off in a new network.

    While off they cost nothing. While on they are computed in training mode only.
    """
    for module in model.modules():
        if hasattr(module, "auxiliary_loss_enabled"):
            module.auxiliary_loss_enabled = enabled  # type: ignore[assignment]
            module.last_auxiliary_loss = None  # type: ignore[assignment]


def auxiliary_loss(model: nn.Module) -> Tensor | None:
    """Mean of the modules' losses of the last training forward: a scalar with a graph, or None if there was none."""
    losses = [getattr(module, "last_auxiliary_loss", None) for module in model.modules()]
    found = [loss for loss in losses if loss is not None]
    return torch.stack(found).mean() if found else None


def redraw(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Give every module that has a random projection a new one, in place.

    The values depend only on the state of the CPU generator and the order of the modules, not on device or rank.
    A network without projections is left as it is.
    """
    for module in model.modules():
        new = getattr(module, "redraw", None)
        if callable(new):
            new(generator)
