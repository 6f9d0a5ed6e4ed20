"""Own mechanisms tried in their networks before anything is trained: what cannot work is told in seconds."""

from collections.abc import Sequence
from typing import Any

import torch

from models.attention.crashes import CRASHES, sentence
from sisr.complexity import measure, specs
from sisr.errors import SisrError
from sisr.files import sha256
from sisr.own_code import source

_ODD = (11, 13)
"""Size of an image that nothing divides: test images have any size."""


def run(networks: Sequence[str], patch: int = 24) -> list[dict[str, Any]]:
    """Build each network, take one training step's gradient at patch x patch and one forward at an odd size.

    networks: as `python -m sisr complexity` takes them: `edsr:blocks=4,channels=16,attention=file.py:Class`.
    The answer has a row for each: `spec`, and `file` with its `sha256` where the attention comes from a file.
    Raises SisrError, or UsageError for wrong options, with one sentence on the first that does not work.
    """
    rows = []
    for spec in networks:
        attention = specs.parse(spec)[1].get("attention")
        try:
            subject = measure.build(spec, 64, (patch, patch), 64, torch.device("cpu"))
            measure.gradient_step(subject)()
            scale = int(subject.options.get("scale", 4))
            with torch.no_grad():
                shape = tuple(subject.module.eval()(torch.rand(1, 3, *_ODD)).shape)
        except CRASHES as error:
            raise SisrError(f"{attention or spec} does not work in its network: {sentence(error)}.") from error
        if shape != (1, 3, scale * _ODD[0], scale * _ODD[1]):
            raise SisrError(f"{attention or spec} changes the shape of what goes through it.")
        file = source(attention)
        rows.append({"spec": spec, **({"file": str(file), "sha256": sha256(file)} if file else {})})
    return rows
