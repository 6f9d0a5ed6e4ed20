"""Notebooks are executed with parameters, exported whole, and a failing cell is told in one sentence."""

from pathlib import Path

import nbformat
import pytest

from sisr.report.notebooks import execute
from sisr.utils.errors import SisrError


def notebook(path: Path, *cells: str) -> Path:
    content = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python"}})
    parameters = nbformat.v4.new_code_cell('results = "default"', metadata={"tags": ["parameters"]})
    content.cells = [parameters, *(nbformat.v4.new_code_cell(cell) for cell in cells)]
    nbformat.write(content, path)
    return path


@pytest.mark.usefixtures("warm_kernels")
def test_notebook_is_executed_and_exported(tmp_path: Path) -> None:
    source = notebook(tmp_path / "source.ipynb", 'print("measured in", results, 6 * 7)')
    execute(source, tmp_path / "out" / "made.ipynb", {"results": "results/some"}, tmp_path / "out" / "made.html")
    made = nbformat.read(tmp_path / "out" / "made.ipynb", as_version=4)
    assert "measured in results/some 42" in str(made.cells)
    page = (tmp_path / "out" / "made.html").read_text()
    assert "measured in results/some 42" in page
    assert "<title>source</title>" in page
    assert "6 * 7" not in page  # the code stays in the notebook
    assert made.metadata.papermill["output_path"] == str(tmp_path / "out" / "made.ipynb")  # not the temporary name
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["made.html", "made.ipynb"]


@pytest.mark.usefixtures("warm_kernels")
def test_failing_cell_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    source = notebook(tmp_path / "source.ipynb", '{}["absent"]')
    with pytest.raises(SisrError, match=r"a cell of .*source\.ipynb fails: KeyError: 'absent'"):
        execute(source, tmp_path / "out" / "made.ipynb", {}, tmp_path / "out" / "made.html")
    assert list((tmp_path / "out").iterdir()) == []


def test_missing_notebook_is_told(tmp_path: Path) -> None:
    with pytest.raises(SisrError, match=r"absent\.ipynb does not exist"):
        execute(tmp_path / "absent.ipynb", tmp_path / "made.ipynb", {})
