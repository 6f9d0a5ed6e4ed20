"""Checks of training: recorded options, the auxiliary loss, and a few steps in the backbone."""

import copy
import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention._switches import auxiliary_loss as loss_of
from models.attention._switches import redraw, set_auxiliary_loss
from models.attention.checks.tools import Build, Failure, Skipped, finite, generator, images

STEPS = 10
WEIGHT = 1e-3  # of the auxiliary loss, as in ENLCA's released code


def options(build: Build, channels: int) -> None:
    """Options can be written to a run's config.json, and rebuild the same module."""
    module = build()
    chosen: Any = getattr(module, "options", None)
    if not isinstance(chosen, dict):
        raise Skipped("the module was not built by models.attention.create, which records its options")
    for name, value in chosen.items():
        try:
            json.dumps(value)
        except TypeError:
            raise Failure(
                f"option {name} is {value!r}, which JSON cannot store; use a number, string or list"
            ) from None
    again = type(module)(channels, **json.loads(json.dumps(chosen)))
    shapes, expected = ({name: tuple(x.shape) for name, x in m.state_dict().items()} for m in (again, module))
    for name in sorted(shapes.keys() ^ expected.keys()) or [n for n in shapes if shapes[n] != expected[n]]:
        raise Failure(f"rebuilt from its options, the module differs in {name}")


def auxiliary_loss(build: Build, channels: int) -> None:
    """The auxiliary loss is one finite number with a gradient, computed only in training and only if enabled."""
    module = build()
    x = images(2, channels, 10, 12)
    if _last_loss(module.train(), x, True) is None:
        raise Skipped("the mechanism has no auxiliary loss")
    loss = _last_loss(module, x, True)
    if not isinstance(loss, Tensor):
        raise Failure(f"auxiliary_loss returned a {type(loss).__name__}, it must be a tensor or None")
    if loss.ndim:
        raise Failure(
            f"auxiliary_loss returned a tensor of shape {tuple(loss.shape)}, it must be one number: take a mean"
        )
    finite(loss, "auxiliary_loss")
    if not loss.requires_grad:
        raise Failure("auxiliary_loss has no gradient and therefore no effect; compute it without detach")
    loss.backward()
    if all(p.grad is None for p in module.parameters()):
        raise Failure("the gradient of auxiliary_loss reaches none of the module's weights")
    _last_loss(module, x, True)
    try:
        copy.deepcopy(module)
    except RuntimeError:
        raise Failure(
            "after a training forward the module cannot be copied; drop the last loss in __getstate__"
        ) from None
    for what, loss in (
        ("outside training", _last_loss(module.eval(), x, True)),
        ("while it is disabled", _last_loss(module.train(), x, False)),
    ):
        if loss is not None:
            raise Failure(f"auxiliary_loss is also computed {what}, which wastes time")


def training(build: Build, channels: int) -> None:
    """Ten training steps on one batch in the EDSR backbone, with the auxiliary loss, lower the loss."""
    from models.edsr import edsr  # here, because the backbone imports the mechanisms

    if channels < 3:
        raise Skipped("the backbone needs at least 3 channels")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = edsr(2, blocks=1, channels=channels, attention="none", slots=(0,)).train()
        network.attention["0"] = build().train()
        coarse = torch.rand(2, 3, 6, 6, generator=generator(1))
        lr, hr = (F.interpolate(coarse, size=side, mode="bicubic") for side in (12, 24))
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        set_auxiliary_loss(network, True)
        redraw(network, generator(2))
        losses = []
        for step in range(STEPS + 1):
            loss = F.l1_loss(network(lr), hr)
            losses.append(loss.item())
            auxiliary = loss_of(network)
            loss = loss if auxiliary is None else loss + WEIGHT * auxiliary
            finite(loss, f"training loss at step {step}")
            optimiser.zero_grad()
            loss.backward()
            for name, parameter in network.attention["0"].named_parameters():
                if parameter.grad is not None:
                    finite(parameter.grad, f"gradient of {name} at training step {step}")
            optimiser.step()
    if not losses[-1] < losses[0]:
        raise Failure(f"{STEPS} training steps on one batch took the L1 loss from {losses[0]:.4f} to {losses[-1]:.4f}")


def _last_loss(module: nn.Module, x: Tensor, enabled: bool) -> Any:
    set_auxiliary_loss(module, enabled)
    module(x)
    return getattr(module, "last_auxiliary_loss", None)
