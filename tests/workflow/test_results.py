"""What `make reproduce` leaves behind. Run after it: `python -m pytest -m results`."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest

from sisr.config import presets, settings

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "results" / "quick"
NAMES = ("table1", "table2", "table4", "k_sweep")
pytestmark = pytest.mark.results


def evaluations() -> dict[str, dict[str, pd.DataFrame]]:
    """Per-image rows by run or control and by set."""
    folders = sorted(folder for folder in (QUICK / "evaluation").iterdir() if folder.is_dir())
    return {folder.name: {file.stem: pd.read_csv(file) for file in folder.glob("*.csv")} for folder in folders}


def compared() -> set[str]:
    """What a comparison measured, if one was made after the tables."""
    table = QUICK / "tables" / "compare.csv"
    return {run for cell in pd.read_csv(table)["runs"].dropna() for run in cell.split()} if table.is_file() else set()


def trained(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith(("bicubic-", "hr-"))}


def test_everything_was_made() -> None:
    for name in NAMES:
        for file in (
            *(f"tables/{name}.{ending}" for ending in ("csv", "md", "html", "tex")),
            *(f"figures/{name}.{ending}" for ending in ("png", "svg", "pdf")),
            *(f"notebooks/{name}.{ending}" for ending in ("ipynb", "html")),
        ):
            assert (QUICK / file).stat().st_size > 0, file


def test_every_network_is_above_bicubic_on_every_set() -> None:
    measured = evaluations()
    networks = trained(measured)
    experiments = presets.plan(settings.read(ROOT / "config" / "quick.yaml"), ROOT).experiments
    planned = {run.id for name in NAMES for run in experiments[name]}
    assert len(planned) == 16
    assert networks == planned | trained(compared())
    for network in networks:
        for dataset, rows in measured[network].items():
            scale = re.search(r"_x(\d+)$", dataset)
            assert scale
            bicubic = measured[f"bicubic-x{scale[1]}"][dataset]
            assert rows.image.tolist() == bicubic.image.tolist()
            assert rows.psnr.mean() > bicubic.psnr.mean(), f"{network} on {dataset}"
            assert rows.ssim.mean() > bicubic.ssim.mean(), f"{network} on {dataset}"


def test_controls_are_floor_and_ceiling() -> None:
    for name, sets in evaluations().items():
        if name.startswith("hr-"):
            assert all((rows.psnr == float("inf")).all() and (rows.ssim == 1).all() for rows in sets.values())


def test_every_run_tells_where_it_comes_from() -> None:
    for folder in (QUICK / "runs").iterdir():
        record = json.loads((folder / "provenance.json").read_text())
        assert record["run_id"] == folder.name
        assert re.fullmatch("[0-9a-f]{40}", record["git_commit"])
        assert re.fullmatch("[0-9a-f]{64}", record["weights_sha256"])
        assert not (folder / "checkpoint.pt").exists()


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_ran_without_an_error_and_show_the_preset(name: str) -> None:
    notebook = json.loads((QUICK / "notebooks" / f"{name}.ipynb").read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]
    page = (QUICK / "notebooks" / f"{name}.html").read_text()
    assert "quick" in page
    assert "data:image/png;base64," in page
