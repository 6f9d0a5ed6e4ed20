"""The figures of a comparison, written from the files of a results folder."""

from pathlib import Path
from typing import Any

from sisr.comparison import result
from sisr.config.layout import Results
from sisr.report.figures import save, style


def write(results: Path) -> list[Path]:
    """Draw `figures/compare_{differences,pareto,cost}.{png,svg}` from `tables/compare.csv` and
    `comparison/cost_by_size.csv`; the same files give the same bytes.

    Where no cost was measured, what is over cost is left out; raises SisrError where there is no table.
    """
    from sisr.comparison import figure_cost, figure_differences, figure_pareto

    comparison = result.read(results)
    with style.settings():
        figures: dict[str, Any] = {"compare_differences": figure_differences.draw(comparison)}
        if any(comparison.measured(label, "forward_seconds") for label in comparison.labels):
            figures["compare_pareto"] = figure_pareto.draw(comparison)
        if Results(results).cost_by_size.is_file():
            figures["compare_cost"] = figure_cost.draw(comparison, result.read_costs(results))
    return [path for name, figure in figures.items() for path in save(figure, name, results)]


def write_crops(results: Path) -> list[Path]:
    """Draw `figures/compare_crops.{png,svg}` from the files in `comparison/crops/`."""
    from sisr.comparison import crops
    from sisr.report.figures.crops import draw
    from sisr.report.tables.view import banner

    comparison = result.read(results)
    note = (
        f"Chosen by a rule: the images whose PSNR differs most from {comparison.reference}'s, and in each the square "
        "whose squared error differs most. First line: the whole image; second: the crop (PSNR on Y). First seed."
    )
    with style.settings():
        figure = draw(crops.figure_rows(crops.read(results), results), *banner(comparison.table), note)
    return save(figure, "compare_crops", results)
