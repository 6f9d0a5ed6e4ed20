"""Names of runs, networks and mechanisms in tables and figures."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    file = folder / "provenance.json"
    provenance = read_run_json(file) if file.is_file() else {}
    name, results = folder.resolve().name, Results.of(folder.resolve())
    return Run(name, read_run_json(folder / "config.json"), provenance, results.evaluation(name))


def contrastive(config: dict[str, Any], run: Run | None) -> bool:
    """Whether a network was trained with the contrastive loss: by its run; published ENLCN was."""
    return run.contrastive if run is not None else config.get("attention") == "enlca"


def mechanism_label(attention: str, options: dict[str, Any], contrastive: bool) -> str:
    """What readers call `enla`, `enlca` or `nla` with these options, trained with the contrastive loss or without."""
    if attention == "nla":
        k = options.get("k")
        return "NLA (exact)" if k is None else f"NLA (exact), k = {float(k):g}"
    k = float(options.get("k", 1 if attention == "enla" else 6))
    m = int(options.get("m", PAPER_M))
    name = "ENLCA" if attention == "enlca" and contrastive else "ENLA"
    return f"{name}, k = {k:g}" + (f", m = {m}" if m != PAPER_M else "")


def cost_label(attention: str, options: dict[str, Any]) -> str:
    """Row of a mechanism: `NLA`, `NLSA-r4`, `ENLCA-m128`, or the name of any other with its options."""
    match attention:
        case "convolution" | "nla":
            return {"nla": "NLA"}.get(attention, attention)
        case "nlsa":
            return f"NLSA-r{int(options.get('rounds', 4))}"
        case "enlca":
            return f"ENLCA-m{int(options.get('m', 128))}"
    chosen = [f"{key}={options[key]}" for key in ("m", "rounds") if key in options]
    return attention + (f" ({', '.join(chosen)})" if chosen else "")


def attention_label(config: dict[str, Any], run: Run | None) -> str:
    """What readers call the attention of a network: `ENLCA, k = 6`, `NLSA-r4`, `NLA (exact)`."""
    attention, options = str(config["attention"]), dict(config.get("attention_options") or {})
    if attention in ("enla", "enlca", "nla"):
        return mechanism_label(attention, options, contrastive(config, run))
    return cost_label(attention.rpartition(":")[2], options).replace("_", " ")


def network_label(config: dict[str, Any], run: Run | None) -> str:
    """What readers call a network: `EDSR`, `ENLCN`, `ENLCN, k = 1`, or its attention where the name does not tell."""
    name, attention = str(config["name"]), config.get("attention")
    promised = {"enlcn": "enlca", "nlsn": "nlsa"}.get(name)
    if attention is None:
        return "EDSR" if name in ("edsr", "enlcn", "nlsn") else {"lapsrn": "LapSRN"}.get(name, name.upper())
    if attention != promised:
        return attention_label(config, run)
    told = attention_label(config, run).removeprefix("ENLCA, k = 6").removeprefix("NLSA-r4").removeprefix("ENLCA")
    return name.upper() + told.replace("NLSA-r", ", rounds = ")


def unique(labels: Sequence[str], runs: Sequence[Run | None]) -> list[str]:
    """The labels, those that came up more than once with the seed of their run or a number behind them."""
    many = Counter(labels)
    seeds = [f", seed {run.seed}" if run is not None else "" for run in runs]
    named = [label + seed if many[label] > 1 else label for label, seed in zip(labels, seeds, strict=True)]
    again, seen = Counter(named), Counter[str]()
    found = []
    for label in named:
        seen[label] += 1
        found.append(f"{label} ({seen[label]})" if again[label] > 1 else label)
    return found
