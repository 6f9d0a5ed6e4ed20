"""Runs and weights as the command line names them: their labels, and how far they were trained."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.results.runs import Run
from sisr.utils.files import read_run_json


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
    results = folder.resolve().parent.parent
    return Run(folder.resolve().name, read_run_json(folder / "config.json"), provenance, results / "evaluation")


def contrastive(config: dict[str, Any], run: Run | None) -> bool:
    """Whether a network was trained with the contrastive loss: by its run; published ENLCN was."""
    return run.contrastive if run is not None else config.get("attention") == "enlca"


def attention_label(config: dict[str, Any], run: Run | None) -> str:
    """What readers call the attention of a network: `ENLCA, k = 6`, `NLSA-r4`, `NLA (exact)`."""
    from sisr.analysis.measure import mechanism
    from sisr.report.tables.table4 import label

    attention, options = str(config["attention"]), dict(config.get("attention_options") or {})
    if attention in ("enla", "enlca", "nla"):
        return mechanism(attention, options, contrastive(config, run))
    return label(attention.rpartition(":")[2], options).replace("_", " ")


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


def trained(runs: Iterable[Run | None]) -> tuple[str, bool]:
    """What must be said of pictures of these runs, and whether they are at the paper's scale; blank without a run."""
    from sisr.report.tables.view import banner
    from sisr.results.cells import origin
    from sisr.results.runs import Setting

    rows = [origin(Setting((run,)), run.evaluation.parent.name) for run in runs if run is not None]
    return banner(pd.DataFrame(rows)) if rows else ("", True)
