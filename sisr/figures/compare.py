"""The figures of a comparison, written from the files of a results folder."""

from pathlib import Path
from typing import Any

from sisr.comparison import result
from sisr.figures import save, style


def write(results: Path) -> list[Path]:
    """Draw `figures/compare_{differences,pareto,cost}.{png,svg}` from `tables/compare.csv` and
    `comparison/cost_by_size.csv`; the same files give the same bytes."""
    from sisr.figures import compare_cost, compare_differences, compare_pareto

    comparison, costs = result.read(results), result.read_costs(results)
    paths: list[Path] = []
    with style.settings():
        figures: dict[str, Any] = {
            "compare_differences": compare_differences.draw(comparison),
            "compare_pareto": compare_pareto.draw(comparison),
            "compare_cost": compare_cost.draw(comparison, costs),
        }
    for name, figure in figures.items():
        paths += save(figure, name, results)
    return paths
