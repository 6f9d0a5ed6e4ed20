"""Names of runs, networks and mechanisms in tables and figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sisr.config.declared import mechanisms, networks, paper
from sisr.config.layout import Results
from sisr.results.runs import Run
from sisr.utils.files import read_run_json

PAPER_M = 128
"""Random features in the paper, which labels do not mention."""


def labelled(word: str) -> tuple[str | None, str]:
    """`LABEL=WHAT` as label and what; anything else, and a path that exists, has no label."""
    label, sign, what = word.partition("=")
    return (label.strip(), what) if sign and label.strip() and not Path(word).exists() else (None, word)


def run_of(path: Path) -> Run | None:
    """The run of a folder, or of weights in it, with its configuration; None for weights that lie elsewhere.

    Raises SisrError where the configuration is no JSON.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / "config.json").is_file():
        return None
    file, folder = folder / "provenance.json", folder.resolve()
    provenance = read_run_json(file) if file.is_file() else {}
    evaluation = Results.of(folder).evaluation(folder.name)
    return Run(folder.name, read_run_json(folder / "config.json"), provenance, evaluation)


def contrastive(config: dict[str, Any], run: Run | None) -> bool:
    """Whether a network was trained with the contrastive loss: by its run; published ENLCN was."""
    if run is not None:
        return run.contrastive
    mechanism = mechanisms().get(config.get("attention") or "")
    return mechanism is not None and mechanism.get("own_loss", False)


def mechanism_label(attention: str, options: dict[str, Any], contrastive: bool) -> str:
    """What readers call a mechanism of `EXPONENTIAL` with these options, trained with its loss or without."""
    mechanism = mechanisms()[attention]
    k = mechanism.option("k", options)
    if "m" not in mechanism.get("recipes")["paper"]:
        return f"{mechanism.title} (exact)" + ("" if k is None else f", k = {float(k):g}")
    m = int(mechanism.option("m", options))
    named = mechanism if contrastive and mechanism.get("own_loss") else mechanisms()[paper()["WITHOUT_LOSS"]]
    features = ", optimal features" if options.get("features") == "optimal" else ""
    return f"{named.title}, k = {float(k):g}" + (f", m = {m}" if m != PAPER_M else "") + features


def cost_label(attention: str, options: dict[str, Any]) -> str:
    """Row of a mechanism: `NLA`, `NLSA-r4`, `ENLCA-m128`, or the name of any other with its options."""
    mechanism = mechanisms().get(attention)
    for option, varied in paper()["TABLE4"].items():
        if mechanism is not None and varied == attention:
            return f"{mechanism.title}-{option[0]}{int(mechanism.option(option, options))}"
    chosen = [f"{key}={options[key]}" for key in ("m", "rounds") if key in options]
    return (mechanism.title if mechanism else attention) + (f" ({', '.join(chosen)})" if chosen else "")


def attention_label(config: dict[str, Any], run: Run | None) -> str:
    """What readers call the attention of a network: `ENLCA, k = 6`, `NLSA-r4`, `NLA (exact)`."""
    attention, options = str(config["attention"]), dict(config.get("attention_options") or {})
    if attention in paper()["EXPONENTIAL"]:
        return mechanism_label(attention, options, contrastive(config, run))
    return cost_label(attention.rpartition(":")[2], options).replace("_", " ")


def network_label(config: dict[str, Any], run: Run | None) -> str:
    """What readers call a network: `EDSR`, `ENLCN`, `ENLCN, k = 1`, or its attention if that is another one."""
    name, attention = str(config["name"]), config.get("attention")
    network = networks().get(name)
    if attention is None and network is not None and "attention" in network.attributes:
        network = networks()[paper()["BACKBONE"]]
    if attention is None:
        short = name.rpartition(":")[2]
        return network.title if network is not None else short.upper() if short.islower() else short
    if network is None or attention != network.get("attention"):
        return attention_label(config, run)
    title, options = mechanisms()[attention].title, attention_label(config, run)
    for usual in (f"{title}, k = 6", f"{title}-r4", title):
        options = options.removeprefix(usual)
    return network.title + options.replace("-r", ", rounds = ")


def unique(labels: Sequence[str], runs: Sequence[Run | None]) -> list[str]:
    """The labels; repeated ones get the seed of their run, and a number where they are still equal."""
    seeds = [f", seed {run.seed}" if run is not None else "" for run in runs]
    named = [label + seed if labels.count(label) > 1 else label for label, seed in zip(labels, seeds, strict=True)]
    return [
        f"{label} ({named[: i + 1].count(label)})" if named.count(label) > 1 else label for i, label in enumerate(named)
    ]
