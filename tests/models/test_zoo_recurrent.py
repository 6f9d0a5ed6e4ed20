"""MemNet, NLRN, SRFBN and OISR: what their papers define, and what their files must hold."""

from typing import Any

import pytest
import torch
from torch import Tensor

import models
from models.colour import to_ycbcr, upscale
from models.oisr import RungeKutta
from tests.helpers import authors_layouts as layouts


def test_srfbn_has_an_image_for_each_step() -> None:
    torch.manual_seed(0)
    model: Any
    model, x = models.create("srfbn", 2, steps=3, groups=2, channels=4), torch.rand(1, 3, 5, 6)
    images = model.outputs(x)
    assert len(images) == 3
    for steps, image in enumerate(images, start=1):
        shorter = models.create("srfbn", 2, steps=steps, groups=2, channels=4)
        shorter.load_state_dict(model.state_dict())
        torch.testing.assert_close(shorter(x), image)
    assert (images[0] - images[1]).abs().max() > 1e-6


def test_memnet_mixes_the_planes_of_its_memories() -> None:
    torch.manual_seed(0)
    model: Any
    model, x = models.create("memnet", 3, memories=3, recursions=1, channels=4).eval(), torch.rand(2, 3, 5, 6)
    mixed, *planes = model.outputs(x)
    assert len(planes) == 3
    torch.testing.assert_close(mixed, sum(planes) / 3)  # weights that are not trained are equal
    with torch.no_grad():
        model.mixture.copy_(torch.tensor([0.5, -1.0, 2.0]))
    mixed = model.outputs(x)[0]
    torch.testing.assert_close(mixed, 0.5 * planes[0] - planes[1] + 2 * planes[2])
    torch.testing.assert_close(to_ycbcr(model(x))[:, :1], mixed, rtol=0, atol=1e-5)


def nlrn(**options: object) -> Any:
    torch.manual_seed(0)
    sizes = {"recurrences": 2, "channels": 4, "embedding": 2}
    model: Any = models.create("nlrn", 2, **sizes | options)
    torch.nn.init.normal_(model.value.weight)
    return model


def test_nlrn_averages_overlapping_windows_in_evaluation() -> None:
    model, y = nlrn(window=8, stride=3).eval(), torch.rand(1, 1, 5, 8)  # 10 x 16
    large = upscale(y, 2)
    total, windows = torch.zeros_like(large), torch.zeros_like(large)
    for top in (0, 2):
        for left in (0, 3, 6, 8):
            place = (..., slice(top, top + 8), slice(left, left + 8))
            total[place] += large[place] + model.detail(large[place])
            windows[place] += 1
    torch.testing.assert_close(model.luma(y), total / windows)


def test_nlrn_computes_a_small_image_as_a_whole() -> None:
    y = torch.rand(2, 1, 4, 3)
    large = upscale(y, 2)
    model = nlrn(window=8, stride=3)
    for training in (False, True):
        model.train(training)
        torch.testing.assert_close(model.luma(y), large + model.detail(large))


def test_nlrn_trains_on_windows_side_by_side() -> None:
    model, seen = nlrn(window=8, stride=3).train(), []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    model.luma(torch.rand(2, 1, 8, 6))  # 16 x 12: two rows of windows, and columns from 0 and 4
    assert seen == [(2 * 4, 1, 8, 8)]


def test_nlrn_adds_the_correlations_of_the_recurrence_before() -> None:
    first, second = torch.rand(1, 4, 3, 3), torch.rand(1, 4, 3, 3)

    def attend(model: Any, x: Tensor, *correlated: Tensor) -> Tensor:
        q, k, v = (lambda x, layer=layer: layer(x)[0].flatten(1) for layer in (model.query, model.key, model.value))
        correlation = sum(q(each).T @ k(each) for each in correlated)
        return x + (v(x) @ torch.softmax(correlation, dim=1).T).view_as(x)

    for propagation in (True, False):
        model = nlrn(propagation=propagation)
        _, correlation = model._attend(first, None)
        found, _ = model._attend(second, correlation)
        torch.testing.assert_close(found, attend(model, second, second, *([first] if propagation else [])))


def test_a_block_of_oisr_is_of_third_order() -> None:
    rate = 0.3
    block: Any = RungeKutta(2)
    x = torch.rand(1, 2, 4, 5)
    with torch.no_grad():
        for convolution, activation in zip(block.convolutions, block.activations, strict=True):
            torch.nn.init.dirac_(convolution.weight).mul_(rate)
            torch.nn.init.zeros_(convolution.bias)
            activation.weight.fill_(1.0)
    # of x' = rate · x, whose solution is exp(rate) x, Kutta's method has the series up to the third power
    torch.testing.assert_close(block(x), x * (1 + rate + rate**2 / 2 + rate**3 / 6))


@pytest.mark.parametrize(("name", "title"), [("memnet", "MemNet"), ("nlrn", "NLRN")])
def test_weights_for_all_scales_need_one(name: str, title: str) -> None:
    state = layouts.released(name)
    with pytest.raises(ValueError, match=rf"{title}'s weights serve all scales: give one, as --scale or models\.load"):
        models.load(state)
    assert models.load(state, scale=3).scale == 3


def test_memnets_shared_convolutions_must_be_equal() -> None:
    state = layouts.released("memnet")
    state["conv03_05_b.0"] = state["conv03_05_b.0"] + 1
    with pytest.raises(ValueError, match="conv03_05_b and conv03_01_b must be equal"):
        models.load(state, scale=2)


def test_memnets_statistics_are_divided_by_their_weight() -> None:
    state = layouts.released("memnet")
    scaled = {
        key: tensor * 7 if key.startswith("bn_") else tensor  # sums and their weight alike
        for key, tensor in state.items()
    }
    x = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(models.load(scaled, scale=2)(x), models.load(state, scale=2)(x))


def test_nlrns_variables_are_read_with_and_without_scope_and_optimiser() -> None:
    state = layouts.released("nlrn")
    x, expected = torch.rand(1, 3, 4, 4), models.load(state, scale=2)
    without = {key.removeprefix("model/"): tensor for key, tensor in state.items()}
    optimiser = {
        "model/conv1/kernel/Adam": torch.ones(1),
        "solver/beta1_power": torch.ones(()),
        "Variable": torch.ones(()),
    }
    for other in (without, {**state, **optimiser, "model/conv1/kernel/Adam_1": torch.ones(1)}):
        assert torch.equal(models.load(other, scale=2)(x), expected(x))


def test_srfbns_shift_of_colours_must_be_the_authors() -> None:
    state = layouts.released("srfbn")
    for key in ("sub_mean.bias", "add_mean.weight"):
        with pytest.raises(ValueError, match=f"{key} of this checkpoint is not the shift of colours"):
            models.load({**state, key: state[key] * 1.01})
