"""The notebooks: clean sources, and executed ones that show everything."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from sisr.report import figures, notebook_cells, tables
from sisr.utils.errors import SisrError
from tests.helpers import results_folder

SOURCES = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "quick"
    ids = results_folder.make(folder)
    for name in tables.NAMES:
        table = tables.build(name, folder, ids[name])
        tables.write(name, table, folder)
        figures.write(name, table, folder)
    return folder


@pytest.mark.parametrize("name", tables.NAMES)
def test_sources_hold_no_output_and_take_parameters(name: str) -> None:
    source = nbformat.read(SOURCES / f"{name}.ipynb", as_version=4)
    nbformat.validate(source)
    codes = [cell for cell in source.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in codes)
    tagged = [cell for cell in codes if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert 'results = "results/quick"' in tagged[0].source


@pytest.mark.usefixtures("warm_kernels")
@pytest.mark.parametrize("name", tables.NAMES)
def test_executed_notebook_shows_table_figure_and_origin(name: str, results: Path, tmp_path: Path) -> None:
    from sisr.report.notebooks import execute

    output, page = tmp_path / f"{name}.ipynb", tmp_path / f"{name}.html"
    execute(SOURCES / f"{name}.ipynb", output, {"results": str(results)}, page)
    html = page.read_text()
    assert "Not comparable" in html
    assert "gt_table" in html
    assert re.search(r'<img[^>]+src="data:image/png;base64,', html)
    for heading in ("Settings", "Published values", "Findings", "differ", "Provenance"):
        assert heading in html
    assert "0123abcd" in html  # the commit
    for cell in nbformat.read(output, as_version=4).cells:
        assert len(cell.source) < 700, "a notebook shows, and computes nothing"


def test_what_the_paper_says_is_computed_from_its_figures() -> None:
    said = notebook_cells.paper("table1")._repr_markdown_()
    assert "10 of the 10 columns" in said
    # x4: Set5 .21, Set14 .14, B100 .11, Urban100 .48, Manga109 .31 over EDSR
    assert "At x4 it gains 0.11 to 0.48 dB over EDSR" in said
    assert "+0.16 dB" in notebook_cells.paper("table2")._repr_markdown_()
    assert "0.66" in notebook_cells.paper("table4")._repr_markdown_()
    assert "k = 6" in notebook_cells.paper("k_sweep")._repr_markdown_()


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    for show in (
        notebook_cells.table,
        notebook_cells.figure,
        notebook_cells.findings,
        notebook_cells.provenance,
        notebook_cells.what_was_run,
    ):
        with pytest.raises(SisrError, match="run python -m sisr tables"):
            show("table1", str(tmp_path))


def test_notebooks_need_no_torch_and_no_matplotlib() -> None:
    """They start in a second because they only read files."""
    code = (
        "import sys; from sisr.report import notebook_cells; print({'torch', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SOURCES.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_photo_is_upscaled_by_the_pretrained_network_and_measured(tmp_path: Path) -> None:
    from sisr.report.notebooks import execute

    source = nbformat.read(SOURCES / "upscale.ipynb", as_version=4)
    nbformat.validate(source)
    assert all(not cell.outputs for cell in source.cells if cell.cell_type == "code")
    output = tmp_path / "upscale.ipynb"
    execute(SOURCES / "upscale.ipynb", output, {"scale": 2})
    shown = "".join(
        out.get("text", "") + out.get("data", {}).get("text/plain", "")
        for cell in nbformat.read(output, as_version=4).cells
        if cell.cell_type == "code"
        for out in cell.outputs
    )
    assert "128 x 128 to 256 x 256 pixels" in shown
    psnr = {row: float(value) for row, value in re.findall(r"^(bicubic|network) +([\d.]+)", shown, re.MULTILINE)}
    assert psnr["network"] > psnr["bicubic"] + 0.5
