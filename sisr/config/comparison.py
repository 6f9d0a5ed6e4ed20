"""From the mechanisms that a preset or the command line names to the runs that compare them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sisr.config import declared, mechanisms
from sisr.config.mechanisms import Mechanism, source
from sisr.config.run import Run


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
    """The comparison in a configuration, None without mechanisms.

    config: with `attention` at the top or under `compare`; the top wins. known: registered names.
    run: makes a run of a seed, a scale, a network, an attention and its options. root: folder of the checkout.
    Raises UsageError with one sentence for anything that cannot work.
    """
    settings = config.get("compare", {})
    listed = config.get("attention", settings.get("attention"))
    if listed is None:
        return None
    by_label = mechanisms.compared(listed, known, root)
    scale = settings.get("scale", config["table4"]["scale"])
    height, width = config["table4"].get("size", (100, 100))
    runs = {}
    for label, mechanism in by_label.items():
        network = declared.network_of(mechanism.attention)
        runs[label] = tuple(
            run(seed, scale, network, mechanism.attention, mechanism.options)
            for seed in settings.get("seeds", config["seeds"])
        )
    return Comparison(
        runs=runs,
        reference=mechanisms.reference(by_label, settings.get("reference")),
        scale=scale,
        # a contrastive loss needs some fifty pixels
        sizes=tuple(settings.get("sizes", [max(8, min(height, width) // part) for part in (4, 2)])),
    )


def mechanism_spec(run: Run) -> str:
    """The attention of a run as `python -m sisr complexity` takes it."""
    return str(Mechanism(run.network.attention or "none", run.network.attention_options))


def network_spec(run: Run) -> str:
    """The network of a run as `python -m sisr complexity` takes it."""
    return str(Mechanism(run.network.name, {"scale": run.network.scale, **run.network.options()}))


def own(runs: Iterable[Run]) -> list[Run]:
    """One run of each mechanism that is not the paper's, in its network, and of each network of one's own: these are
    tried before anything is trained."""
    return list({network_spec(run): run for run in runs if not _in_paper(run)}.values())


def code(run: Run, registered: Mapping[str, Path], root: Path = Path()) -> Path | None:
    """The file whose change makes a run another one: that of its attention, or of a network of one's own; None for one
    of the paper's.

    registered: files of the registered mechanisms. What that file imports is not looked for.
    """
    if mechanisms.is_custom(run.network.name):
        return source(run.network.name, root)
    attention = run.network.attention
    return None if _in_paper(run) else registered.get(attention or "") or source(attention, root)


def _in_paper(run: Run) -> bool:
    if mechanisms.is_custom(run.network.name):
        return False
    mechanism = declared.mechanisms().get(run.network.attention or "none")
    return mechanism is not None and mechanism.get("in_paper", False)
