"""The target compare with a mechanism from a user's own file, at the smallest size that is still real."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from skimage import data as photographs

from sisr.results import cells
from sisr.utils.files import sha256
from tests.helpers import checkout as checkouts
from tests.helpers.checkout import planned, snakemake

OWN = """
from torch import nn


class MyAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x + self.mix(x)
"""
RESULTS = Path("results/tiny")
TINY = ("--configfile", "config/tiny.yaml", "--config")
BOTH = "attention=[enlca, mine.py:MyAttention]"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository in which a comparison has come as far as its table."""
    folder = checkouts.copy(tmp_path_factory.mktemp("comparison"))
    (folder / "mine.py").write_text(OWN)
    told = snakemake(folder, "--cores", "2", str(RESULTS / "tables/compare.csv"), *TINY, BOTH)
    assert told.returncode == 0, told.stdout + told.stderr
    yield folder
    shutil.rmtree(folder)


def sentences(told: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said on stderr, without the lines that Snakemake begins with."""
    own = ("Config file", "Using workflow specific profile", "Building DAG", "Assuming unrestricted", "host:")
    return [line for line in told.stderr.splitlines() if line.strip() and not line.startswith(own)]


def plan(folder: Path, *changes: str) -> dict[str, int]:
    """Jobs that the target compare still plans."""
    told = snakemake(folder, "-n", "compare", *TINY, *(changes or (BOTH,)))
    assert told.returncode == 0, told.stdout + told.stderr
    return planned(told.stdout + told.stderr)


def test_the_table_holds_figures_verdicts_and_costs(finished: Path) -> None:
    table = cells.read(finished / RESULTS / "tables/compare.csv")
    assert list(dict.fromkeys(table[table["kind"] == "mechanism"]["row"])) == ["enlca", "MyAttention"]
    found = {(c["row"], c["quantity"]): c for _, c in table.iterrows()}
    assert found["MyAttention", "psnr"]["seeds"] == 1
    # whatever the images say, one seed supports no conclusion about other training runs
    difference = found["MyAttention", "psnr_difference"]
    assert difference["verdict"] == "inconclusive"
    assert difference["note"] == "one seed: the interval covers images only"
    assert difference["interval"] == "95 %, images only"
    # a 1x1 convolution of 64 channels with its bias, on one 16x16 feature map
    assert float(found["MyAttention", "parameters"]["measured"]) == 64 * 65
    assert float(found["MyAttention", "gflops"]["measured"]) == pytest.approx(2 * 64 * 64 * 16 * 16 / 1e9)
    assert float(found["MyAttention", "training_seconds"]["measured"]) > 0


def test_runs_tell_the_file_and_its_digest(finished: Path) -> None:
    (run,) = (finished / RESULTS / "runs").glob("edsr-x2-MyAttention-s0-*")
    told = json.loads((run / "provenance.json").read_text())
    assert told["attention_file"] == "mine.py"
    assert told["attention_sha256"] == sha256(finished / "mine.py")


def test_what_is_there_is_not_made_again(finished: Path) -> None:
    made = plan(finished)
    assert not {"train", "evaluate", "comparison_cost", "comparison_table"} & set(made)
    # the tables' own runs are the same, whether a comparison is asked for or not
    told = snakemake(finished, "-n", "table1", "--configfile", "config/tiny.yaml")
    assert planned(told.stdout + told.stderr)["train"] == 2  # edsr and nlsn; enlcn is shared


def test_one_more_mechanism_trains_that_one_only(finished: Path) -> None:
    shutil.copy(finished / "mine.py", finished / "other.py")
    made = plan(finished, "attention=[enlca, mine.py:MyAttention, {name: other.py:MyAttention, label: other}]")
    assert made["train"] == made["evaluate"] == made["comparison_cost"] == made["comparison_table"] == 1


def test_a_changed_file_retrains_its_own_runs_only(finished: Path) -> None:
    own = finished / "mine.py"
    own.write_text(OWN.replace("x + self.mix(x)", "x + 2 * self.mix(x)"))
    try:
        made = plan(finished)
        assert made["train"] == made["evaluate"] == made["comparison_cost"] == made["comparison_table"] == 1
    finally:
        own.write_text(OWN)


def test_a_file_that_cannot_be_imported_stops_before_any_training(finished: Path) -> None:
    broken = finished / "broken.py"
    broken.write_text("import not_there\n" + OWN)
    before = sorted((finished / RESULTS / "runs").iterdir())
    told = snakemake(finished, "--cores", "2", "compare", *TINY, "attention=[nla, broken.py:MyAttention]")
    assert told.returncode == 1
    said = "cannot be imported: ModuleNotFoundError: No module named 'not_there' (broken.py, line 1)."
    assert sentences(told) == [f"compare.attention: attention 'broken.py:MyAttention' {said}"]
    assert sorted((finished / RESULTS / "runs").iterdir()) == before


def test_a_search_in_another_backbone_evaluates_the_chosen_runs_only(finished: Path) -> None:
    """Up to the choice; then the plan has the runs that were chosen, and the table needs no other."""
    (finished / "held").mkdir()
    Image.fromarray(photographs.coins()[:64, :64]).save(finished / "held" / "coins.png")
    words = (
        "attention=[enlca, none]",
        "compare={backbone: rcan, learning_rates: [1.0e-3, 3.0e-4]}",
        "data={folders: {held: held}, validate: [held]}",
        "network_options={rcan: {groups: 1, blocks: 1, channels: 8, reduction: 4}}",
    )
    choice = RESULTS / "comparison" / "learning_rates.csv"
    told = snakemake(finished, "--cores", "2", str(choice), *TINY, *words)
    assert told.returncode == 0, told.stdout + told.stderr
    tried = pd.read_csv(finished / choice)
    assert list(tried["label"]) == ["enlca", "enlca", "none", "none"]
    assert list(tried["learning_rate"]) == [1e-3, 3e-4] * 2
    assert list(tried["sets"]) == ["held"] * 4
    best = tried.sort_values("psnr").groupby("label")["run"].last()
    chosen = tried[tried["chosen"] == "yes"].set_index("label")["run"]
    assert dict(chosen) == dict(best)
    assert not list((finished / RESULTS / "evaluation").glob("rcan-*"))
    told = snakemake(finished, "-n", str(RESULTS / "tables/compare.csv"), *TINY, *words, "--quiet", "host")
    made = planned(told.stdout + told.stderr)
    assert made["evaluate"] == 2
    assert "train" not in made
    outputs = re.findall(r"output: \S*/evaluation/(rcan-[^/]+)/", told.stdout + told.stderr)
    assert sorted(outputs) == sorted(chosen)


def test_without_mechanisms_it_says_how_to_name_them(finished: Path) -> None:
    told = snakemake(finished, "-n", "compare", *TINY, "seeds=[0]")
    assert told.returncode == 1
    said = "name the mechanisms to compare: --config 'attention=[enlca, my_attention.py:MyAttention]'"
    assert sentences(told) == [said]
