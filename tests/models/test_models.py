"""Networks by name, their sizes, their files, and the checkpoints that the authors of ENLCN released."""

import json
import math
import subprocess
import sys

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import models
from models.initialisation import bicubic_phases

SMALL = {"blocks": 2, "channels": 16, "slots": [0, 2]}


def small(name: str = "enlcn", scale: int = 2, **options) -> nn.Module:
    torch.manual_seed(0)
    return models.create(name, scale, **SMALL | options)


# counts from shapes alone: nothing of this size is allocated
@pytest.mark.parametrize(
    ("name", "scale", "millions", "exact"),
    [
        ("edsr", 2, 40.73, None),
        ("edsr", 4, 43.09, None),
        ("nlsn", 2, 41.80, None),
        ("nlsn", 4, 44.16, None),
        ("enlcn", 2, 41.22, 41_223_043),
        ("enlcn", 4, 43.58, 43_583_363),
    ],
)
def test_sizes_are_the_published_ones(name, scale, millions, exact):
    with torch.device("meta"):
        model = models.create(name, scale)
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert round(count / 1e6, 2) == millions
    assert exact in (None, count)
    if name == "enlcn":
        assert sum(buffer.numel() for key, buffer in model.state_dict().items() if "projection" in key) == 5 * 128 * 64
        assert sum(parameter.numel() for parameter in model.attention["0"].parameters()) == 98_688
        assert list(model.attention) == ["0", "8", "16", "24", "32"]


@pytest.mark.parametrize("name", ["edsr", "enlcn", "nlsn"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("initialisation", ["pytorch", "interpolation"])
def test_output_is_scale_times_larger(name, scale, initialisation):
    model = small(name, scale, initialisation=initialisation).eval()
    assert model.scale == scale
    out = model(torch.rand(2, 3, 5, 7))
    assert out.shape == (2, 3, 5 * scale, 7 * scale)
    out.mean().backward()


@pytest.mark.parametrize("name", ["edsr", "enlcn", "nlsn"])
def test_config_is_json_and_rebuilds_the_network(name):
    model = small(name)
    config = json.loads(json.dumps(model.config))
    assert config == model.config
    assert (config["name"], config["scale"]) == (name, 2)
    again = models.create(**config)
    assert again.config == config
    again.load_state_dict(model.state_dict(), strict=True)


def test_timm_knows_the_networks():
    model = timm.create_model("enlcn", scale=4, blocks=1, channels=8)
    assert model(torch.rand(1, 3, 4, 4)).shape == (1, 3, 16, 16)
    assert model.config["attention"] == "enlca"
    assert {"edsr", "enlcn", "nlsn"} <= set(timm.list_models()) & set(models.available())
    with pytest.raises(ValueError, match="no pretrained weights"):
        timm.create_model("enlcn", pretrained=True)


def test_timm_is_loaded_by_who_uses_it_and_knows_the_networks_then(root):
    code = "import sys, models; print('timm' in sys.modules); import timm; print(*timm.list_models(module='edsr'))"
    told = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["False", "edsr enlcn nlsn"]


def test_attention_can_be_exchanged_and_left_out():
    assert list(small("edsr", attention="nla").attention) == ["0", "2"]
    assert type(small("enlcn", attention="nlsa", attention_options={"rounds": 2}).attention["0"]).__name__ == "NLSA"
    assert not small("enlcn", attention=None).attention
    assert list(models.create("enlcn", blocks=17, channels=4).attention) == ["0", "8", "16"]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("encln", {}, "unknown network 'encln': did you mean 'enlcn'"),
        ("enlcn", {"scale": 5}, "scale must be 1, 2, 3, 4 or 8, not 5"),
        ("enlcn", {"block": 5}, "network 'enlcn' has no option 'block': did you mean 'blocks'"),
        ("enlcn", {"channels": 2}, "channels must be at least 3"),
        ("enlcn", {"blocks": -1}, "blocks must be from 0 to"),
        ("enlcn", {"blocks": 2, "slots": [3]}, r"slots must be different numbers of blocks from 0 to 2, not \[3\]"),
        ("enlcn", {"blocks": 2, "slots": [1, 1]}, "slots must be different"),
        ("enlcn", {"initialisation": "xavier"}, "initialisation must be one of pytorch, interpolation"),
        ("enlcn", {"blocks": 1, "attention_options": {"kk": 1}}, "attention 'enlca' has no option 'kk'"),
    ],
)
def test_wrong_options_are_answered_with_a_sentence(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.create(name, **{"blocks": 1, "channels": 8} | options)


# initialisation


@pytest.mark.parametrize("factor", [2, 3])
def test_phases_reproduce_a_straight_line_shifted_by_its_position(factor):
    phases = bicubic_phases(factor)
    assert torch.allclose(phases.sum(1), torch.ones(factor))
    assert torch.allclose(phases, phases.flip(0).flip(1), atol=1e-6)
    if factor == 3:
        assert torch.allclose(phases[1], torch.tensor([0.0, 1.0, 0.0]))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interpolation_starts_near_bicubic(scale):
    y, x = torch.meshgrid(torch.linspace(0, 3, 24), torch.linspace(0, 2, 20), indexing="ij")
    image = torch.stack([0.5 + 0.4 * torch.sin(y + x), 0.5 + 0.4 * torch.cos(2 * y), 0.5 + 0.3 * torch.sin(3 * x)])[
        None
    ]
    bicubic = F.interpolate(image, scale_factor=scale, mode="bicubic")
    inner = (..., slice(3 * scale, -3 * scale), slice(3 * scale, -3 * scale))
    with torch.no_grad():
        start = small(scale=scale, initialisation="interpolation").eval()(image)
        usual = small(scale=scale).eval()(image)
    error = (start - bicubic)[inner].abs().max()
    nearest = (F.interpolate(image, scale_factor=scale) - bicubic)[inner].abs().max()
    assert error < nearest / 2
    assert error < (usual - bicubic)[inner].abs().max() / 10


def test_every_weight_learns_from_the_interpolation():
    model = small(initialisation="interpolation", attention_options={"m": 16})
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-2)
    low, high = torch.rand(1, 3, 6, 6), torch.rand(1, 3, 12, 12)
    for _ in range(3):
        optimiser.zero_grad()
        (model(low) - high).square().sum().backward()
        optimiser.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


# files


@pytest.mark.parametrize("name", ["edsr", "enlcn", "nlsn"])
def test_saved_and_loaded_networks_are_equal(tmp_path, name):
    model = small(name)
    models.redraw(model, torch.Generator().manual_seed(3))
    models.save(model, tmp_path / "new" / "weights.safetensors")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["weights.safetensors"]
    loaded = models.load(tmp_path / "new" / "weights.safetensors")
    assert not loaded.training
    assert loaded.config == model.config
    x = torch.rand(1, 3, 9, 8)
    assert torch.equal(loaded(x), model.eval()(x))


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    models.save(small(), path)
    before = path.read_bytes()

    def disk_full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("models.weights.save_file", disk_full)
    with pytest.raises(OSError, match="no space left"):
        models.save(small("edsr"), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_files_that_are_no_weights_are_refused(tmp_path):
    whole = tmp_path / "whole.safetensors"
    models.save(small(), whole)
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-100])
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "instructions.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"head.0.weight": nn.Linear(1, 1)}, tmp_path / "code.pt")
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors")
    for name, sentence in {
        "absent.pt": "does not exist",
        "cut.safetensors": "not a complete safetensors file",
        "text.pt": "no weights that can be loaded safely",
        "instructions.pt": "loaded safely: it was not written by torch.save, or is damaged",
        "list.pt": "contains a list, not a state dict",
        "code.pt": "no weights that can be loaded safely",
        "foreign.safetensors": "does not state its network",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            models.load(tmp_path / name)
    with pytest.raises(ValueError, match="of no network that is known here"):
        models.load({"a": torch.ones(1)})
    with pytest.raises(ValueError, match="has no config"):
        models.save(nn.Linear(1, 1), tmp_path / "x.safetensors")


# the authors' checkpoints, from a replica of their module written out here


class ReleasedAttention(nn.Module):
    def __init__(self, channels: int, m: int) -> None:
        super().__init__()
        width = channels // 4
        self.conv_match1 = nn.Sequential(nn.Conv2d(channels, width, 1))
        self.conv_match2 = nn.Sequential(nn.Conv2d(channels, width, 1))
        self.conv_assembly = nn.Sequential(nn.Conv2d(channels, channels, 1))
        self.attn_fn = nn.Module()
        self.attn_fn.register_buffer("projection_matrix", torch.randn(m, width))

    def similar(self, x: Tensor) -> tuple[Tensor, Tensor]:
        theta, delta = (F.normalize(f(x), dim=1, eps=5e-5) * math.sqrt(6) for f in (self.conv_match1, self.conv_match2))
        return theta.flatten(2), delta.flatten(2)  # (B, c, N)

    def forward(self, x: Tensor) -> Tensor:
        theta, delta = self.similar(x)
        g = self.conv_assembly(x).flatten(2)
        F_ = self.attn_fn.projection_matrix
        phi_q, phi_k = (
            len(F_) ** -0.5 * (torch.exp(F_ @ y - y.square().sum(1, keepdim=True) / 2) + 1e-4) for y in (theta, delta)
        )
        weights = phi_q.transpose(1, 2) @ phi_k  # (B, N, N): the plain way
        out = (weights / weights.sum(2, keepdim=True)) @ g.transpose(1, 2)
        return 0.1 * out.transpose(1, 2).reshape(x.shape) + x

    def contrastive(self, x: Tensor) -> Tensor:
        theta, delta = self.similar(x)
        ordered = torch.exp(theta.transpose(1, 2) @ delta).sort(dim=2, descending=True)[0]
        near, far = ordered[..., 0:15].mean(2), ordered[..., 50:65].mean(2)
        return torch.clamp(-torch.log(near / far) + 1, min=0).mean()


class ReleasedBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.body(x)


class ReleasedNetwork(nn.Module):
    def __init__(self, scale: int, channels: int, every: int, groups: int, m: int) -> None:
        super().__init__()
        mean = torch.tensor([0.4488, 0.4371, 0.4040])
        self.sub_mean, self.add_mean = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        for shift, sign in ((self.sub_mean, -1), (self.add_mean, 1)):
            shift.weight.data = torch.eye(3).view(3, 3, 1, 1)
            shift.bias.data = sign * mean
        self.head = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1))
        body: list[nn.Module] = [ReleasedAttention(channels, m)]
        for _ in range(groups):
            body += [ReleasedBlock(channels) for _ in range(every)]
            body.append(ReleasedAttention(channels, m))
        self.body = nn.Sequential(*body, nn.Conv2d(channels, channels, 3, padding=1))
        stages: list[nn.Module] = []
        for factor in {2: [2], 3: [3], 4: [2, 2]}[scale]:
            stages += [nn.Conv2d(channels, channels * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
        self.tail = nn.Sequential(nn.Sequential(*stages), nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(x + self.body(x)))


def released(scale: int = 2, channels: int = 16, every: int = 2, groups: int = 2, m: int = 20) -> ReleasedNetwork:
    torch.manual_seed(1)
    return ReleasedNetwork(scale, channels, every, groups, m).eval()


@pytest.mark.parametrize(
    "sizes",
    [
        {"scale": 2},
        {"scale": 3, "channels": 24},
        {"scale": 4, "every": 1, "groups": 3, "m": 7},
        {"channels": 8, "every": 3, "groups": 1, "m": 128},
    ],
)
def test_released_checkpoints_give_the_same_images_and_loss(tmp_path, sizes):
    theirs = released(**sizes)
    torch.save(theirs.state_dict(), tmp_path / "ENLCA.pt")
    ours = models.load(tmp_path / "ENLCA.pt")
    assert not ours.training
    x = torch.rand(2, 3, 12, 11)
    with torch.no_grad():
        expected = theirs(x)
        assert expected.std() > 1e-3
        assert (ours(x) - expected).abs().max() < 1e-5
    theirs, ours, x = (
        theirs.double(),
        ours.double().train(),
        x.double(),
    )  # the loss is a small difference of terms near 1
    inputs: list[Tensor] = []
    for module in theirs.body:
        if isinstance(module, ReleasedAttention):
            module.register_forward_hook(lambda module, args, _: inputs.append(module.contrastive(args[0])))
    models.set_auxiliary_loss(ours, True)
    with torch.no_grad():
        theirs(x)
        ours(x)
    assert len(inputs) == len(ours.attention)
    assert models.auxiliary_loss(ours).item() == pytest.approx(torch.stack(inputs).mean().item(), rel=1e-9)


def test_released_layout_is_read_from_the_shapes():
    config = models.load(released(4, 24, 3, 2, 9).state_dict()).config
    assert (config["name"], config["scale"], config["blocks"], config["channels"]) == ("enlcn", 4, 6, 24)
    assert config["slots"] == [0, 3, 6]
    assert (config["attention_options"]["m"], config["attention_options"]["reduction"]) == (9, 4)


def test_a_converted_checkpoint_can_be_saved(tmp_path):
    ours = models.load(released().state_dict())
    models.save(ours, tmp_path / "enlcn.safetensors")
    x = torch.rand(1, 3, 6, 6)
    assert torch.equal(models.load(tmp_path / "enlcn.safetensors")(x), ours(x))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop("body.1.body.0.bias"), "Missing key.*blocks.0.first.bias"),
        (lambda state: state.update({"body.1.extra": torch.ones(1)}), "Unexpected key.*blocks.0.extra"),
        (lambda state: state.update({"head.0.bias": torch.ones(3)}), "size mismatch for head.bias"),
        (
            lambda state: state.update({"sub_mean.bias": 255 * state["sub_mean.bias"]}),
            "sub_mean.bias .* is not the expected colour shift",
        ),
        (lambda state: [state.pop(key) for key in list(state) if key.startswith("body.2.")], "the body .* has gaps"),
        (lambda state: state.pop("body.0.attn_fn.projection_matrix"), "body.0.attn_fn.projection_matrix"),
    ],
)
def test_incomplete_checkpoints_are_refused(change, sentence):
    state = released().state_dict()
    change(state)
    with pytest.raises(ValueError, match=sentence):
        models.load(state)


@pytest.mark.parametrize("backend", ["aot_eager"])
def test_a_training_step_compiles(backend):
    model = small(attention_options={"m": 8}).train()
    models.set_auxiliary_loss(model, True)
    x, target = torch.rand(2, 3, 10, 10), torch.rand(2, 3, 20, 20)

    def step(network) -> tuple[float, Tensor]:
        model.zero_grad()
        loss = (network(x) - target).abs().mean() + 0.001 * models.auxiliary_loss(model)
        loss.backward()
        return loss.item(), model.head.weight.grad.clone()

    plain, compiled = step(model), step(torch.compile(model, backend=backend, fullgraph=True))
    assert compiled[0] == pytest.approx(plain[0], rel=1e-5)
    assert torch.allclose(compiled[1], plain[1], rtol=1e-3, atol=1e-7)
