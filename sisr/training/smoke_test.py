"""A smoke test of custom mechanisms in their networks, which takes seconds, before training starts."""

from collections.abc import Sequence
from typing import Any

import torch

from models.attention._errors import CRASHES, sentence
from sisr.config.mechanisms import Mechanism, source
from sisr.cost import measure
from sisr.training.shapes import same_shape
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import sha256

_ODD = (11, 13)
"""An image size that is not divisible by any window or stride."""


def run(networks: Sequence[str], patch: int = 24) -> list[dict[str, Any]]:
    """Build each network, run one training step at patch x patch and one forward pass at an odd size.

    networks: as for `python -m sisr complexity`: `edsr:blocks=4,channels=16,attention=file.py:Class`.
    The result has a row for each: `spec`, and `file` with its `sha256` if attention or network come from a file.
    Raises SisrError for the first that fails.
    """
    rows = []
    for spec in networks:
        named = Mechanism.parse(spec)
        attention = named.options.get("attention")
        try:
            subject = measure.build(spec, 64, (patch, patch), 64, torch.device("cpu"))
            # the residual connection would hide a wrong shape by broadcasting
            network: Any = subject.module
            by_slot = getattr(network, "attention", None)
            for module in by_slot.values() if isinstance(by_slot, torch.nn.ModuleDict) else ():
                module.register_forward_hook(lambda module, inputs, output: same_shape(module, inputs[0], output))
            measure.gradient_step(subject)()
            with torch.no_grad():
                sr = network.eval()(torch.rand(1, 3, *_ODD))
            expected = (1, 3, *(int(network.scale) * side for side in _ODD))
            if tuple(sr.shape) != expected:
                raise SisrError(f"{named.name} returns {tuple(sr.shape)} for an image (1, 3, 11, 13), not {expected}.")
        except UsageError as error:
            raise SisrError(str(error).removeprefix(f"{spec}: ")) from error  # without the specification of the network
        except CRASHES as error:
            raise SisrError(f"{attention or spec} fails in its network: {sentence(error)}.") from error
        file = source(attention or named.name)
        rows.append({"spec": spec, **({"file": str(file), "sha256": sha256(file)} if file else {})})
    return rows
