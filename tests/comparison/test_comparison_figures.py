"""Figures of a comparison: what they say and show, and the crops: where they are taken, and what stands under them."""

import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import models
from sisr import psnr
from sisr.comparison import (
    crops,
    figure_cost,
    figure_differences,
    figure_pareto,
    figures,
    notebook_cells,
    page,
    result,
    sentences,
)
from sisr.data.image_files import read_image
from sisr.data.pairs import open_pairs
from sisr.evaluation import evaluate
from sisr.evaluation.metrics import luminance
from sisr.evaluation.upscalers import Network
from sisr.report.figures import style
from sisr.results import cells
from sisr.utils.errors import SisrError
from tests.helpers import comparison_folder, figure_texts, results_folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "quick"
    comparison_folder.make(folder)
    return folder


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two mechanisms, one seed, all sets."""
    folder = tmp_path_factory.mktemp("many") / "quick"
    sets = {"Set5": 5, "Set14": 14, "B100": 30, "Urban100": 30, "Manga109": 30, "photographs-test": 3}
    comparison_folder.make(folder, ["enlca", "my_attention"], (0,), sets)
    return folder


def drawn(results: Path, name: str) -> Any:
    comparison = result.read(results)
    with style.settings():
        if name == "cost":
            return figure_cost.draw(comparison, result.read_costs(results))
        return {"differences": figure_differences, "pareto": figure_pareto}[name].draw(comparison)


@pytest.mark.parametrize("folder", ["results", "many"])
@pytest.mark.parametrize("name", ["differences", "pareto", "cost"])
def test_figures_say_their_preset_and_cover_nothing(name: str, folder: str, request: pytest.FixtureRequest) -> None:
    figure = drawn(request.getfixturevalue(folder), name)
    said = " ".join(text.get_text() for text in figure_texts.shown(figure)).replace("\n", " ")
    assert "preset “quick”" in said
    assert "Not comparable" in said
    assert "my_attention" in said
    figure_texts.check(figure)
    plt.close(figure)


def test_every_difference_stands_with_its_interval_and_verdict(results: Path) -> None:
    comparison = result.read(results)
    figure = drawn(results, "differences")
    (axes, _) = figure.axes
    said = [text.get_text() for text in figure_texts.shown(figure)]
    points = [line for line in axes.get_lines() if line.get_marker() in style.MARKERS and len(line.get_xdata()) == 1]
    places = list(comparison.places())
    assert len(points) == len(places) == 4
    for point, (label, dataset) in zip(points, places, strict=True):
        found = comparison.measured(label, "psnr_difference", dataset)
        assert found
        assert found.low
        assert found.high
        assert point.get_xdata()[0] == found.value
        assert found.low < found.value < found.high
        verdict = sentences.verdict(comparison, label, dataset)
        # hollow where the difference is not significant
        assert (point.get_markerfacecolor() == "white") == (verdict not in ("better", "worse"))
        assert any(text.startswith(f"{verdict}, p ") for text in said)
    assert {sentences.verdict(comparison, "nlsa", name) for name in comparison.datasets} == {"worse"}
    assert any(list(line.get_xdata()) == [0, 0] for line in axes.get_lines())
    plt.close(figure)


def test_reference_is_on_the_pareto_front_at_zero(results: Path) -> None:
    figure = drawn(results, "pareto")
    comparison = result.read(results)
    front = next(line for line in figure.axes[0].get_lines() if line.get_label() == "Pareto front")
    cost = {label: comparison.measured(label, "gflops") for label in comparison.labels}
    gain = comparison.measured("my_attention", "psnr_difference", "Set14")
    cheapest, dearest = cost["enlca"], cost["my_attention"]
    assert cheapest
    assert dearest
    assert gain
    # nlsa costs more than enlca and is worse; my_attention costs most and is best
    steps = list(zip(front.get_xdata(), front.get_ydata(), strict=True))[:-1]
    assert steps == [(cheapest.value, 0.0), (dearest.value, gain.value)]
    plt.close(figure)


def test_a_mechanism_without_cost_stands_left_of_all_others(results: Path, tmp_path: Path) -> None:
    """The backbone without attention takes 0 operations, which no logarithmic axis has."""
    shutil.copytree(results, tmp_path / "quick")
    table = cells.read(tmp_path / "quick" / "tables" / "compare.csv")
    free = (table["row"] == "nlsa") & (table["quantity"] == "gflops")
    assert free.sum() == 1
    table.loc[free, ["measured", "low", "high"]] = ["0.0", None, None]
    cells.write(table, tmp_path / "quick" / "tables" / "compare.csv")
    figure = drawn(tmp_path / "quick", "pareto")
    axes = figure.axes[0]
    places = {line.get_label(): line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 1}
    drawn_at = sorted(float(x) for x in places.values())
    assert drawn_at[0] > axes.get_xlim()[0] > 0
    assert sum(text.get_text() == "0" for text in axes.texts) == 1
    figure_texts.check(figure)
    plt.close(figure)


def test_seven_mechanisms_look_different() -> None:
    assert len(set(style.identities([f"mechanism {number}" for number in range(36)]).values())) == 36


def test_costs_are_drawn_as_measured(results: Path) -> None:
    figure = drawn(results, "cost")
    costs = result.read_costs(results)
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == "nlsa")
    mine = costs[costs["label"] == "nlsa"]
    assert list(line.get_xdata()) == [32 * 32, 64 * 64, 128 * 128]
    assert list(line.get_ydata()) == pytest.approx(list(1e3 * mine["forward_seconds"]))  # ms
    assert all(axes.get_xscale() == axes.get_yscale() == "log" for axes in figure.axes)
    plt.close(figure)


def test_written_files_repeat(results: Path) -> None:
    paths = figures.write(results)
    assert sorted(path.name for path in paths) == sorted(
        f"compare_{name}.{ending}" for name in ("differences", "pareto", "cost") for ending in ("png", "svg", "pdf")
    )
    before = {path.name: path.read_bytes() for path in paths}
    again = {path.name: path.read_bytes() for path in figures.write(results)}
    assert [name for name in before if before[name] != again[name]] == []


def test_without_costs_what_stands_over_cost_is_left_out(results: Path, tmp_path: Path) -> None:
    table = result.read(results).table
    folder = tmp_path / "quick"
    cells.write(table[table["dataset"] != ""], folder / "tables" / "compare.csv")
    assert [path.name for path in figures.write(folder)] == [
        f"compare_differences.{ending}" for ending in ("png", "svg", "pdf")
    ]
    shown = page.page(folder)
    assert "<h3>Quality</h3>" in shown
    assert "<h3>Cost</h3>" not in shown
    assert "Beside enlca it takes" not in shown
    assert "Time and memory" not in shown
    assert shown.count('src="data:image/webp') == 1


def test_what_is_missing_is_one_sentence(results: Path, tmp_path: Path) -> None:
    with pytest.raises(SisrError, match="run python -m sisr tables compare first"):
        result.read(tmp_path)
    with pytest.raises(SisrError, match=r"there is no .*cost_by_size\.csv"):
        result.read_costs(tmp_path)
    with pytest.raises(SisrError, match="run python -m sisr compare crops"):
        crops.read(tmp_path)
    comparison = result.read(results)
    nothing = result.Comparison(comparison.table[~comparison.table["quantity"].str.endswith("_difference")])
    for draw in (figure_differences.draw, figure_pareto.draw):
        with pytest.raises(SisrError, match="nothing to draw"):
            draw(nothing)
    with pytest.raises(SisrError, match="run python -m sisr compare figures"):
        notebook_cells.figure("compare_cost", str(tmp_path))
    assert "No crops" in notebook_cells.figure("compare_crops", str(tmp_path))._repr_markdown_()  # type: ignore[union-attr]


def test_answers_are_sentences_of_the_cells(results: Path) -> None:
    comparison = result.read(results)
    gain = comparison.measured("nlsa", "psnr_difference", "Set14")
    assert gain
    sentence = sentences.sentence(comparison, "nlsa", "Set14")
    assert sentence.startswith(f"On Set14, nlsa is worse than enlca: −{abs(gain.value):.3f} dB [−")
    p = comparison.cell("nlsa", "psnr_difference", "Set14")["p_corrected"]
    assert sentence.endswith(f"over 14 images, corrected p {sentences.p_value(p)}.")
    assert [sentences.p_value(value) for value in (0.0004, 0.0123, 0.5)] == ["< 0.001", "= 0.012", "= 0.5"]
    assert sentences.summary(comparison, "nlsa") == [("worse", "worse on 2 of 2 sets")]
    # invented: 2 times enlca's operations and memory, times (128·128)^0.3 its time
    assert sentences.cost(comparison, "nlsa") == (
        "Beside enlca it takes 37 times the time of a forward pass, 37 times the time of forward and backward, "
        "2.0 times the peak memory and 2.0 times the operations."
    )
    said = notebook_cells.answer(str(results))._repr_markdown_()
    assert sentence in said
    assert "**nlsa: worse on 2 of 2 sets.**" in said


@pytest.fixture(scope="module")
def cropped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[crops.Scene]]:
    """Results of two untrained networks on two small photographs, the photographs, and the crops made."""
    from PIL import Image
    from skimage import data

    root = tmp_path_factory.mktemp("crops")
    pictures = root / "some"
    pictures.mkdir()
    for name, image in (("coffee", data.coffee()[200:328, 60:212]), ("camera", data.camera()[96:224, 150:270])):
        Image.fromarray(image).save(pictures / f"{name}.png")
    results = root / "quick"
    ids = {}
    for label, name, attention in (("enlca", "enlcn", "enlca"), ("nla", "edsr", "nla")):
        run = results_folder.run(name, 4, attention)
        results_folder.add(results, run, sets={"some": 2})
        network = models.create(
            name, scale=4, blocks=1, channels=8, attention=attention, slots=(0,), initialisation="interpolation"
        )
        weights = results / "runs" / run.id / "weights.safetensors"
        models.save(network, weights)
        pairs = open_pairs(pictures, 4)
        rows, facts = evaluate.evaluate(Network(weights, 4, "cpu"), pairs, 4)
        (results / "runs" / run.id / "provenance.json").write_text(
            json.dumps({"run_id": run.id, "weights_sha256": facts["weights_sha256"], "device": "cpu"})
        )
        evaluate.write_rows(rows, results / "evaluation" / run.id / "some_x4.csv", facts)
        ids[label] = [run.id]
    comparison_folder.write_costs(results, list(ids))
    comparison_folder.write_table(results, ids)
    return results, pictures, crops.make(result.read(results), results, [pictures], size=32, device="cpu")


def test_crops_are_where_the_two_differ_most(cropped: tuple[Path, Path, list[crops.Scene]]) -> None:
    results, pictures, scenes = cropped
    assert sorted(scene.image for scene in scenes) == ["camera", "coffee"]
    comparison = result.read(results)
    runs = crops.shown_runs(comparison, results)
    picked = crops.pick(comparison, runs)
    assert [each.image for each in picked] == [scene.image for scene in scenes]
    assert abs(picked[0].difference) >= abs(picked[1].difference)
    pairs = open_pairs(pictures, 4)
    networks = {label: crops.network(run, "some", "cpu") for label, run in runs.items()}
    for scene in scenes:
        index = pairs.names.index(scene.image)
        hr = luminance(pairs.hr(index))
        error = {name: (luminance(net.upscale(pairs, index, 4)[0]) - hr) ** 2 for name, net in networks.items()}
        difference = error["nla"] - error["enlca"]
        sums = {
            (x, y): abs(difference[y : y + 32, x : x + 32].sum())
            for x in range(4, hr.shape[1] - 35)
            for y in range(4, hr.shape[0] - 35)
        }
        assert sums[scene.x, scene.y] == pytest.approx(max(sums.values()))


def test_what_stands_under_a_crop_is_true(cropped: tuple[Path, Path, list[crops.Scene]]) -> None:
    results, pictures, scenes = cropped
    assert crops.read(results) == scenes
    pairs, folder = open_pairs(pictures, 4), results / "comparison" / "crops"
    for scene in scenes:
        hr = pairs.hr(pairs.names.index(scene.image))
        assert (scene.height, scene.width) == hr.shape[:2]
        assert [crop.label for crop in scene.crops] == ["HR", "bicubic", "enlca", "nla"]
        shown = {crop.label: read_image(folder / crop.file) for crop in scene.crops}
        box = (slice(scene.y, scene.y + 32), slice(scene.x, scene.x + 32))
        np.testing.assert_array_equal(shown["HR"], hr[box])
        for crop in scene.crops[1:]:
            assert crop.crop_psnr == pytest.approx(psnr(shown[crop.label], shown["HR"], 0))
        for label, run in crops.shown_runs(result.read(results), results).items():
            rows = evaluation_rows(run.files["some"])
            mine = next(crop for crop in scene.crops if crop.label == label)
            assert mine.psnr == pytest.approx(rows[scene.image], abs=1e-4)
    png, svg, _ = figures.write_crops(results)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert scenes[0].why in svg.read_text()


def evaluation_rows(file: Path) -> dict[str, float]:
    import pandas as pd

    return dict(pd.read_csv(file)[["image", "psnr"]].itertuples(index=False))


def test_crops_that_cannot_be_made_are_one_sentence(
    cropped: tuple[Path, Path, list[crops.Scene]], tmp_path: Path
) -> None:
    results, pictures, _ = cropped
    comparison = result.read(results)
    other = tmp_path / "other"
    other.mkdir()
    (other / "coffee.png").write_bytes((pictures / "coffee.png").read_bytes())
    with pytest.raises(SisrError, match="the images of some are needed; name their folders with --data"):
        crops.make(comparison, results, [other])
