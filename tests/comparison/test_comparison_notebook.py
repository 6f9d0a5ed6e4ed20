"""The notebook of a comparison: a clean source, and an executed one that shows everything."""

import re
from pathlib import Path

import nbformat
import pytest

from sisr.cli import main
from sisr.comparison import figures
from tests.helpers import comparison_folder

SOURCE = Path(__file__).parents[2] / "notebooks" / "compare.ipynb"


def test_source_holds_no_output_and_takes_parameters() -> None:
    source = nbformat.read(SOURCE, as_version=4)
    nbformat.validate(source)
    codes = [cell for cell in source.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in codes)
    assert [cell.source.splitlines()[-1] for cell in codes if "parameters" in cell.metadata.get("tags", [])] == [
        'results = "results/quick"'
    ]


@pytest.mark.usefixtures("warm_kernels")
@pytest.mark.parametrize("labels", [["enlca", "nlsa", "my_attention"], ["enlca", "my_attention"]])
def test_executed_notebook_shows_whatever_was_compared(labels: list[str], tmp_path: Path) -> None:
    results = tmp_path / "quick"
    comparison_folder.make(results, labels, (0,), {"Set14": 14})
    figures.write(results)
    made, page = results / "notebooks" / "compare.ipynb", results / "notebooks" / "compare.html"
    assert main(["notebook", str(SOURCE), str(made), "--html", str(page), "--results", str(results), "--json"]) == 0
    html = page.read_text()
    for heading in ("Settings", "Results", "The table", "Gain over cost", "Cost over image size", "Provenance"):
        assert heading in html
    assert len(re.findall(r'<img[^>]+src="data:image/png;base64,', html)) == 3
    assert "No crops were made for this comparison" in html
    assert "Not comparable" in html
    assert "0123abcd" in html  # the commit
    for label in labels[1:]:
        assert f"<strong>{label}: " in html
    outputs = [output for cell in nbformat.read(made, as_version=4).cells for output in cell.get("outputs", [])]
    assert outputs
    assert all(output.output_type != "error" for output in outputs)
