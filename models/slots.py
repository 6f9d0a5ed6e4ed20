"""The attention modules of a network, by their slots, and what comes into them."""

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn

from models import attention as mechanisms
from models.warm_start import Gated


class Slots(nn.ModuleDict):
    """Attention before some of a network's parts, or after the last: slot 3 means "after three parts".

    attention: name of a mechanism, or None for none. options: its options. slots: numbers of parts before each module;
    None: the start and the end. parts: how many there are. channels: of the features. gated: see `models.warm_start`.
    Raises ValueError for an unknown mechanism or option, or a slot that does not exist.
    """

    config: dict[str, Any]
    """The settings of the network that these are, as JSON's types."""

    def __init__(
        self,
        attention: str | None,
        options: dict[str, Any] | None,
        slots: Sequence[int] | None,
        parts: int,
        channels: int,
        gated: bool,
    ) -> None:
        super().__init__()
        chosen = sorted({0, parts}) if slots is None else list(slots)
        if len(set(chosen)) < len(chosen) or any(not 0 <= slot <= parts for slot in chosen):
            raise ValueError(f"slots must be different numbers from 0 to {parts}, not {chosen}")
        resolved = dict(options or {})
        if attention is not None:
            mechanisms._registry.find(attention)  # raises for an unknown name, even without slots
            for slot in chosen:
                module = mechanisms.create(attention, channels, **(options or {}))
                resolved = getattr(module, "options", {})
                self[str(slot)] = Gated(module) if gated else module
        config = {"attention": attention, "attention_options": resolved, "slots": chosen}
        self.config = json.loads(json.dumps(config)) | ({"gated": True} if gated else {})

    def forward(self, slot: int, x: Tensor) -> Tensor:
        """The features (B, channels, H, W) after the slot's module; unchanged where it has none."""
        return self[str(slot)](x) if str(slot) in self else x


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
