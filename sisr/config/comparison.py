"""From the mechanisms that a preset or the command line names to the runs that compare them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sisr.config import mechanisms, specs
from sisr.config.own_code import source
from sisr.config.run import Run

NETWORKS = {"enlca": "enlcn", "nlsa": "nlsn"}
"""Networks that are named by their attention, as the tables have them; any other attention sits in `edsr`."""
PAPER = ("convolution", "enla", "enlca", "mean_pooling", "nla", "nlsa", "none")
"""Mechanisms of the paper's tables. Their files are no input of a training, or a comma in one would retrain everything;
any other mechanism is one that somebody works on, and its file is."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mechanisms beside each other: same recipe, seeds and data."""

    runs: dict[str, tuple[Run, ...]]
    """By label, one a seed."""
    reference: str
    """Label that the others are compared with."""
    scale: int
    sizes: tuple[int, ...]
    """Sides of the square feature maps that cost is measured at, before the size of Table 4."""

    @property
    def specs(self) -> dict[str, list[str]]:
        """What `python -m sisr complexity` measures: for each label the mechanism, and the network that holds it."""
        return {label: [mechanism_spec(runs[0]), network_spec(runs[0])] for label, runs in self.runs.items()}

    @property
    def methods(self) -> list[str]:
        """`LABEL=RUN,RUN` words."""
        return [f"{label}={','.join(run.id for run in runs)}" for label, runs in self.runs.items()]


def plan(
    config: dict[str, Any], known: Sequence[str], run: Callable[..., Run], root: Path = Path()
) -> Comparison | None:
    """The comparison that a configuration asks for, None where it names no mechanisms.

    config: with `attention` at the top or under `compare`; the top wins. known: registered names.
    run: makes a run of a seed, a scale, a network, an attention and its options. root: folder of the checkout.
    Raises UsageError with one sentence for anything that cannot work.
    """
    settings = config.get("compare", {})
    listed = config.get("attention", settings.get("attention"))
    if listed is None:
        return None
    found = mechanisms.read(listed, known, root)
    scale = settings.get("scale", config["table4"]["scale"])
    height, width = config["table4"].get("size", (100, 100))
    runs = {}
    for entry in found:
        network = NETWORKS.get(entry.attention or "", "edsr")
        runs[entry.label] = tuple(
            run(seed, scale, network, entry.attention, **entry.options)
            for seed in settings.get("seeds", config["seeds"])
        )
    return Comparison(
        runs=runs,
        reference=mechanisms.reference(found, settings.get("reference")),
        scale=scale,
        # ENLCA's loss needs some fifty pixels
        sizes=tuple(settings.get("sizes", [max(8, min(height, width) // part) for part in (4, 2)])),
    )


def mechanism_spec(run: Run) -> str:
    """The attention of a run as `python -m sisr complexity` takes it."""
    return specs.form(run.network.attention or "none", run.network.attention_options)


def network_spec(run: Run) -> str:
    """The network of a run as `python -m sisr complexity` takes it."""
    return specs.form(run.network.name, {"scale": run.network.scale, **run.network.options()})


def own(runs: Iterable[Run]) -> list[Run]:
    """One run of each mechanism that is not the paper's, in its network: what is tried before anything is trained."""
    found = {network_spec(run): run for run in runs if (run.network.attention or "none") not in PAPER}
    return list(found.values())


def code(run: Run, registered: Mapping[str, Path], root: Path = Path()) -> Path | None:
    """The file whose change makes a run another one: that of its attention, None for one of the paper's.

    registered: files of the registered mechanisms. What that file imports is not looked for.
    """
    attention = run.network.attention or "none"
    return None if attention in PAPER else registered.get(attention) or source(attention, root)
