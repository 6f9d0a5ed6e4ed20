"""Start a network from trained weights: same names and shapes are taken, everything else stays as it was initialised.

For fine-tuning at another scale (the upsampler is new) and for attention inserted into a trained backbone, where the
new modules start as the identity, so that training starts from exactly what the backbone computes.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Gated(nn.Module):
    """x + gate · (module(x) − x), with the scalar `gate`, a weight that starts at 0: any module as the identity."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.module(x), self.gate.to(x.dtype))


@dataclass(frozen=True)
class Started:
    """Names of a network's tensors (weights and buffers)."""

    taken: tuple[str, ...]
    """Those that were copied."""
    new: tuple[str, ...]
    """Those that the source does not have, or has in another shape; they are as initialised."""


@torch.no_grad()
def start_from(model: nn.Module, source: Mapping[str, Tensor]) -> Started:
    """Copy every tensor of `source` whose name and shape fit into `model`.

    A module in one of the network's slots (`model.attention`) that is new starts as the identity: by its method
    `start_as_identity()`, or, where it has none or that does not suffice, behind a gate (`Gated`), which
    `model.config["gated"]` then records.

    Raises ValueError when nothing fits.
    """
    slots = getattr(model, "attention", None)
    if not isinstance(slots, nn.ModuleDict):
        slots = nn.ModuleDict()
    for slot, module in slots.items():
        if any(name.startswith(f"attention.{slot}.") for name in source):
            continue
        slots[slot] = _as_identity(module, int(model.head.out_channels))  # type: ignore[union-attr,arg-type]
        if isinstance(slots[slot], Gated):
            model.config["gated"] = True  # type: ignore[operator,index]
    tensors = model.state_dict()
    taken = [name for name, tensor in tensors.items() if name in source and source[name].shape == tensor.shape]
    if not taken:
        raise ValueError(
            f"none of its {len(source)} tensors fits {type(model).__name__}: names or shapes differ "
            f"(it has {_few(source)}; needed is {_few(tensors)})"
        )
    for name in taken:
        tensors[name].copy_(source[name])
    return Started(tuple(taken), tuple(name for name in tensors if name not in set(taken)))


def _as_identity(module: nn.Module, channels: int) -> nn.Module:
    """The module with weights that make it the identity, or behind a gate where no such weights are known."""
    x = torch.rand(1, channels, 24, 24, generator=torch.Generator().manual_seed(0))
    started = copy.deepcopy(module).eval()
    getattr(started, "start_as_identity", lambda: None)()
    if torch.equal(started(x), x):
        return started.train(module.training)
    return module if isinstance(module, Gated) else Gated(module)


def _few(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in list(tensors.items())[:2]) + ", …"
