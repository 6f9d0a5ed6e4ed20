"""Networks of some forty other architectures, through the library spandrel (an optional dependency).

spandrel (Biegert and others, MIT licence) recognises an architecture by the names of its tensors, and reads all sizes
from their shapes. It only receives tensors that `models.weight_files` has read; its own reading of files is not used.
Value range, mean shift and padding to a multiple of the window are those of the architecture.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from models.colour import to_rgb, to_ycbcr, upscale
from models.registry import MAX_SCALE
from models.restore import building, check_finite

INSTALLED = find_spec("spandrel") is not None


class SpandrelNetwork(nn.Module):
    """(1, 3, H, W) RGB in [0, 1] → (1, 3, scale·H, scale·W) in [0, 1]; for inference only.

    A network of one channel upscales luma; Cb and Cr are upscaled bicubically.
    """

    config: dict[str, Any]
    luma_rounded = False

    def __init__(self, descriptor: Any, version: str) -> None:
        super().__init__()
        self.network: nn.Module = descriptor.model
        self.scale = int(descriptor.scale)
        self.luma_only = descriptor.input_channels == 1
        self.config = {"name": str(descriptor.architecture.id), "scale": self.scale, "read_by": f"spandrel {version}"}
        self._descriptor = descriptor

    def forward(self, x: Tensor) -> Tensor:
        if not self.luma_only:
            return self._upscale(x)
        x = to_ycbcr(x)
        return to_rgb(torch.cat([self.luma(x[:, :1]), upscale(x[:, 1:], self.scale)], dim=1))

    def luma(self, y: Tensor) -> Tensor:
        """(1, 1, H, W), Y of studio range divided by 255 → (1, 1, scale·H, scale·W)."""
        return self._upscale(y)

    def _upscale(self, x: Tensor) -> Tensor:
        sr: Tensor = self._descriptor(x.clone())  # some networks change their input
        return sr[..., : x.shape[-2] * self.scale, : x.shape[-1] * self.scale]


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether spandrel is installed and knows an architecture with these names."""
    return INSTALLED and _architecture(dict(state)) is not None


def load(state: Mapping[str, Tensor]) -> nn.Module:
    """The network in a state dict. Raises ValueError where it does not fit, or is not for super-resolution."""
    import spandrel

    state = dict(state)
    architecture: Any = _architecture(state)
    name = architecture.id
    try:
        with building(state):
            descriptor = architecture.load(state)
    except Exception as error:  # the tensors may be anything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"the weights do not fit {name}, as which spandrel recognises them: {reason[0][:200].rstrip('.:')}"
        ) from error
    if not (isinstance(descriptor, spandrel.ImageModelDescriptor) and 1 < descriptor.scale <= MAX_SCALE):
        raise ValueError(
            f"these are weights of {name}, whose purpose is {descriptor.purpose} at scale {descriptor.scale}; "
            "super-resolution needs a scale from 2"
        )
    channels = descriptor.input_channels, descriptor.output_channels
    if channels not in ((3, 3), (1, 1)):
        raise ValueError(
            f"these weights of {name} map {channels[0]} channels to {channels[1]}; images here have 3 (RGB) or 1 (Y)"
        )
    network = SpandrelNetwork(descriptor, spandrel.__version__)
    network.float()
    check_finite(network)
    return network.eval()


def _architecture(state: dict[str, Tensor]) -> Any:
    """spandrel's architecture with these names, by its order of detection; None if there is none."""
    import spandrel

    for support in spandrel.MAIN_REGISTRY.architectures("detection"):
        try:
            if support.detect(state):
                return support.architecture
        except Exception:  # names that begin as those of an architecture and go on otherwise
            continue
    return None
