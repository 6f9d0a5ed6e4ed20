"""The other networks of Table 1 beyond what their authors' code computes: sizes, options, files, cost."""

import json
import math
import re
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import models
from models import edsr_released
from models.registry import READERS
from models.rnan import NonLocal
from models.san import covariance_root
from sisr.cost.measure import count_operations
from tests.helpers import authors_layouts as layouts

SMALL = {
    "dbpn": {"stages": 3, "features": 6, "channels": 4},
    "memnet": {"memories": 2, "recursions": 2, "channels": 4},
    "nlrn": {"recurrences": 2, "channels": 4, "embedding": 2},
    "oisr": {"blocks": 2, "channels": 4},
    "rcan": {"groups": 2, "blocks": 1, "channels": 8, "reduction": 4},
    "rdn": {"blocks": 2, "layers": 2, "channels": 4, "growth": 3},
    "rnan": {"blocks": 3, "channels": 4},
    "san": {"groups": 2, "blocks": 1, "channels": 8, "reduction": 4},
    "srfbn": {"steps": 2, "groups": 2, "channels": 4},
}
WITH_SLOTS = ["rcan", "rdn"]


def small(name: str, scale: int = 2, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.create(name, scale, **SMALL[name] | options)


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(SMALL)),
    scale=st.sampled_from([1, 2, 3, 4, 8]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_output_is_scale_times_larger_at_any_size(name: str, scale: int, height: int, width: int) -> None:
    if name == "dbpn" and scale in (1, 3):
        with pytest.raises(ValueError, match="scale must be 2, 4 or 8"):
            small(name, scale)
        return
    if name == "srfbn" and scale == 1:
        with pytest.raises(ValueError, match="scale must be 2, 3, 4 or 8"):
            small(name, scale)
        return
    model = small(name, scale)
    assert model.scale == scale
    output = model(torch.rand(2, 3, height, width))
    assert output.shape == (2, 3, scale * height, scale * width)
    output.square().mean().backward()
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("name", SMALL)
def test_config_is_json_and_rebuilds_the_network(name: str, tmp_path) -> None:
    model = small(name).eval()
    assert json.loads(json.dumps(model.config)) == model.config
    models.save(model, tmp_path / "weights.safetensors")
    again = models.load(tmp_path / "weights.safetensors")
    assert again.config == model.config
    x = torch.rand(1, 3, 6, 8)
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize("name", WITH_SLOTS)
@pytest.mark.parametrize("slots", [None, [0, 2], [1]])
def test_attention_goes_into_the_slots(name: str, slots: list[int] | None, tmp_path) -> None:
    model = small(name, attention="nla", attention_options={"reduction": 1, "k": 4.0}, slots=slots).eval()
    assert list(model.attention) == [str(slot) for slot in slots or [0, 2]]
    x = torch.rand(1, 3, 6, 8)
    plain = small(name)
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("attention.")})
    assert not torch.allclose(plain(x), model(x), atol=1e-6)
    models.save(model, tmp_path / "weights.safetensors")
    assert torch.equal(models.load(tmp_path / "weights.safetensors")(x), model(x))


@pytest.mark.parametrize("name", WITH_SLOTS)
def test_attention_inserted_into_a_trained_network_changes_nothing_at_first(name: str) -> None:
    trained, x = small(name).eval(), torch.rand(1, 3, 6, 8)
    model = small(name, attention="enlca", attention_options={"m": 8}).eval()
    started = models.start_from(model, trained.state_dict())
    assert all(key.startswith("attention.") for key in started.new)
    torch.testing.assert_close(model(x), trained(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("dbpn", {"stages": 1}, "stages must be at least 2, not 1"),
        ("memnet", {"memories": 0}, "memories must be at least 1, not 0"),
        ("nlrn", {"window": 5}, "window must be at least the stride, which is 7, not 5"),
        ("nlrn", {"recurrences": 0}, "recurrences must be at least 1, not 0"),
        ("oisr", {"blocks": -1}, "blocks must be at least 0, not -1"),
        ("srfbn", {"steps": 0}, "steps must be at least 1, not 0"),
        ("srfbn", {"scale": 5}, "scale must be 2, 3, 4 or 8, not 5"),
        ("rcan", {"reduction": 9}, "reduction must be at most the 8 channels, not 9"),
        ("rcan", {"groups": -1}, "groups must be at least 0, not -1"),
        ("rcan", {"scale": 5}, "scale must be 1, 2, 3, 4 or 8, not 5"),
        ("rcan", {"attention": "nla", "slots": [3]}, r"slots must be different numbers from 0 to 2, not \[3\]"),
        ("rcan", {"attention": "nlaa"}, "unknown attention 'nlaa'"),
        ("rdn", {"growth": 0}, "growth must be at least 1, not 0"),
        ("rnan", {"blocks": 1}, "blocks must be at least 2, not 1"),
        ("rnan", {"value_range": 0.0}, "value_range must be above 0, not 0"),
        ("san", {"non_local": 0}, "non_local must be at least 1, not 0"),
        ("san", {"mean": [0.1, 0.2]}, r"mean must be three numbers, not \[0.1, 0.2\]"),
        ("san", {"group": 3}, "network 'san' has no option 'group': did you mean 'groups'"),
    ],
)
def test_wrong_options_are_answered_with_a_sentence(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        models.create(name, **SMALL[name] | options)


@pytest.mark.parametrize("name", layouts.NETWORKS)
def test_files_that_lack_a_weight_or_have_another_shape_are_refused(name: str) -> None:
    state = layouts.released(name)
    unused = layouts.read(name)["unused"]
    kinds = {re.sub(r"\d+", "", key): key for key in state if not re.fullmatch(unused, key)}
    for key in kinds.values():
        for broken in (
            {other: value for other, value in state.items() if other != key},
            {**state, key: torch.zeros([side + 1 for side in state[key].shape])},
        ):
            with pytest.raises(ValueError) as error:  # noqa: PT011  (what is missing decides the sentence)
                models.load(broken, layouts.scale_to_give(name))
            assert "\n" not in str(error.value), key
    with pytest.raises(ValueError, match=r"Unexpected key.*extra\.weight"):
        models.load({**state, "extra.weight": torch.zeros(3)}, layouts.scale_to_give(name))


@pytest.mark.parametrize("name", ["oisr", "rcan", "rnan", "san"])
def test_a_shift_of_colours_that_is_none_is_refused(name: str) -> None:
    state = layouts.released(name)
    for key, change in (("sub_mean.bias", 0.1 * 255), ("add_mean.weight", 0.2), ("add_mean.bias", 0.1 * 255)):
        # by this reader: spandrel, which is tried next, keeps RCAN's shift as weights
        with pytest.raises(ValueError, match=f"{key} of this checkpoint is not the shift of colours"):
            import_module(f"models.{name}").load({**state, key: state[key] + change})


@pytest.mark.parametrize("name", ["oisr", "rcan", "rnan", "san"])
def test_weights_for_rgb_from_0_to_1_are_recognised_by_their_mean(name: str) -> None:
    state = layouts.released(name)
    model = models.load({key: value / (255 if key.endswith("mean.bias") else 1) for key, value in state.items()})
    assert model.value_range == 1
    assert models.load(state).value_range == 255


def test_edsrs_range_is_recognised_and_its_residual_scale_stated(caplog: pytest.LogCaptureFixture) -> None:
    state = layouts.released("edsr")
    assert torch.equal(models.load(state).head.weight, 255 * state["head.0.weight"])
    [message] = caplog.messages
    assert message.startswith("the file does not contain EDSR's residual scale: using 1 for its 8 channels")
    model = models.load({key: value / (255 if key.endswith("mean.bias") else 1) for key, value in state.items()})
    assert torch.equal(model.head.weight, state["head.0.weight"])
    assert model.config["residual_scale"] == 1
    assert models.load(layouts.released("edsr", 3)).config["residual_scale"] == 0.1  # 256 channels


@pytest.mark.parametrize("name", layouts.NETWORKS)
def test_one_reader_alone_claims_each_file_but_that_of_edsr(name: str) -> None:
    """Outer names of several networks are those of EDSR, whose reader comes last."""
    state, network = layouts.released(name), name.split("_")[0]
    claims = [reader.load.__module__ for reader in READERS if reader.recognises(state)]
    assert claims == ([] if network in ("edsr", "nlsn") else [f"models.{network}"])
    assert edsr_released.recognises(state) == (network in ("edsr", "nlsn", "oisr", "rcan", "rnan", "san"))
    assert models.load(state, layouts.scale_to_give(name)).config["name"] == network


def test_covariance_root_squared_is_the_covariance() -> None:
    x = torch.from_numpy(layouts.noise("x", (2, 4, 9, 11))) @ torch.eye(11, dtype=torch.float64)
    root = covariance_root(x)
    for one, features in zip(root, x.flatten(2), strict=True):
        torch.testing.assert_close(one @ one, torch.cov(features, correction=0), rtol=0, atol=2e-3)


def test_covariance_root_has_the_right_gradient_also_where_features_are_constant() -> None:
    x = torch.from_numpy(layouts.noise("x", (1, 3, 4, 4))).requires_grad_()
    assert torch.autograd.gradcheck(covariance_root, (x,))
    flat = torch.ones(1, 3, 4, 4, requires_grad=True)
    root = covariance_root(flat)
    root.sum().backward()
    assert torch.equal(root, torch.zeros_like(root))
    assert flat.grad is not None
    assert flat.grad.isfinite().all()
    assert covariance_root(torch.rand(1, 3, 4, 4).bfloat16()).dtype == torch.float32


def test_non_local_in_parts_is_the_same(monkeypatch) -> None:
    torch.manual_seed(0)
    module, x = NonLocal(4), torch.rand(2, 4, 5, 6)
    torch.nn.init.normal_(module.output.weight)
    whole = module(x)
    monkeypatch.setattr("models.rnan._WEIGHTS", 30 * 7)  # seven of thirty keys at a time
    torch.testing.assert_close(module(x), whole)
    # each key gives all of its value to the queries together
    given = (whole - x - module.output.bias.view(1, -1, 1, 1)).sum(dim=(2, 3))
    value = torch.einsum("oi,bi->bo", module.output.weight[..., 0, 0], module.value(x).sum(dim=(2, 3)))
    torch.testing.assert_close(given, value, rtol=1e-4, atol=1e-4)


def _convolutions(model: torch.nn.Module, x: Tensor) -> int:
    """Multiply-adds of all convolutions: outputs (of a transposed one: inputs) times weights of each."""
    total = 0

    def add(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        side = inputs[0] if isinstance(module, torch.nn.ConvTranspose2d) else output
        total += math.prod(side.shape[2:]) * module.weight.numel()  # type: ignore[operator,union-attr]

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_hook(add)
    model(x)
    return total


@pytest.mark.parametrize("name", SMALL)
def test_all_products_are_counted(name: str) -> None:
    height, width = 8, 12
    x, n = torch.rand(1, 3, height, width), height * width
    products = 0
    if name == "rnan":  # two modules: query · key and weights · value of channels / 2
        products = 2 * 2 * n * n * 2
    if name in ("memnet", "nlrn"):  # RGB to YCbCr at x1, back at x2
        products = 9 * n + 9 * 4 * n
    if name == "memnet":  # weighted sum of two planes
        products += 2 * 4 * n
    if name == "nlrn":  # query · key and weights · value in two recurrences
        products += 2 * (4 * n) ** 2 * (2 + 4)
    if name == "san":  # two uses of four quarters, keys a quarter of these; covariance and its root in two groups
        products = 2 * 4 * 2 * (n // 4) * (n // 16) * 1 + 2 * (8 * 8 * n + 5 * 3 * 8**3)
    counted = count_operations(small(name).eval(), x)
    assert counted.at_least == ""
    assert sum(counted.products.values()) == products + _convolutions(small(name), x)
