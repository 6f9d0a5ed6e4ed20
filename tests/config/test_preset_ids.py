"""Ids of finished runs stay what they are: those of three presets and of a comparison, as version 0.1 made them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sisr.config.presets import plan

SINCE_CHANGED: dict[str, dict[str, dict[str, list[Any]]]] = {
    "quick": {
        "table4": {"rounds": [1, 2, 4, 8], "m": [8, 16, 32, 64, 128, 256]},
        "k_sweep": {"k": [1, 2, 4, 6, 8, 10]},
    },
    "mini": {"data": {"train": ["BSDS400", "T91"]}},
    "paper": {},
}
"""What version 0.1 planned by each preset where it is another plan today."""
FIXTURE = Path(__file__).parents[1] / "fixtures" / "run_ids.yaml"


@pytest.mark.parametrize("preset", SINCE_CHANGED)
def test_run_ids_of_a_preset_do_not_change(root: Path, preset: str) -> None:
    expected = yaml.safe_load(FIXTURE.read_text())[preset]
    config = yaml.safe_load((root / "config" / f"{preset}.yaml").read_text())
    for section, values in SINCE_CHANGED[preset].items():
        config[section] |= values
    planned = plan(config, root)
    assert {name: [run.id for run in runs] for name, runs in planned.experiments.items()} == expected


def test_run_ids_of_a_comparison_do_not_change(root: Path) -> None:
    """All mechanisms that version 0.1 registered, with options."""
    expected = yaml.safe_load(FIXTURE.read_text())["comparison"]
    config = yaml.safe_load((root / "config" / "quick.yaml").read_text())
    comparison = plan(config | {"attention": list(expected)}, root).comparison
    assert comparison is not None
    assert [run.id for runs in comparison.runs.values() for run in runs] == list(expected.values())
