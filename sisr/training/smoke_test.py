"""Own mechanisms tried in their networks before anything is trained: what cannot work is told in seconds."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.attention._errors import CRASHES, sentence
from sisr.config import specs
from sisr.config.own_code import source
from sisr.cost import measure
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import sha256

_ODD = (11, 13)
"""Size of an image that nothing divides: test images have any size."""


def run(networks: Sequence[str], patch: int = 24) -> list[dict[str, Any]]:
    """Build each network, take one training step's gradient at patch x patch and one forward at an odd size.

    networks: as `python -m sisr complexity` takes them: `edsr:blocks=4,channels=16,attention=file.py:Class`.
    The answer has a row for each: `spec`, and `file` with its `sha256` where the attention comes from a file.
    Raises SisrError with one sentence on the first that does not work.
    """
    rows = []
    for spec in networks:
        attention = specs.parse(spec)[1].get("attention")
        try:
            subject = measure.build(spec, 64, (patch, patch), 64, torch.device("cpu"))
            # the residual around it would hide a shape that is only broadcast
            network: Any = subject.module
            for module in network.attention.values():
                module.register_forward_hook(_same_shape)
            measure.gradient_step(subject)()
            with torch.no_grad():
                network.eval()(torch.rand(1, 3, *_ODD))
        except UsageError as error:
            raise SisrError(str(error).removeprefix(f"{spec}: ")) from error  # without the whole network before it
        except CRASHES as error:
            raise SisrError(f"{attention or spec} does not work in its network: {sentence(error)}.") from error
        file = source(attention)
        rows.append({"spec": spec, **({"file": str(file), "sha256": sha256(file)} if file else {})})
    return rows


def _same_shape(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if output.shape != inputs[0].shape:
        raise ValueError(f"its output has the shape {tuple(output.shape)} for an input of {tuple(inputs[0].shape)}")
