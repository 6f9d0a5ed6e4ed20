"""A copy of the repository to run pipelines in, and the smallest preset that is still real."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.helpers import warm

ROOT = Path(__file__).parents[2]
SNAKEMAKE = str(Path(sys.executable).parent / "snakemake")
"""The program, for what tests its starting and killing; `snakemake` below takes a warm process."""
# all of a preset at the smallest size that is still real
TINY = {
    "preset": "tiny",
    "about": "a test",
    "network": {"blocks": 1, "channels": 8, "residual_scale": 1.0, "slots": [0], "initialisation": "interpolation"},
    "training": {
        "steps": 4,
        "batch": 2,
        "patch": 12,
        "learning_rate": 1e-4,
        "halve_every": 2,
        "contrastive_start": 1,
        "redraw_every": 2,
    },
    "attention_options": {"nlsa": {"chunk": 36}},
    "table1": {"scales": [2], "networks": ["edsr", "nlsn", "enlcn"]},
    "table2": {"scale": 2},
    "table4": {"scale": 2, "attention": ["convolution"], "rounds": [4], "m": [128], "size": [16, 16]},
    "k_sweep": {"scale": 2, "k": [1, 6]},
}


def copy(folder: Path) -> Path:
    """Copy the repository's files, without data and results, into `folder`, and add config/tiny.yaml; the folder."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    quick = yaml.safe_load((folder / "config" / "quick.yaml").read_text())
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(quick | TINY))
    return folder


def snakemake(
    folder: Path, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run snakemake in a folder, with what `environment` adds to this process's, and return what it said."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [warm.python(), "-m", "snakemake", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        env=inherited | dict(environment or {}),
        check=False,
    )


def planned(said: str) -> dict[str, int]:
    """Jobs by rule, from the table that `snakemake -n` prints."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
