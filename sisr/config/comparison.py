"""From the mechanisms that a preset or the command line names to the runs that compare them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sisr.config import declared, mechanisms
from sisr.config.mechanisms import Mechanism, source
from sisr.config.run import Run
from sisr.config.schema import nearest, shown
from sisr.utils.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mechanisms beside each other: same recipe, seeds and data."""

    runs: dict[str, tuple[Run, ...]]
    """By label, one a seed; with a search, one a learning rate and seed."""
    reference: str
    """Label that the others are compared with."""
    scale: int
    sizes: tuple[int, ...]
    """Sides of the square feature maps that cost is measured at, before the size of Table 4."""
    rates: tuple[float, ...] = ()
    """Learning rates that are tried for each mechanism; empty without a search."""
    validation: tuple[str, ...] = ()
    """Sets that choose among the learning rates."""

    @property
    def candidates(self) -> dict[str, tuple[Run, ...]]:
        """The runs of a search by label: the first seed at each learning rate; empty without a search."""
        if not self.rates:
            return {}
        return {label: tuple(run for run in runs if run.seed == runs[0].seed) for label, runs in self.runs.items()}

    def chosen(self, ids: Collection[str]) -> "Comparison":
        """The comparison after the search. ids: of the chosen candidates, one a label."""
        rates = {
            label: next(run.training.learning_rate for run in candidates if run.id in ids)
            for label, candidates in self.candidates.items()
        }
        runs = {
            label: tuple(run for run in every if run.training.learning_rate == rates[label])
            for label, every in self.runs.items()
        }
        return replace(self, runs=runs, rates=(), validation=())

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
    run: makes a run of a seed, a scale, a network, an attention, its options and a learning rate (None: that of the
    preset). root: folder of the checkout.
    Raises UsageError with one sentence for anything that cannot work.
    """
    settings = config.get("compare", {})
    listed = config.get("attention", settings.get("attention"))
    if listed is None:
        return None
    by_label = mechanisms.compared(listed, known, root)
    scale = settings.get("scale", config["table4"]["scale"])
    backbone, rates = _backbone(config), tuple(map(float, settings.get("learning_rates", ())))
    runs = {}
    for label, mechanism in by_label.items():
        network = backbone or declared.network_of(mechanism.attention)
        runs[label] = tuple(
            run(seed, scale, network, mechanism.attention, mechanism.options, rate)
            for rate in rates or (None,)
            for seed in settings.get("seeds", config["seeds"])
        )
    return Comparison(
        runs=runs,
        reference=mechanisms.reference(by_label, settings.get("reference")),
        scale=scale,
        sizes=sizes(config),
        rates=rates,
        validation=tuple(config["data"].get("validate", ())) if rates else (),
    )


def sizes(config: dict[str, Any]) -> tuple[int, ...]:
    """Sides of the square feature maps that cost is measured at, before the size of Table 4."""
    side = min(config["table4"].get("size", (100, 100)))
    # the ranks of the released contrastive loss need 65 pixels
    return tuple(config.get("compare", {}).get("sizes", [max(9, side // part) for part in (4, 2)]))


def _backbone(config: dict[str, Any]) -> str | None:
    """The network of `compare.backbone`; None for EDSR, whose configurations have names of their own.

    Raises UsageError for a network without empty slots, and for options of it that are the mechanism's.
    """
    name = config.get("compare", {}).get("backbone")
    if name in (None, declared.paper()["BACKBONE"]):
        return None
    with_slots = [each for each, network in declared.networks().items() if network.get("attention", "") is None]
    if name not in with_slots:
        raise UsageError(
            f"compare.backbone is {shown(name)}, which has no empty slots for attention; {nearest(name, with_slots)}"
        )
    for option in ("attention", "attention_options", "gated"):
        if option in config.get("network_options", {}).get(name, {}):
            raise UsageError(f"network_options.{name}.{option} is set by the comparison; remove it.")
    return str(name)


def mechanism_spec(run: Run) -> str:
    """The attention of a run as `python -m sisr complexity` takes it."""
    return str(Mechanism(run.network.attention or "none", run.network.attention_options))


def sorted_spec(run: Run) -> str:
    """As `mechanism_spec`, with the options in order: one text for one mechanism."""
    return str(Mechanism(run.network.attention or "none", dict(sorted(run.network.attention_options.items()))))


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
