"""Runs and images of the paper's Figures 1, 5 and 7, for a preset.

Only the standard library is imported, so that the workflow can be planned without torch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sisr.config.declared import mechanisms, paper
from sisr.config.presets import Plan
from sisr.config.run import Run

IMAGES = {"Set5": ("butterfly", "138,154"), "photographs-test": ("astronaut", "128,370")}
"""Images of Figures 1 and 7, and the marked pixel in HR: the paper's butterfly (on a vein of its wing; the pixel
marked in the paper is unknown), or else the edge of the astronaut's mission patch."""


@dataclass(frozen=True)
class Visual:
    """One figure."""

    runs: tuple[Run, ...]
    dataset: str
    scale: int
    image: str = ""
    """Name of the image; empty: the first of the set, or several."""
    at: str = ""
    """x,y of the marked pixel in HR; empty: selected automatically."""
    published: tuple[str, ...] = ()
    """Weights files of published networks."""


def figures(plan: Plan) -> dict[str, Visual]:
    """The available figures by name: those for which the preset trains at least one network."""
    return dict(_figures(plan))


def _figures(plan: Plan) -> Iterator[tuple[str, Visual]]:
    seed = min(run.seed for run in plan.runs.values())
    tables = {name: [run for run in runs if run.seed == seed] for name, runs in plan.experiments.items()}
    dataset = next((name for name in IMAGES if name in plan.test), plan.test[0])
    image, at = IMAGES.get(dataset, ("", ""))
    scale = tables["table4"][0].network.scale if tables["table4"] else tables["k_sweep"][0].network.scale
    if compared := _one_each(run for run in [*tables["table1"], *tables["table4"]] if run.network.scale == scale):
        yield "figure1", Visual(compared, dataset, scale, image, at)
    scales = {run.network.scale for run in tables["table1"]}
    if scales:
        scale = 4 if 4 in scales else max(scales)
        networks = tuple(run for run in tables["table1"] if run.network.scale == scale)
        urban = "Urban100" if "Urban100" in plan.test else plan.test[0]
        weights = tuple(str(file) for name, file in plan.published.items() if name.endswith(f"-x{scale}"))
        yield "figure5", Visual(networks, urban, scale, published=weights)
    scale = tables["k_sweep"][0].network.scale
    ablation = [run for run in tables["table2"] if run.network.scale == scale]
    swept = {
        run.id: run
        for run in [*tables["k_sweep"], *ablation]
        if run.network.attention in (paper()["WITHOUT_LOSS"], paper()["MECHANISM"])
    }
    yield "figure7", Visual(tuple(swept.values()), dataset, scale, image, at)


def _one_each(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The first run of each mechanism that has weights on positions, the paper's before the others."""
    first: dict[str | None, Run] = {}
    for run in runs:
        first.setdefault(run.network.attention, run)
    without = {name for name, mechanism in mechanisms().items() if mechanism.get("no_map")} | {None}
    names = [
        *(name for name in paper()["SIDE_BY_SIDE"] if name in first),
        *(name for name in first if name not in without),
    ]
    return tuple(first[name] for name in dict.fromkeys(names))
