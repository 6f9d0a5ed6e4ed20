"""A number of operations that leaves something out is marked as a lower bound wherever it is shown."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from sisr.cli import main
from sisr.comparison import figure_pareto, page, result, sentences, table_view
from sisr.comparison.result import Comparison
from sisr.report import tables
from sisr.report.figures import style
from sisr.report.tables import table4
from sisr.results import cells
from tests.helpers import comparison_folder, results_folder

MISSING = "linalg_inv_ex, mylib::scan"
OWN = """
import torch
from torch import nn

@torch.library.custom_op("sisr_bound_test::product", mutates_args=())
def product(x: torch.Tensor) -> torch.Tensor:
    return x @ x.mT @ x

@product.register_fake
def _(x):
    return torch.empty_like(x)

@product.register_autograd
def _(ctx, slope):
    return slope

class Foreign(nn.Module):
    def __init__(self, channels=64):
        super().__init__()
        self.value = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x):
        return x + product(self.value(x))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison in which the operations of `my_attention` are a lower bound."""
    folder = tmp_path_factory.mktemp("results") / "quick"
    ids = comparison_folder.make(folder)
    file = folder / "comparison" / "cost.csv"
    costs = pd.read_csv(file)
    costs["gflops_at_least"] = costs["label"].map({"my_attention": MISSING})
    costs.to_csv(file, index=False)
    comparison_folder.write_table(folder, ids)
    return folder


def gflops(comparison: Comparison, label: str) -> result.Measured:
    measured = comparison.measured(label, "gflops")
    assert measured
    return measured


def test_the_table_marks_the_cells_and_names_what_is_missing(results: Path) -> None:
    table = cells.read(results / "tables" / "compare.csv")
    bounds = table[table["at_least"] != ""]
    assert list(zip(bounds["row"], bounds["quantity"], bounds["at_least"], strict=True)) == [
        ("my_attention", "gflops", MISSING),
        ("my_attention", "network_gflops", MISSING),
    ]
    view = table_view.view(table)
    columns = [index for index, column in enumerate(view.columns) if column.label == "GFLOPs"]
    assert len(columns) == 2
    shown = dict(view.sections[0].rows)
    value = gflops(result.read(results), "my_attention").value
    assert [shown["my_attention"][index].main for index in columns] == [f"≥ {value:.2f}"] * 2
    marked = [text.main for label, texts in shown.items() if label != "my_attention" for text in texts]
    assert not any("≥" in text for text in marked)
    note = f"≥: at least this many operations. What may multiply and is not counted: my_attention: {MISSING}."
    assert note in view.notes
    markdown = (results / "tables" / "compare.md").read_text()
    assert f"≥ {value:.2f}" in markdown
    assert note in markdown


def test_the_page_names_what_is_missing(results: Path) -> None:
    context = page.context(results)
    (cost,) = [table for table in context["tables"] if table["id"] == "cost"]
    at = [column["title"] for column in cost["columns"]].index("Operations")
    shown = {row["label"]: row["cells"][at] for row in cost["rows"]}
    assert shown["my_attention"]["words"].startswith("≥ ")
    assert shown["my_attention"]["detail"] == f"not counted: {MISSING}"
    assert float(shown["my_attention"]["sort"]) == gflops(result.read(results), "my_attention").value
    assert "≥" not in shown["enlca"]["words"]
    assert MISSING in page.page(results)


def test_sentences_say_at_least_or_at_most(results: Path) -> None:
    comparison = result.read(results)
    ratio = gflops(comparison, "my_attention").value / gflops(comparison, "enlca").value
    assert f"at least {ratio:.1f} times the operations" in sentences.cost(comparison, "my_attention")
    assert "at least" not in sentences.cost(comparison, "nlsa")
    changed = comparison.table.copy()
    changed.loc[(changed["row"] == "enlca") & (changed["quantity"] == "gflops"), "at_least"] = "mylib::other"
    changed = Comparison(changed)
    assert "operations" not in sentences.cost(changed, "my_attention")  # two lower bounds have no ratio
    assert "at most 2.0 times the operations" in sentences.cost(changed, "nlsa")


def test_the_pareto_figure_marks_the_mechanism_and_names_what_is_missing(results: Path) -> None:
    with style.settings():
        figure = figure_pareto.draw(result.read(results))
    operations, time = figure.axes[:2]
    assert "≥ my_attention" in {text.get_text() for text in operations.texts}
    assert "my_attention" in {text.get_text() for text in time.texts}
    assert " ".join(MISSING.split()) in " ".join(" ".join(text.get_text() for text in figure.texts).split())
    plt.close(figure)


def test_tables_of_older_versions_have_no_bounds(results: Path, tmp_path: Path) -> None:
    old = pd.read_csv(results / "tables" / "compare.csv").drop(columns="at_least")
    old.to_csv(tmp_path / "compare.csv", index=False)
    table = cells.read(tmp_path / "compare.csv")
    assert set(table["at_least"]) == {""}
    assert set(table.columns) == set(cells.COLUMNS)


@pytest.mark.parametrize("old", [False, True])
def test_table_4_marks_its_counts(tmp_path: Path, old: bool) -> None:
    file = tmp_path / "complexity" / "table4.csv"
    results_folder.write_complexity(file)
    if not old:
        costs = pd.read_csv(file)
        costs["gmacs"] = costs["fvcore_gmacs"] + 1
        costs["at_least"], costs["core_at_least"] = MISSING, "mylib::scan"
        costs.to_csv(file, index=False)
    table = table4.build([], "quick", file)
    costs_of = {c["quantity"]: c for _, c in table[table["row"] == "NLA"].iterrows()}
    view = tables.view("table4", table)
    shown = dict(view.sections[0].rows)["NLA"]
    at = [column.label for column in view.columns].index("GMAC of the core")
    if old:
        assert (shown[at].main, shown[at + 1].main) == ("12.800", "12.923")
        assert "≥" not in " ".join(view.notes)
    else:
        assert (shown[at].main, shown[at + 1].main) == ("≥ 12.800", "≥ 13.923")
        assert (costs_of["core_gmacs"]["at_least"], costs_of["gflops"]["at_least"]) == ("mylib::scan", "")
        assert any("NLA: mylib::scan, linalg_inv_ex;" in note for note in view.notes)


def test_the_command_marks_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    words = ["complexity", "nla", "own.py:Foreign", "--size", "8", "8", "--seconds", "0.001", "--device", "cpu"]
    assert main([*words, "--output", "cost.csv"]) == 0
    heading, nla, own, _ = capsys.readouterr().out.splitlines()
    assert "GMAC" in heading
    assert "≥" not in nla
    assert own.split()[2:6] == ["≥", "0.000", "≥", "0.000"]
    assert own.endswith("sisr_bound_test::product")
    rows = pd.read_csv("cost.csv", keep_default_na=False)
    assert list(rows["at_least"]) == list(rows["core_at_least"]) == ["", "sisr_bound_test::product"]
    assert rows["gmacs"][1] * 1e9 == pytest.approx(8 * 8 * 64 * 64)
    labelled = [*words, "--label", "nla", "--label", "mine", "--output", "all.csv", "--by-size", "by_size.csv"]
    assert main([*labelled, "--json"]) == 0
    assert '"gflops_at_least": "sisr_bound_test::product"' in capsys.readouterr().out
    for file in ("all.csv", "by_size.csv"):
        shown: Any = pd.read_csv(file, keep_default_na=False)
        assert dict(zip(shown["label"], shown["gflops_at_least"], strict=True)) == {
            "nla": "",
            "mine": "sisr_bound_test::product",
        }
