"""The attention modules of a network, by their slots, and what comes into them."""

from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn


def slots(model: nn.Module) -> dict[str, nn.Module]:
    """The attention modules of a network by slot, in order; for other networks, all supported modules by name."""
    by_slot = getattr(model, "attention", None)
    if isinstance(by_slot, nn.ModuleDict):
        return dict(by_slot.items())
    return {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "embed") or hasattr(module, "attention_map")
    }


def slot_inputs(model: nn.Module, modules: dict[str, Any], lr: Tensor) -> dict[str, Tensor]:
    """Inputs of some modules of a network, (B, channels, H, W) each, for LR images (B, 3, H, W).

    The network stops after the last of them, so later layers are not computed.
    """
    captured: dict[str, Tensor] = {}
    with torch.inference_mode(), ExitStack() as hooks:
        for slot, module in modules.items():

            def keep(module: Any, inputs: tuple[Tensor, ...], slot: str = slot) -> None:
                captured[slot] = inputs[0]
                if len(captured) == len(modules):
                    raise _EnoughError

            hooks.callback(module.register_forward_pre_hook(keep).remove)
        with suppress(_EnoughError):
            model(lr)
    return captured


class _EnoughError(Exception):
    """All requested inputs have been captured."""
