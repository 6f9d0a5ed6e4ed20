"""Networks of other authors compute what their authors' code does, and load its files, with random weights.

The figures were computed by the authors' code, or a port of it, in the repository and commit that each file in
`authors_layouts` names.
"""

import re

import numpy as np
import pytest
import torch

import models
from tests.helpers import authors_layouts as layouts

CASES = [
    pytest.param(name, number, id=f"{name}-x{case['scale']}-{number}")
    for name in layouts.NETWORKS
    for number, case in enumerate(layouts.read(name)["cases"])
]
FULL = [
    pytest.param(name, scale, id=f"{name}-x{scale}")
    for name in layouts.NETWORKS
    for scale in layouts.read(name)["full"]
]
SHIFT = ("sub_mean.", "add_mean.")


@pytest.mark.parametrize(("name", "number"), CASES)
def test_output_and_gradients_are_those_of_the_authors_code(name: str, number: int) -> None:
    record = layouts.read(name)
    case = record["cases"][number]
    model = models.load(layouts.released(name, number), layouts.scale_to_give(name, number)).double()
    assert model.scale == case["scale"]
    x = layouts.image(case.get("size", layouts.SIZE)).double().requires_grad_()
    output = model(x)
    layouts.loss(output).backward()
    found, expected = layouts.statistics(output), case["output"]
    assert found["mean"] == pytest.approx(expected["mean"], abs=1e-6)
    assert found["deviation"] == pytest.approx(expected["deviation"], abs=1e-6)
    np.testing.assert_allclose(found["values"], expected["values"], rtol=1e-6, atol=1e-6)
    # the authors' mean times 255 is rounded: a ReLU near 0 may fall on either side
    assert x.grad is not None
    assert x.grad.norm().item() == pytest.approx(case["input_gradient"], rel=1e-4)
    if not case["learned"]:  # a learned shift of colours becomes part of weights that it was beside
        squares = [
            parameter.grad.square().sum()
            for key, parameter in model.named_parameters()
            if parameter.grad is not None and not re.fullmatch(record.get("folded", ""), key)
        ]
        assert torch.stack(squares).sum().sqrt().item() == pytest.approx(case["weight_gradient"], rel=1e-4)


@pytest.mark.parametrize(("name", "scale"), FULL)
def test_full_size_has_the_authors_parameters(name: str, scale: str) -> None:
    """All but those that the authors' network does not use, and the constant shift of colours."""
    record = layouts.read(name)
    full = record["full"][scale]
    shapes = layouts.expand(full["layout"])
    others = record.get("no_parameter", "")
    count = {key: int(np.prod(shape)) for key, shape in shapes.items() if not re.fullmatch(others, key)}
    without = {key for key in count if key.startswith(SHIFT) or re.fullmatch(record["unused"], key)}
    assert sum(count.values()) == full["parameters"]
    with torch.device("meta"):
        model = models.create(name.split("_")[0], scale=int(scale))
    assert sum(parameter.numel() for parameter in model.parameters()) == full["parameters"] - sum(
        count[key] for key in without
    )
