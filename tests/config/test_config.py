"""Runs and their ids; presets and what is said of a wrong one."""

import copy
import hashlib
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sisr.cli.commands.train import run_from
from sisr.cli.main import parser
from sisr.config.presets import known_attention, plan
from sisr.config.recipes import TRAINING, attention_options
from sisr.config.run import Network, Run, Training
from sisr.utils.errors import UsageError

ROOT = Path(__file__).parents[2]
PRESETS = sorted(file.stem for file in (ROOT / "config").glob("*.yaml"))


def preset(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    return config


options = st.dictionaries(
    st.sampled_from(["k", "m", "rounds", "orthogonal", "relevant"]),
    st.one_of(
        st.integers(1, 300), st.floats(0.5, 20), st.booleans(), st.lists(st.floats(0, 0.5), min_size=2, max_size=2)
    ),
)
runs = st.builds(
    Run,
    network=st.builds(
        Network,
        name=st.sampled_from(["edsr", "enlcn"]),
        scale=st.sampled_from([2, 3, 4]),
        blocks=st.just(8),
        attention=st.sampled_from([None, "enlca", "my_package.my_module:MyAttention"]),
        attention_options=options.filter(
            lambda chosen: all(type(chosen.get(key, 1)) in (int, float) for key in ("k", "m", "rounds"))
        ),
        slots=st.none() | st.lists(st.integers(0, 8), min_size=1, unique=True).map(tuple),
    ),
    training=st.builds(
        Training,
        steps=st.integers(1, 10**6),
        learning_rate=st.floats(1e-6, 1e-2),
        contrastive_weight=st.floats(0, 1),
        channels_last=st.booleans(),
        precision=st.sampled_from(["float32", "bfloat16"]),
    ),
    train=st.lists(st.sampled_from(["DIV2K", "photographs", "mine"]), min_size=1, unique=True).map(tuple),
    seed=st.integers(0, 10**6),
)


@given(runs)
def test_run_survives_json_and_the_command_line(run: Run) -> None:
    assert Run.from_dict(run.as_dict()) == run
    words = shlex.split(shlex.join(run.arguments()))
    parsed = run_from(parser("train").parse_args([*words, "--output", "x"]))
    assert parsed == run
    assert parsed.id == run.id


@given(runs, runs)
def test_ids_are_equal_exactly_for_equal_runs(one: Run, other: Run) -> None:
    assert (one.id == other.id) == (one.as_dict() == other.as_dict())


def test_id_is_readable() -> None:
    network = Network(name="enlcn", attention="enlca", attention_options={"k": 6.0, "m": 128})
    assert Run(network=network, training=Training()).id.startswith("enlcn-x4-k6-m128-s0-")
    other = Run(network=Network(name="edsr", scale=2, attention="nla"), training=Training(), seed=3)
    assert other.id.startswith("edsr-x2-nla-s3-")


def test_learning_rate_is_halved_as_in_the_paper() -> None:
    training = Training(**{**TRAINING["paper"], "patch": 28})
    rates = [training.learning_rate_at(step) for step in (0, 199_999, 200_000, 999_999)]
    assert rates == [1e-4, 1e-4, 5e-5, 1e-4 / 16]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name: str) -> None:
    made = plan(preset(name), ROOT)
    assert made.preset == name
    assert set(made.experiments) == {"table1", "table2", "table4", "k_sweep"}


def test_paper_preset_states_the_papers_recipe() -> None:
    config = preset("paper")
    for setting, value in TRAINING["paper"].items():
        stated = config["training"][setting]
        if setting == "patch":
            assert all(value[scale] == side for scale, side in stated.items())
        else:
            assert stated == value, setting
    for attention, stated in config["attention_options"].items():
        assert stated == attention_options("paper", attention), attention
    assert config["network"] == {
        "blocks": 32,
        "channels": 256,
        "residual_scale": 0.1,
        "slots": [0, 8, 16, 24, 32],
        "initialisation": "pytorch",
    }


def test_released_recipe_changes_what_the_code_does_differently() -> None:
    config = preset("quick") | {"recipe": "released"}
    enlcn = next(run for run in plan(config, ROOT).experiments["table2"] if run.network.attention == "enlca")
    assert enlcn.network.attention_options["relevant"] == [0, 15]
    assert enlcn.network.attention_options["irrelevant"] == [50, 65]
    assert enlcn.network.attention_options["epsilon"] == 1e-4
    assert enlcn.training.beta2 == 0.999


def test_tables_share_runs() -> None:
    made = plan(preset("quick"), ROOT)
    ids = {name: [run.id for run in runs] for name, runs in made.experiments.items()}
    # 6 networks of Table 1, 2 more of Table 2 (ENLA with k = 1 and k = 6), 5 more of Table 4, 3 more values of k
    assert len(made.runs) == 6 + 2 + 5 + 3
    assert ids["table2"][3] in ids["table1"]
    assert ids["table2"][3] in ids["table4"]
    assert ids["table2"][3] in ids["k_sweep"]


def test_one_more_k_is_one_more_run() -> None:
    config = preset("quick")
    before = set(plan(config, ROOT).runs)
    config["k_sweep"]["k"].append(3)
    after = set(plan(config, ROOT).runs)
    assert before < after
    assert len(after - before) == 1


def test_contrastive_weight_retrains_only_what_has_that_loss() -> None:
    config = preset("quick")
    before = plan(config, ROOT).runs
    config["training"]["contrastive_weight"] = 0.01
    changed = set(before) - set(plan(config, ROOT).runs)
    assert {before[run].network.attention for run in changed} == {"enlca"}


def test_variants_of_a_table_differ_in_nothing_but_the_attention() -> None:
    for run in plan(preset("quick"), ROOT).experiments["table2"]:
        training = run.as_dict()["training"]
        baseline = plan(preset("quick"), ROOT).experiments["table2"][0].as_dict()["training"]
        for setting in set(training) - {"contrastive_weight", "contrastive_start", "redraw_every"}:
            assert training[setting] == baseline[setting]


def test_only_the_networks_of_a_mechanism_are_not_evaluated_on_a_set() -> None:
    made = plan(preset("laptop"), ROOT)
    left_out = {run.network.attention for run in made.runs.values() if made.not_evaluated(run)}
    assert left_out == {"nla"}
    (run,) = [run for run in made.experiments["table4"] if run.network.attention == "nla" and run.seed == 0]
    assert list(made.not_evaluated(run)) == ["Urban100"]


def changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(preset("quick"))
    *parents, last = path.split(".")
    part = config
    for parent in parents:
        part = part.setdefault(parent, {})
    part[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("trainig", {}, "unknown key 'trainig'; did you mean 'training'?"),
        ("training.step", 5, "unknown key 'training.step'; did you mean 'steps'?"),
        ("table4.attention", ["nla", "enlac"], "no attention 'enlac'; did you mean 'enla'?"),
        ("k_sweep.k", [0, 6], "k_sweep.k.0 is 0; it must be above 0."),
        ("k_sweep.k", [6, -1], "k_sweep.k.1 is -1; it must be above 0."),
        ("k_sweep.k", [], "k_sweep.k has 0 values; it needs at least 2."),
        ("table4.m", [0], "table4.m.0 is 0; it must be at least 1."),
        ("attention_options.enlca", {"m": 0}, "attention_options.enlca.m is 0; it must be at least 1."),
        ("not_evaluated", {"nal": {"Set5": "slow"}}, "no attention 'nal'; did you mean 'nla'?"),
        (
            "not_evaluated",
            {"nla": {"Set6": "slow"}},
            "not_evaluated.nla: Set6 is not in data.test; ",
        ),
        ("not_evaluated", {"nla": {"Set5": ""}}, "not_evaluated.nla.Set5 "),
        ("attention_options.enlca", {"k": -2}, "attention_options.enlca.k is -2; it must be above 0."),
        ("table1.scales", [2, 5], "photographs is available at x2, x3, x4, not at x5; choose one of these scales."),
        ("table1.networks", ["edsr", "enlnc"], "table1.networks.1 is 'enlnc'; did you mean 'enlcn'?"),
        ("data.train", ["photograps"], "there is no data set 'photograps'; did you mean 'photographs'?"),
        ("data.test", ["photographs"], "photographs is both a training set and a test set; remove it from one."),
        ("data.train", [], "data.train has 0 values; it needs at least 1."),
        ("training.steps", 0, "training.steps is 0; it must be at least 1."),
        ("training.steps", "many", "training.steps is 'many'; it must be of type integer."),
        ("training.patch", {4: 24}, "training.patch has no value for x2; add one."),
        ("recipe", "papers", "recipe is 'papers'; did you mean 'paper'?"),
        ("network.slots", [0, 9], "slot 9 does not exist in a network of 4 blocks"),
        (
            "published_weights",
            {"lapsrn": {4: "absent.npz"}},
            "published_weights.lapsrn.4 is absent.npz, which is not a",
        ),
        (
            "published_images",
            {"rcan": {4: {"photographs-test": "absent"}}},
            f"published_images.rcan.4.photographs-test is {ROOT / 'absent'}, which is not a folder.",
        ),
        (
            "published_images",
            {"rcan": {4: {"photographs-test": "workflow"}}},
            f"published_images.rcan.4.photographs-test is {ROOT / 'workflow'}, which contains no images",
        ),
        (
            "published_images",
            {"rcan": {4: {"Set6": "workflow"}}},
            "published_images.rcan.4.Set6: Set6 is not a test set of the preset; did you mean 'Set5'?",
        ),
        ("published_images", {"a/b": {4: {}}}, "published_images"),
        ("data.folders", {"Set5": "x"}, "data.folders uses the name 'Set5' of a known data set; use another name."),
    ],
)
def test_wrong_configuration_is_told_in_one_sentence(path: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError) as error:
        plan(changed(path, value), ROOT)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_published_images_of_the_tables_scales_and_sets(tmp_path: Path) -> None:
    (tmp_path / "sr").mkdir()
    (tmp_path / "sr" / "coffee.png").touch()
    folders = {"photographs-test": "sr"}
    made = plan(changed("published_images", {"rcan": {"2": folders, 4: folders, 3: folders}}), tmp_path)
    named = {"photographs-test": Path("sr")}
    assert made.images == {"images-rcan-x2": named, "images-rcan-x4": named}  # Table 1 has no x3
    assert plan(preset("quick"), ROOT).images == {}


def test_numbers_from_the_command_line_are_numbers() -> None:
    """Snakemake hands `--config 'k_sweep={k: [1, 6]}'` over with the numbers as text."""
    config = changed("k_sweep.k", ["1", "2.5"])
    config["attention_options"] = {"enlca": {"epsilon": "1e-4", "orthogonal": "false"}}
    config["training"]["patch"] = {"2": "24", "4": "16"}
    config["table4"]["m"] = ["32"]
    made = plan(config, ROOT)
    assert [run.network.attention_options["k"] for run in made.experiments["k_sweep"]] == [1.0, 2.5]
    options = made.experiments["k_sweep"][0].network.attention_options
    assert options["epsilon"] == 1e-4
    assert options["orthogonal"] is False
    assert made.experiments["table4"][-1].network.attention_options["m"] == 32
    assert {run.training.patch for run in made.experiments["table1"]} == {16, 24}
    with pytest.raises(UsageError, match="must be of type integer"):
        plan(changed("training.steps", "4.5"), ROOT)


def test_missing_key_is_named() -> None:
    config = preset("quick")
    del config["training"]
    with pytest.raises(UsageError, match="lacks the key 'training'"):
        plan(config, ROOT)


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    config = changed("data.folders", {"mine": str(tmp_path / "absent")})
    config["data"]["train"] = ["mine"]
    with pytest.raises(UsageError, match="is not a folder"):
        plan(config, ROOT)
    config["data"]["folders"]["mine"] = str(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UsageError, match="contains no images"):
        plan(config, ROOT)
    (tmp_path / "photo.JPG").write_bytes(b"")
    assert plan(config, ROOT).train == ("mine",)


def test_sets_are_tested_if_their_images_are_there(tmp_path: Path) -> None:
    assert plan(preset("quick"), tmp_path).test == ("photographs-test",)
    (tmp_path / "data" / "Set5" / "HR").mkdir(parents=True)
    assert plan(preset("quick"), tmp_path).test == ("photographs-test",)
    (tmp_path / "data" / "Set5" / "HR" / "baby.png").touch()
    assert plan(preset("quick"), tmp_path).test == ("photographs-test", "Set5")


def test_attention_names_read_from_source_are_the_registered_ones() -> None:
    from models import attention

    assert set(known_attention()) == set(attention.available())


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_settings_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match=r"learning_rate is .*; it must be above 0"):
        Training(learning_rate=value)


def test_all_runs_of_a_preset_continue_from_its_backbone() -> None:
    made = plan(preset("laptop"), ROOT)
    (backbone,) = made.backbones
    assert next(iter(made.runs)) == backbone.id
    assert backbone.network.attention is None
    assert (backbone.training.start_from, backbone.training.inserted_rate) == ("", 1.0)
    for runs in made.experiments.values():
        for run in runs:
            assert run.training.start_from == backbone.id
            # the baseline has no inserted weights, and does not depend on their rate
            assert run.training.inserted_rate == (1.0 if run.network.attention is None else 10.0)
            assert made.start(run, Path("runs")) == Path("runs", backbone.id)
    assert made.start(backbone, Path("runs")) is None
    longer = preset("laptop")
    longer["backbone"]["training"]["steps"] += 1
    assert not {run.id for run in made.runs.values()} & set(plan(longer, ROOT).runs)


def test_weights_file_to_start_from_enters_the_id_by_its_content(tmp_path: Path) -> None:
    ids = []
    for content in (b"one", b"other"):
        (tmp_path / "weights.safetensors").write_bytes(content)
        config = preset("quick")
        config["training"]["start_from"] = "weights.safetensors"
        made = plan(config, tmp_path)
        run = made.experiments["table2"][0]
        assert run.training.start_from == "sha256:" + hashlib.sha256(content).hexdigest()
        assert made.start(run, Path("runs")) == Path("weights.safetensors")
        ids.append(run.id)
    assert len(set(ids)) == 2


def test_backbone_that_cannot_work_is_refused(tmp_path: Path) -> None:
    config = preset("laptop")
    del config["backbone"]
    with pytest.raises(UsageError, match="has no section `backbone`"):
        plan(config, ROOT)
    config = preset("laptop")
    del config["training"]["start_from"]
    with pytest.raises(UsageError, match="a section `backbone` that no run uses"):
        plan(config, ROOT)
    config = preset("quick")
    config["training"]["start_from"] = "nothing.safetensors"
    with pytest.raises(UsageError, match="which is not a weights file"):
        plan(config, tmp_path)


def test_a_number_is_the_same_run_however_it_is_written() -> None:
    written = [{"steps": 100, "learning_rate": 1.0}, {"steps": 100.0, "learning_rate": 1}]
    ids = {Run(network=Network(residual_scale=one), training=Training(**two)).id for one in (1, 1.0) for two in written}
    assert len(ids) == 1
    for wrong in (1.5, "100", True, float("nan")):
        with pytest.raises(UsageError, match=r"steps is .*; it must be a whole number"):
            Training(steps=wrong)
    config = preset("laptop")
    config["training"]["inserted_rate"] = 10
    run = plan(config, ROOT).experiments["table2"][1]
    assert run.id in plan(preset("laptop"), ROOT).runs


@pytest.mark.parametrize("change", [{"about": {"a\nb": math.nan}}, {"attention_options": {"a\nb": 1}}, {"a\nb": 1}])
def test_a_line_break_in_a_key_is_none_in_the_message(change: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        plan(preset("quick") | change, ROOT)
    assert r"a\nb" in str(caught.value)
    assert "\n" not in str(caught.value)
