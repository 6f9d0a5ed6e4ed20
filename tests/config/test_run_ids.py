"""Run ids never change: a changed id would train a finished run again, and orphan committed results."""

import json
from pathlib import Path

import yaml

from sisr.config.presets import plan

ROOT = Path(__file__).parents[2]
IDS = json.loads((ROOT / "tests" / "fixtures" / "run_ids.json").read_text())
"""Of each preset, and of a comparison of all registered mechanisms at the preset quick; made by version 0.1, those of
presets that are newer by the version that added them."""
MECHANISMS = [
    "none", "enla", "enlca:k=4", "nlsa:rounds=2", "nla", "convolution:kernel=5", "channel", "shifted_window:window=8",
    "top_k:keys=16", "mean_pooling",
]  # fmt: skip


def test_ids_of_presets_and_of_a_comparison() -> None:
    configs = {file.stem: yaml.safe_load(file.read_text()) for file in sorted((ROOT / "config").glob("*.yaml"))}
    found = {name: sorted(plan(config).runs) for name, config in configs.items()}
    comparison = plan(configs["quick"] | {"attention": MECHANISMS}).comparison
    assert comparison is not None
    found["quick compare"] = [run.id for runs in comparison.runs.values() for run in runs]
    assert found == IDS
