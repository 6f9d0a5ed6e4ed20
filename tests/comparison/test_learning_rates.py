"""The search over learning rates: fair to every mechanism, blind to the test sets, and shown with all that it tried."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from sisr.cli import main
from sisr.comparison import learning_rates, page, select_runs, table_view
from sisr.config import comparison as planning
from sisr.config.layout import Results
from sisr.config.presets import Plan, plan
from sisr.config.run import Run
from sisr.data.store import write
from sisr.report import tables
from sisr.utils.errors import SisrError, UsageError
from tests.helpers import results_folder

PSNR = {("enlca", 1e-3): 31.0, ("enlca", 3e-4): 30.5, ("none", 1e-3): 30.0, ("none", 3e-4): 30.2}
Search = dict[str, list[str]]


def run_at(attention: str, rate: float, **changes: Any) -> Run:
    run = results_folder.run("edsr", 4, None if attention == "none" else attention)
    return dataclasses.replace(run, training=dataclasses.replace(run.training, learning_rate=rate, **changes))


def validated(results: Path, run: Run, values: list[float], dataset: str = "T91") -> str:
    """A run with rows on a validation set and none on a test set; its id."""
    results_folder.add(results, run, 0.5, {"Set5": 2})
    evaluation = Results(results).evaluation(run.id)
    folder = Results(results).validation(run.id)
    folder.mkdir(parents=True, exist_ok=True)
    for file in evaluation.iterdir():
        file.unlink()
    evaluation.rmdir()
    rows = {"image": [f"v{index}" for index in range(len(values))], "psnr": values, "ssim": 0.9}
    pd.DataFrame(rows).to_csv(folder / f"{dataset}_x4.csv", index=False)
    return run.id


@pytest.fixture
def searched(tmp_path: Path) -> tuple[Path, Search]:
    """A results folder with two mechanisms at two rates; the candidates by label."""
    results = tmp_path / "quick"
    ids: Search = {}
    for (label, rate), psnr in PSNR.items():
        ids.setdefault(label, []).append(validated(results, run_at(label, rate), [psnr - 1, psnr + 1]))
    return results, ids


def test_each_mechanism_gets_its_best_rate_on_the_validation_images(searched: tuple[Path, Search]) -> None:
    """No run has been evaluated on a test set at this point."""
    results, ids = searched
    assert not Results(results).evaluations.exists() or not list(Results(results).evaluations.iterdir())
    table = learning_rates.choose(results, ids, ["Set5"], results / "data")
    chosen = table[table["chosen"] == "yes"].set_index("label")
    assert dict(chosen["learning_rate"]) == {"enlca": 1e-3, "none": 3e-4}
    assert dict(chosen["run"]) == {"enlca": ids["enlca"][0], "none": ids["none"][1]}
    assert list(table["psnr"]) == pytest.approx(list(PSNR.values()))
    assert list(table["weights_sha256"]) != [""] * 4
    assert learning_rates.in_words(table)["none"] == (
        "0.0003 (30.200 dB), not 0.001 (30.000 dB): PSNR of seed 0 on T91, 2 images"
    )


def test_of_equal_rates_the_first_is_chosen(tmp_path: Path) -> None:
    ids = {
        label: [validated(tmp_path, run_at(label, rate), [30.0]) for rate in (3e-4, 1e-3)]
        for label in ("enlca", "none")
    }
    table = learning_rates.choose(tmp_path, ids, ["Set5"], tmp_path)
    assert list(table["chosen"]) == ["yes", "no", "yes", "no"]


def other_rate(results: Path, ids: Search) -> None:
    ids["none"][1] = validated(results, run_at("none", 5e-4), [30.0, 31.0])


def one_rate_less(results: Path, ids: Search) -> None:
    del ids["none"][1]


def one_rate(results: Path, ids: Search) -> None:
    for runs in ids.values():
        del runs[1]


def more_steps(results: Path, ids: Search) -> None:
    ids["none"][1] = validated(results, run_at("none", 3e-4, steps=301), [30.0, 31.0])


def other_images(results: Path, ids: Search) -> None:
    ids["none"][1] = validated(results, run_at("none", 3e-4), [30.0, 31.0, 32.0])


def on_a_test_set(results: Path, ids: Search) -> None:
    for label, rate in PSNR:
        validated(results, run_at(label, rate), [30.0], "Set5")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_rate, "none was trained with the learning rates 0.001, 0.0005, and enlca with 0.001, 0.0003"),
        (one_rate_less, "give every mechanism the same ones, each once"),
        (one_rate, "enlca was trained with one learning rate, 0.001; give two or more"),
        (more_steps, "differ in more than their learning rate"),
        (other_images, "were not validated on the same images"),
        (on_a_test_set, "Set5 is a test set; choose the learning rates on other sets."),
    ],
)
def test_an_unfair_search_is_refused(
    searched: tuple[Path, Search], change: Callable[[Path, Search], None], said: str
) -> None:
    results, ids = searched
    change(results, ids)
    with pytest.raises(SisrError, match=said) as caught:
        learning_rates.choose(results, ids, ["Set5"], results)
    assert "\n" not in str(caught.value)


def test_images_that_cannot_be_compared_are_refused(
    searched: tuple[Path, Search], capsys: pytest.CaptureFixture[str]
) -> None:
    results, ids = searched
    words = [f"--candidate={label}={','.join(runs)}" for label, runs in ids.items()]
    nowhere = str(results / "nowhere")
    assert main(["compare", "choose", "--results", str(results), *words, "--test", "Set5", "--data", nowhere]) == 2
    assert f"there is no folder {nowhere}" in capsys.readouterr().err
    assert not Results(results).learning_rates.exists()


def test_a_test_image_under_another_name_is_refused(searched: tuple[Path, Search], tmp_path: Path) -> None:
    results, ids = searched
    image = np.random.default_rng(0).integers(0, 256, (36, 36, 3), dtype=np.uint8)
    for name, images in (("T91", {"v0": image, "v1": image[::-1].copy()}), ("Set5", {"baby": image})):
        write(tmp_path / "prepared" / name / "hr", images.items(), {})
    with pytest.raises(SisrError, match=r"T91 contains 1 of the images of the test set Set5 \(baby\)"):
        learning_rates.choose(results, ids, ["Set5"], tmp_path / "prepared")


def test_table_and_page_show_the_chosen_rate_and_what_was_tried(
    searched: tuple[Path, Search], capsys: pytest.CaptureFixture[str]
) -> None:
    results, ids = searched
    words = [f"--candidate={label}={','.join(runs)}" for label, runs in ids.items()]
    words += ["--test", "Set5", "--data", str(results)]
    assert main(["compare", "choose", "--results", str(results), *words, "--json"]) == 0
    assert [row["chosen"] for row in json.loads(capsys.readouterr().out)["candidates"]] == ["yes", "no", "no", "yes"]
    chosen = {"enlca": ids["enlca"][0], "none": ids["none"][1]}
    for label, run in chosen.items():
        results_folder.evaluate(results, run, 4, PSNR[label, 1e-3] - 30, 0, {"Set5": 5})
    methods = [f"{label}={run}" for label, run in chosen.items()]
    table = select_runs.compare_runs(results, methods, search=Results(results).learning_rates)
    # the rates differ by the search and are no difference of the recipe
    assert set(table["recipe_differences"]) == {""}
    view = table_view.view(table)
    rates = [column.label for column in view.columns].index("learning rate")
    assert {label: cells[rates].main for label, cells in view.sections[0].rows} == {"enlca": "0.001", "none": "0.0003"}
    tables.write_view(view, table, results / "tables")
    text = page.page(results)
    assert "0.001 (31.000 dB), not 0.0003 (30.500 dB): PSNR of seed 0 on T91, 2 images" in text
    assert ">Learning rate" in text
    wrong = [f"enlca={ids['enlca'][1]}", methods[1]]
    results_folder.evaluate(results, ids["enlca"][1], 4, 0.5, 0, {"Set5": 5})
    with pytest.raises(SisrError, match="did not choose a run of enlca"):
        select_runs.compare_runs(results, wrong, search=Results(results).learning_rates)
    assert "learning_rate 0.0003 and not 0.001" in "".join(
        select_runs.compare_runs(results, methods)["recipe_differences"]
    )


def planned(root: Path, **changes: Any) -> Plan:
    config = yaml.safe_load((root / "config" / "quick.yaml").read_text())
    compare = changes.pop("compare", {})
    config["data"]["validate"] = changes.pop("validate", ["T91"])
    return plan({**config, "attention": ["enlca", "nla", "none"], "compare": compare, **changes}, root)


SMALL = {"rcan": {"groups": 2, "blocks": 1, "channels": 8, "reduction": 4, "slots": [0, 1]}}


def test_backbone_holds_every_mechanism_in_the_same_slots(root: Path) -> None:
    comparison = planned(root, compare={"backbone": "rcan"}, network_options=SMALL).comparison
    assert comparison is not None
    networks = {label: runs[0].network for label, runs in comparison.runs.items()}
    assert {network.name for network in networks.values()} == {"rcan"}
    inner = {key: value for key, value in SMALL["rcan"].items() if key != "slots"}
    assert all(network.network_options == inner for network in networks.values())
    assert [network.slots for network in networks.values()] == [(0, 1), (0, 1), None]
    assert networks["enlca"].attention == "enlca"


def test_edsr_as_the_backbone_changes_no_run(root: Path) -> None:
    one, other = (planned(root, compare=compare).comparison for compare in ({}, {"backbone": "edsr"}))
    assert one == other


def test_backbone_of_a_continued_comparison_is_trained_first(root: Path) -> None:
    config = yaml.safe_load((root / "config" / "laptop.yaml").read_text())
    compared = {"attention": ["enlca", "none"], "compare": {"backbone": "rdn"}}
    made = plan({**config, **compared}, root)
    edsr, rdn = made.backbones
    assert (edsr.id, rdn.network.name) == (plan(config, root).backbones[0].id, "rdn")
    assert made.comparison is not None
    runs = [run for several in made.comparison.runs.values() for run in several]
    assert {run.training.start_from for run in runs} == {rdn.id}
    assert not rdn.training.start_from


def test_every_mechanism_gets_every_rate_with_the_first_seed(root: Path) -> None:
    """Text, as Snakemake passes it within braces. The rate of the preset gives the runs of a comparison without one."""
    rates = ["1.0e-3", "3e-4"]
    searched = planned(root, compare={"learning_rates": rates, "seeds": [4, 5]}).comparison
    assert isinstance(searched, planning.Comparison)
    found = {
        label: [(run.seed, run.training.learning_rate) for run in runs] for label, runs in searched.candidates.items()
    }
    assert found == {label: [(4, 1e-3), (4, 3e-4)] for label in ("enlca", "nla", "none")}
    assert searched.validation == ("T91",)
    chosen = searched.chosen([runs[0].id for runs in searched.candidates.values()])
    usual = planned(root, compare={"seeds": [4, 5]}).comparison
    assert chosen == usual
    mixed = searched.chosen(
        [runs[index].id for index, runs in zip((1, 0, 1), searched.candidates.values(), strict=True)]
    )
    assert [runs[0].training.learning_rate for runs in mixed.runs.values()] == [3e-4, 1e-3, 3e-4]
    assert [len(runs) for runs in mixed.runs.values()] == [2, 2, 2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compare": {"backbone": "san"}}, "compare.backbone is 'san', which has no empty slots"),
        ({"compare": {"backbone": "rcn"}}, "compare.backbone is 'rcn', which has no empty slots for attention; did"),
        ({"compare": {"backbone": "enlcn"}}, "no empty slots for attention; there are edsr, rcan, rdn."),
        ({"compare": {"backbone": 3}}, "compare.backbone is 3; it must be of type text."),
        (
            {"compare": {"backbone": "rcan"}, "network_options": {"rcan": {"attention": "nla"}}},
            "network_options.rcan.attention is set by the comparison; remove it.",
        ),
        ({"compare": {"learning_rates": [1e-3]}}, "compare.learning_rates has 1 values; it needs at least 2."),
        ({"compare": {"learning_rates": [1e-3, "0.001"]}}, "compare.learning_rates contains a duplicate"),
        ({"compare": {"learning_rates": [1e-3, 0]}}, "compare.learning_rates.1 is 0; it must be above 0."),
        ({"compare": {"learning_rates": [1e-3, "fast"]}}, "compare.learning_rates.1 is 'fast'; it must be of type"),
        ({"compare": {"learning_rates": 1e-3}}, "compare.learning_rates is 0.001; it must be of type list."),
        (
            {"compare": {"learning_rates": [1e-3, 3e-4]}, "validate": []},
            "compare.learning_rates are chosen on data.validate, which has no set",
        ),
        (
            {"compare": {"learning_rates": [1e-3, 3e-4]}, "validate": ["photographs-test"]},
            "its set photographs-test is in data.test, too",
        ),
        (
            {"compare": {"learning_rates": [1e-3, 3e-4]}, "validate": ["T91", "photographs"]},
            "its set photographs is in data.train, too",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_one_sentence_before_anything_starts(
    root: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        planned(root, **changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
