"""The comparison: what each mechanism reaches under the same recipe, how sure that is, and what it costs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.comparison import learning_rates
from sisr.results.cells import Cell, difference, frame, level, read_columns
from sisr.results.runs import CONTROLS, Run, Setting, datasets, group, same_protocol
from sisr.utils.errors import SisrError

QUANTITIES = {"psnr": "dB", "ssim": ""}
COSTS = {
    # quantity: unit, kind of row, columns of the figure and of its interval in a file of `sisr.cost`
    "parameters": ("", "mechanism", "parameters", ()),
    "gflops": ("GFLOP", "mechanism", "gflops", ()),
    "forward_seconds": ("s", "mechanism", "seconds_median", ("seconds_low", "seconds_high")),
    "training_seconds": ("s", "mechanism", "training_seconds", ("training_low", "training_high")),
    "peak_memory_bytes": ("byte", "mechanism", "peak_memory_bytes", ()),
    "network_parameters": ("", "network", "parameters", ()),
    "network_gflops": ("GFLOP", "network", "gflops", ()),
    "network_forward_seconds": ("s", "network", "seconds_median", ("seconds_low", "seconds_high")),
    "network_training_seconds": ("s", "network", "training_seconds", ("training_low", "training_high")),
}


_COMPARED = (
    "attention", "attention_options", "name", "slots", "contrastive_weight", "contrastive_start", "redraw_every",
)  # fmt: skip


def settings(methods: Mapping[str, list[Run]]) -> dict[str, Setting]:
    """The runs of each label as one setting.

    Raises SisrError where the runs of a label differ in more than their seed, two have the same seed, or labels were
    trained at different scales.
    """
    found = {}
    for label, runs in methods.items():
        together = group(runs)
        if len(together) > 1:
            one, other = together[0].first.id, together[1].first.id
            raise SisrError(f"{label}: {one} and {other} differ in more than their seed; compare them as two methods.")
        seeds = [run.seed for run in together[0].runs]
        if len(set(seeds)) < len(seeds):
            raise SisrError(f"{label} names two runs with the seed {max(seeds, key=seeds.count)}; take one out.")
        files = {run.provenance.get("attention_sha256") for run in runs}
        if len(files) > 1:
            raise SisrError(
                f"{label}: its runs were trained with different versions of {_file(runs)}; train them again."
            )
        found[label] = together[0]
    scales = sorted({setting.first.scale for setting in found.values()})
    if len(scales) > 1:
        raise SisrError(f"a comparison is at one scale, not at {' and '.join(f'x{scale}' for scale in scales)}.")
    return found


def _file(runs: list[Run]) -> str:
    return next(str(run.provenance["attention_file"]) for run in runs if "attention_file" in run.provenance)


def build(
    methods: Mapping[str, list[Run]],
    controls: list[Run],
    reference: str,
    preset: str,
    costs: Path | None = None,
    search: Path | None = None,
) -> pd.DataFrame:
    """All cells of the comparison.

    methods: runs by label, those of a label differing in their seed only. controls: bicubic and HR, where they were
    measured. costs: a file of `python -m sisr complexity --label`. search: a file of `python -m sisr compare choose`.
    Raises SisrError with one sentence where the runs cannot be compared.
    """
    found = settings(methods)
    aside = {CONTROLS[run.control]: Setting((run,)) for run in controls if run.control}
    everything = found | aside
    same_protocol(everything.values())
    rates = _rates(found, search) if search else {}
    return frame(
        [
            *levels(everything, reference, preset, rates),
            *differences(found, reference, preset, searched=bool(rates)),
            *(_costs(list(found), costs, preset) if costs else ()),
        ]
    )


def _rates(found: Mapping[str, Setting], file: Path) -> dict[str, str]:
    """The search of each label in words. Raises SisrError where it chose other runs than those that are compared."""
    search = learning_rates.read(file)
    for label, setting in found.items():
        chosen = search.loc[(search["label"] == label) & (search["chosen"] == "yes"), "run"]
        if not set(chosen) & {run.id for run in setting.runs}:
            raise SisrError(f"{file} did not choose a run of {label} that is compared; run sisr compare choose again.")
    return learning_rates.in_words(search)


def levels(everything: Mapping[str, Setting], reference: str, preset: str, rates: Mapping[str, str]) -> Iterator[Cell]:
    """PSNR and SSIM of each row on each set. everything: mechanisms and controls. rates: searches in words."""
    for dataset in datasets(everything.values()):
        for label, setting in everything.items():
            for quantity, unit in QUANTITIES.items():
                known: dict[str, Any] = {
                    "table": "compare", "row": label, "kind": "control" if setting.first.control else "mechanism",
                    "scale": setting.first.scale, "dataset": dataset, "quantity": quantity, "unit": unit,
                    "state": "reference" if label == reference else setting.state,
                    "learning_rates": rates.get(label, ""),
                }  # fmt: skip
                if dataset not in setting.datasets:
                    yield Cell(**known, note=setting.why_not(dataset) or f"{label} was not evaluated on {dataset}")
                else:
                    yield level(known, setting, preset)


def differences(found: Mapping[str, Setting], reference: str, preset: str, searched: bool) -> Iterator[Cell]:
    """The difference of each mechanism to the reference on each set, in PSNR and SSIM."""
    base = found[reference]
    for dataset in base.datasets:
        for label, setting in found.items():
            if label == reference or dataset not in setting.datasets:
                continue
            for quantity, unit in QUANTITIES.items():
                known: dict[str, Any] = {
                    "table": "compare", "row": label, "kind": "mechanism", "scale": setting.first.scale,
                    "dataset": dataset, "quantity": f"{quantity}_difference", "unit": unit,
                    "recipe_differences": ", ".join(recipe_differences(setting.first, base.first, searched)),
                }  # fmt: skip
                yield difference(known, setting, (reference, base), found.values(), preset)


def recipe_differences(run: Run, other: Run, searched: bool = False) -> list[str]:
    """Settings of the recipe that two runs do not share; the attention and its loss are what is compared.

    searched: each has the best of the same learning rates, so that these are no difference of the recipe.
    """
    apart = []
    # a network without attention has no inserted weights
    free = {
        *_COMPARED,
        *(["learning_rate"] if searched else []),
        *([] if run.attention and other.attention else ["inserted_rate"]),
    }
    for part in ("network", "training", "data"):
        one, two = (dict(each.config.get(part, {})) for each in (run, other))
        for key in sorted(set(one) | set(two)):
            if key not in free and one.get(key) != two.get(key):
                apart.append(f"{key} {one.get(key)} and not {two.get(key)}")
    return apart


def _costs(labels: list[str], file: Path, preset: str) -> Iterator[Cell]:
    table = read_costs(file)
    for label in labels:
        for quantity, (unit, kind, _, _) in COSTS.items():
            known: dict[str, Any] = {
                "table": "compare", "row": label, "kind": "mechanism", "quantity": quantity, "unit": unit,
            }  # fmt: skip
            rows = table[(table["label"] == label) & (table["kind"] == kind)]
            if rows.empty:
                yield Cell(**known, note="its cost was not measured")
                continue
            yield cost_cell(known, largest(rows), quantity, preset)


def largest(costs: pd.DataFrame) -> "pd.Series[Any]":
    """The row of the largest feature map: the size that is stated."""
    return costs.iloc[int((costs["height"] * costs["width"]).to_numpy().argmax())]


def cost_cell(known: dict[str, Any], cost: "pd.Series[Any]", quantity: str, preset: str) -> Cell:
    """One quantity of `COSTS` from a row of a complexity file. known: the fields that identify the cell."""
    _, kind, column, ends = COSTS[quantity]
    if cost[column] != cost[column]:
        return Cell(**known, note="not measured")
    shape = f"{cost['height']}x{cost['width']}"
    note = f"one {shape} feature map of {cost['channels']} channels" if kind == "mechanism" else f"LR {shape}"
    if column == "gflops":
        note = f"{cost['gflops_convention']}; {note}"
        known = {**known, "at_least": cost["gflops_at_least"]}
    low, high = (float(cost[end]) for end in ends) if ends else (None, None)
    return Cell(
        **known, measured=float(cost[column]), low=low, high=high, interval="quartiles" if ends else "",
        note=note, hardware=f"{cost['device']} ({cost['threads']} threads)", torch=str(cost["torch"]),
        preset=preset,
    )  # fmt: skip


def read_costs(file: Path) -> pd.DataFrame:
    """Rows of a complexity file that was measured with labels. Raises SisrError where it is none."""
    needed = {"label", "kind", "height", "width", "channels", "device", "threads", "torch", "gflops_convention"}
    needed |= {column for _, _, name, ends in COSTS.values() for column in (name, *ends)}
    texts, added = {"label": str, "gflops_convention": str, "gflops_at_least": str}, {"gflops_at_least": ""}
    command, missing = "python -m sisr complexity --label …", "are no measurements of cost"
    return read_columns(file, needed, command, missing, added, dtype=texts)
