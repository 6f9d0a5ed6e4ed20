"""Networks with an architecture of their own in runs, presets and on the command line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sisr.cli.commands.train import run_from
from sisr.cli.main import parser
from sisr.config import preflight
from sisr.config.presets import Plan, plan
from sisr.config.run import Network, Run, Training
from sisr.utils.errors import SisrError, UsageError

OPTIONS = {"groups": 2, "blocks": 1, "channels": 8, "reduction": 4}


def planned(root: Path, **changes: Any) -> Plan:
    return plan(yaml.safe_load((root / "config" / "quick.yaml").read_text()) | changes, root)


def table1(*networks: str) -> dict[str, Any]:
    return {"scales": [2], "networks": list(networks)}


def test_table_1_trains_any_network_with_its_own_options(root: Path) -> None:
    made = planned(root, table1=table1("edsr", "rcan", "lapsrn"), network_options={"rcan": OPTIONS})
    edsr, rcan, lapsrn = (run.network for run in made.experiments["table1"])
    assert (edsr.blocks, edsr.network_options) == (4, {})
    assert (rcan.name, rcan.options()) == ("rcan", OPTIONS)
    assert lapsrn.options() == {}
    preflight.check(made)


def test_a_run_without_network_options_keeps_its_id(root: Path) -> None:
    ids = [run.id for run in planned(root).experiments["table1"]]
    assert [run.id for run in planned(root, network_options={"rcan": OPTIONS}).experiments["table1"]] == ids


def test_the_backbones_settings_do_not_matter_to_other_networks(root: Path) -> None:
    first, second = (
        planned(root, table1=table1("rcan"), network={"blocks": blocks}).experiments["table1"][0] for blocks in (1, 2)
    )
    assert first.id == second.id
    other = planned(root, table1=table1("rcan"), network_options={"rcan": OPTIONS}).experiments["table1"][0]
    assert other.id != first.id


def test_arguments_of_a_run_give_the_run(root: Path) -> None:
    run = planned(root, table1=table1("rcan"), network_options={"rcan": OPTIONS}).experiments["table1"][0]
    args = parser("train").parse_args([*run.arguments(), "--output", "here"])
    assert run_from(args) == run
    assert Run.from_dict(run.as_dict()) == run


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network_options": {"rcann": {}}}, "network_options has an unknown network 'rcann'; did you mean 'rcan'"),
        ({"network_options": {"rcan": {"block": 2}}}, "network_options.rcan has an unknown key 'block'"),
        (
            {"network_options": {"rcan": {"blocks": 1.5}}},
            "network_options.rcan.blocks is 1.5; it must be a whole number",
        ),
        (
            {"network_options": {"edsr": {"blocks": 2}}},
            "network_options.edsr is for other networks; edsr has the settings",
        ),
        (
            {"table1": table1("lapsrn"), "published_weights": {"lapsrn": {2: "README.md"}}},
            "table1.networks.0 is lapsrn, which is measured with published_weights",
        ),
    ],
)
def test_wrong_options_are_named(root: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        planned(root, **changes)


def test_options_out_of_range_are_found_before_training(root: Path) -> None:
    made = planned(root, table1=table1("rcan"), network_options={"rcan": {"reduction": 65}})
    with pytest.raises(SisrError, match=r"table1: .*reduction must be at most the 64 channels"):
        preflight.check(made)


def test_settings_of_the_backbone_are_refused_for_other_networks() -> None:
    with pytest.raises(UsageError, match="rcan has no setting blocks; its options are given by network_options"):
        Network(name="rcan", blocks=4)


def test_attention_is_passed_to_a_network_with_slots() -> None:
    network = Network(name="rcan", network_options=OPTIONS, attention="nla", slots=(1,))
    assert Run(network=network, training=Training()).id.startswith("rcan-x4-nla-s0-")
    assert network.options() == {**OPTIONS, "attention": "nla", "attention_options": {}, "slots": (1,)}
