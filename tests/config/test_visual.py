"""The paper's Figures 1, 5 and 7 in the pipeline: which runs and images they show, and that their commands work."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sisr.cli import main
from sisr.config.paper_figures import Visual, figures
from sisr.config.presets import plan
from sisr.config.run import Run
from sisr.training.train import train
from tests.helpers import checkout as checkouts
from tests.helpers.checkout import planned, snakemake

ROOT = Path(__file__).parents[2]


def preset(name: str = "quick", **changes: Any) -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    return config | changes


def attended(visual: Visual) -> list[tuple[str | None, float | None]]:
    options = [(run.network.attention, run.network.attention_options.get("k")) for run in visual.runs]
    return options


def test_quick_shows_the_bundled_photograph(tmp_path: Path) -> None:
    planned_ = plan(preset(), tmp_path)  # no test set lies there
    shown = figures(planned_)
    assert list(shown) == ["figure1", "figure5", "figure7"]
    assert attended(shown["figure1"]) == [("nla", None), ("nlsa", None), ("enlca", 6.0)]
    # of several sizes the recipe's: those of Table 1
    assert shown["figure1"].runs[1].network.attention_options["rounds"] == 4
    assert shown["figure1"].runs[2].network.attention_options["m"] == 128
    assert (shown["figure1"].dataset, shown["figure1"].image) == ("photographs-test", "astronaut")
    assert [run.network.name for run in shown["figure5"].runs] == ["edsr", "nlsn", "enlcn"]
    assert {run.network.scale for run in shown["figure5"].runs} == {4}
    ks = [1.0, 2.0, 6.0, 10.0]
    assert attended(shown["figure7"]) == [("enlca", k) for k in ks] + [("enla", 1.0), ("enla", 6.0)]
    # nothing is trained for a figure alone
    assert {run.id for visual in shown.values() for run in visual.runs} <= set(planned_.runs)


def test_the_papers_images_are_shown_where_they_are(tmp_path: Path) -> None:
    for name in ("Set5", "Urban100"):
        (tmp_path / "data" / name / "HR").mkdir(parents=True)
        (tmp_path / "data" / name / "HR" / "x.png").write_bytes(b"")
    shown = figures(plan(preset(), tmp_path))
    assert (shown["figure1"].dataset, shown["figure1"].image, shown["figure1"].at) == ("Set5", "butterfly", "138,154")
    assert shown["figure7"].dataset == "Set5"
    assert shown["figure5"].dataset == "Urban100"
    assert figures(plan(preset("paper")))["figure5"].dataset == "Urban100"


def test_other_presets_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.png").write_bytes(b"")
    data = {"train": ["photographs"], "test": ["mine"], "folders": {"mine": "mine"}}
    table4 = {"scale": 2, "attention": ["convolution"], "rounds": [], "m": []}
    table1 = {"scales": [2, 3], "networks": ["edsr"]}
    shown = figures(plan(preset(data=data, table4=table4, table1=table1, seeds=[3, 1]), tmp_path))
    assert list(shown) == ["figure5", "figure7"]  # no mechanism of Figure 1 is trained
    assert shown["figure5"].scale == 3
    assert (shown["figure7"].dataset, shown["figure7"].image, shown["figure7"].at) == ("mine", "", "")
    assert {run.seed for visual in shown.values() for run in visual.runs} == {1}
    more = figures(plan(preset(table4={**table4, "scale": 4, "attention": ["top_k", "channel"]}, table1=table1)))
    assert attended(more["figure1"]) == [("top_k", None)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = checkouts.copy(tmp_path_factory.mktemp("checkout"))
    yield folder
    shutil.rmtree(folder)


def commands(said: str) -> dict[str, list[str]]:
    """Arguments of the verbs that draw, by the figure that they write."""
    words = [shlex.split(line.partition(" -m sisr ")[2].partition(" > ")[0]) for line in said.splitlines()]
    drawn = [each for each in words if each and each[0] in ("attention-map", "crops")]
    return {Path(each[each.index("--output") + 1]).stem: each for each in drawn}


def test_targets_train_what_they_need_and_draw_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dry run's own commands, on networks trained as it says."""
    tiny = ["--configfile", "config/tiny.yaml", "--workflow-profile", "none"]
    told = snakemake(checkout, "-n", "-p", "figure1", "figure5", "figure7", *tiny)
    assert told.returncode == 0, told.stderr
    said = told.stdout + told.stderr
    jobs = planned(said)
    assert (jobs["attention_figure"], jobs["crops_figure"]) == (2, 1)
    assert not {"evaluate", "table", "notebook", "complexity"} & set(jobs)
    found = commands(said)
    assert sorted(found) == ["figure1", "figure5", "figure7"]

    monkeypatch.chdir(checkout)
    for name in ("photographs", "photographs-test"):
        assert main(["fetch", name]) == 0
        for store in ("hr", "2"):
            folder = f"data/prepared/{name}/{'hr' if store == 'hr' else 'x2'}"
            assert main(["prepare", name, "--scale", store, "--output", folder]) == 0
    runs = {run.id: run for run in _runs(checkout)}
    assert jobs["train"] == len(runs)
    for name, run in runs.items():
        train(run, Path("results/tiny/runs") / name, data=Path("data/prepared"), device="cpu")
    for words in found.values():
        assert main(words) == 0
    assert "results/tiny/figures/figure7.png" in capsys.readouterr().out
    for name in found:
        assert (checkout / f"results/tiny/figures/{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "toy scale" in (checkout / f"results/tiny/figures/{name}.svg").read_text()
    for name, maps in (("figure1", 2), ("figure7", 8)):
        weights = np.load(checkout / f"results/tiny/figures/{name}.npy")
        assert weights.shape == (maps, 256, 256)  # the astronaut at x2
        np.testing.assert_allclose(weights.sum((1, 2), dtype=np.float64), 1, atol=1e-4)


def _runs(folder: Path) -> list[Run]:
    shown = figures(plan(yaml.safe_load((folder / "config/tiny.yaml").read_text()), folder))
    return list({run.id: run for visual in shown.values() for run in visual.runs}.values())


def test_a_figure_that_no_network_can_show_says_so(checkout: Path) -> None:
    none = ["table4={attention: [convolution], rounds: [], m: []}", "table1={networks: [edsr]}"]
    told = snakemake(checkout, "-n", "results/quick/figures/figure1.png", "--config", *none)
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1].startswith("this preset trains no network that figure1 could show; ")
    assert "Traceback" not in told.stdout + told.stderr
