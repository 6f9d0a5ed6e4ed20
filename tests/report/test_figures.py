"""Figures: what they say, and that nothing in them covers anything else."""

import re
import zlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sisr.report import figures, tables
from sisr.report.figures import gain, pdf, style
from sisr.utils.errors import SisrError
from tests.helpers import figure_texts, results_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("results") / "quick"
    ids = results_folder.make(folder)
    return {name: tables.build(name, folder, ids[name]) for name in tables.NAMES}


@pytest.mark.parametrize("name", tables.NAMES)
def test_preset_and_units_are_in_the_figure(name: str, made: dict[str, pd.DataFrame]) -> None:
    figure = figures.draw(name, made[name])
    said = " ".join(text.get_text() for text in figure_texts.shown(figure)).replace("\n", " ")
    assert "quick" in said
    assert "300 steps" in said
    assert "Not comparable" in said
    assert "(dB)" in said


@pytest.mark.parametrize("name", tables.NAMES)
def test_no_text_covers_another_or_leaves_the_figure(name: str, made: dict[str, pd.DataFrame]) -> None:
    figure_texts.check(figures.draw(name, made[name]))


def test_label_points_finds_a_place_for_every_label() -> None:
    import matplotlib.pyplot as plt

    generator = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in generator.uniform(0.2, 0.8, (15, 2))]
    figure, axes = plt.subplots(figsize=(6, 5))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.canvas.draw()
    labels = [f"m = {index}" for index in range(15)]
    style.label_points(axes, points, [(y - 0.02, y + 0.02) for _, y in points], labels, ["black"] * 15)
    written = [text for text in axes.texts if text.get_text()]
    assert sorted(text.get_text() for text in written) == sorted(labels)
    boxes = [text.get_window_extent() for text in written]
    assert not any(one.overlaps(two) for one, two in combinations(boxes, 2))
    plt.close(figure)


def test_table2_shows_the_papers_two_figures(made: dict[str, pd.DataFrame]) -> None:
    (axes,) = figures.draw("table2", made["table2"]).axes
    (paper,) = [line for line in axes.get_lines() if line.get_label() == "the paper"]
    assert list(paper.get_xdata()) == [0.16, 0.27]


def test_pareto_front_is_the_best_of_what_costs_no_more(made: dict[str, pd.DataFrame]) -> None:
    table = made["table4"]
    figure = figures.draw("table4", table)
    (front,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "Pareto front"]
    place = table[(table["dataset"] == "Set5") & (table["quantity"] == "psnr_difference")]
    gain = {each["row"]: each["measured"] for _, each in place.iterrows()} | {"convolution": 0.0}
    cost = {c["row"]: c["measured"] for _, c in table[table["quantity"] == "gflops"].iterrows()}
    # by definition: a row is on the front if no row that costs no more has a higher PSNR
    expected = {
        (cost[row], gain[row])
        for row in gain
        if not any(cost[other] <= cost[row] and gain[other] > gain[row] for other in gain)
    }
    xs, ys = front.get_xdata(), front.get_ydata()
    assert set(zip(xs[:-1], ys[:-1], strict=True)) == expected


def test_a_mechanism_that_one_set_lacks_changes_no_colour_there(made: dict[str, pd.DataFrame]) -> None:
    table = made["table4"]
    figure = figures.draw("table4", table[(table["row"] != "NLA") | (table["dataset"] != "Set5")])
    looks: dict[str, set[tuple[str, str]]] = {}
    for axes in figure.axes:
        for points in axes.containers:
            line = points.lines[0]
            looks.setdefault(points.get_label(), set()).add((line.get_color(), line.get_marker()))
    assert {"NLA", "convolution", "ENLCA"} <= looks.keys()
    assert {name: len(found) for name, found in looks.items()} == dict.fromkeys(looks, 1)
    assert len(set().union(*looks.values())) == len(looks)


@pytest.mark.parametrize("name", tables.NAMES)
def test_nothing_measured_is_one_sentence(name: str, made: dict[str, pd.DataFrame]) -> None:
    table = made[name].assign(measured=None)
    if name == "k_sweep":
        table = table[table["kind"] == "theory"]
    with pytest.raises(SisrError, match="nothing to draw"):
        figures.draw(name, table)


def test_written_files_are_complete_and_repeat(made: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    paths = figures.write("table2", made["table2"], tmp_path)
    png, svg, page = (path.read_bytes() for path in paths)
    assert page.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") >= 1200
    assert b"Not comparable" in svg
    assert b"</svg>" in svg
    figures.write("table2", made["table2"], tmp_path)
    assert [path.read_bytes() for path in paths] == [png, svg, page]


def test_many_sets_and_seeds_still_fit(tmp_path: Path) -> None:
    sets = {"Set5": 5, "Set14": 14, "B100": 30, "Urban100": 30, "Manga109": 30, "photographs-test": 3}
    folder = tmp_path / "quick"
    for seed in (0, 1):
        for k in results_folder.K:
            results_folder.add(folder, results_folder.run("enlcn", 4, "enlca", seed, k=k, m=128), sets=sets)
    figure = figures.draw("k_sweep", tables.build("k_sweep", folder))
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles == [f"{name} x4" for name in sets]


def test_gain_while_training_is_paired_by_seed(tmp_path: Path) -> None:
    """Curves 1 dB a seed above 20 + step/100: the pairing removes both, and leaves each row's own gain."""
    results = tmp_path / "quick"
    ids = results_folder.make(results, seeds=(0, 1))["table2"]
    table = tables.build("table2", results, ids)
    assert gain.draw(table, results) is None  # nothing was validated
    gains = dict(zip(ids, 2 * [0.0, 0.1, 0.2, 0.3], strict=True))
    steps = np.arange(10, 110, 10)
    for number, (name, more) in enumerate(gains.items()):
        psnr = 20 + steps / 100 + number // 4 + more
        pd.DataFrame({"step": steps, "psnr": psnr}).to_csv(results / "runs" / name / "train.csv", index=False)
    found = gain.curves(results, ids).groupby(["row", "seed"])["gain"].agg(["min", "max", "size"])
    expected = {"ENLA": 0.1, "ENLA + amplification": 0.2, "ENLCA": 0.3}
    for (row, _), line in found.iterrows():
        assert line.to_list() == pytest.approx([expected[row], expected[row], 10])
    assert len(found) == 6
    figure = gain.draw(table, results)
    assert figure is not None
    figure_texts.check(figure)
    assert {path.name for path in figures.write_gain(table, results)} == {"gain.png", "gain.svg", "gain.pdf"}


def content(file: bytes) -> bytes:
    """The drawing commands of the first page of a PDF."""
    (page,) = re.findall(rb"/Type /Page\b.*?/Contents (\d+) 0 R|/Contents (\d+) 0 R", file, re.DOTALL)[:1]
    number = page[0] or page[1]
    match = re.search(rb"\n" + number + rb" 0 obj\n.*?stream\r?\n(.*?)\r?\nendstream", file, re.DOTALL)
    assert match
    return zlib.decompress(match[1])


@pytest.mark.parametrize("name", ["table1", "table4"])
def test_pdf_has_its_fonts_and_the_width_of_the_text(name: str, made: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    figure = figures.draw(name, made[name])
    wide, high = figure.get_size_inches()
    figures.save_as(figure, [tmp_path / "a.pdf"])
    file = (tmp_path / "a.pdf").read_bytes()
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", file)
    assert [float(side) for side in box] == pytest.approx([7 * 72, 7 * 72 * high / wide], abs=0.01)
    # everything is drawn below one scaling matrix, and lines are cut off where the whole figure ends
    scale = re.search(rb"^([\d.]+) 0 0 ([\d.]+) 0 0 cm", content(file), re.MULTILINE)
    assert scale
    assert [float(side) for side in scale.groups()] == pytest.approx([7 / wide] * 2, abs=1e-6)
    lines = [float(x) for x in re.findall(rb"^([\d.]+) [\d.]+ l$", content(file), re.MULTILINE)]
    assert 0.8 * wide * 72 < max(lines) <= wide * 72
    # every font is embedded, as TrueType and not as Type 3 or bitmap
    assert file.count(b"/Type /FontDescriptor") == file.count(b"/FontFile2") > 0
    assert b"/Type3" not in file
    assert b"CreationDate" not in file
    figures.save_as(figures.draw(name, made[name]), [tmp_path / "b.pdf"])
    assert (tmp_path / "b.pdf").read_bytes() == file


@pytest.mark.parametrize(("wide", "shown"), [(3.0, 3.0), (4.0, 3.3), (5.4, 3.3), (6.0, 6.0), (7.2, 7.0), (13.2, 7.0)])
def test_a_pdf_is_as_wide_as_a_column_or_as_the_text(wide: float, shown: float) -> None:
    assert pdf.width(wide) == shown
