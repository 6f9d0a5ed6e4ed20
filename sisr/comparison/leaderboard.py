"""The leaderboard of a preset: the mechanisms of all its finished runs, each compared with ENLCA on equal terms.

Rows on the same terms share scale, network, recipe, data and learning rate, or the rates that were tried for each. Only
their attention and its loss differ.
"""

import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sisr.comparison import learning_rates, select_runs, table
from sisr.config import comparison, declared, mechanisms, presets, settings
from sisr.config.layout import REPOSITORY, Results
from sisr.config.recipes import attention_options
from sisr.config.run import Run as Configuration
from sisr.results.cells import Cell, frame
from sisr.results.pareto import front
from sisr.results.runs import CONTROLS, Run, Setting, group, load, same_protocol, training
from sisr.utils.errors import SisrError

NAME = "leaderboard"
"""Name of the table and of its files."""
BY_SIZE = ("forward_seconds", "training_seconds", "peak_memory_bytes")
"""Quantities that are shown at every size, as `forward_seconds 100x100`."""
_ONE_SIZE = ("parameters", "gflops")
_COMPARED = ("attention", "attention_options", "slots", "contrastive_weight", "contrastive_start", "redraw_every")
_NOT_MEASURED = "its cost was not measured"


@dataclass(frozen=True)
class Terms:
    """Settings that may be compared."""

    title: str
    settings: dict[str, Setting]
    """By label."""
    searches: dict[str, pd.DataFrame]
    """The search over learning rates of each label (`sisr.comparison.learning_rates`); empty without a search."""

    @property
    def reference(self) -> str:
        """Label of ENLCA, of several settings the one with most of the recipe's options; blank where there is none."""
        paper = declared.paper()["MECHANISM"]
        found = {label: each.first for label, each in self.settings.items() if each.first.attention == paper}
        return max(found, key=lambda label: _of_recipe(found[label]), default="")


def _of_recipe(run: Run) -> int:
    """Number of options that are those of the recipe."""
    expected = attention_options(run.config["training"]["recipe"], str(run.attention))
    return sum(run.options.get(name) == value for name, value in expected.items())


def find(results: Path) -> list[Terms]:
    """All finished runs of a results folder that have another one to be compared with, by their terms.

    Raises SisrError where there are none.
    """
    found = [setting for setting in group(load(results)) if setting.first.config]
    searches = learning_rates.finished(results)
    plain: dict[str, list[Setting]] = {}
    searched: dict[str, list[tuple[Setting, pd.DataFrame]]] = {}
    for setting in found:
        plain.setdefault(_terms(setting.first), []).append(setting)
        for run in setting.runs:
            if run.id in searches:
                search = searches[run.id]
                rates = json.dumps(sorted(search["learning_rate"])) + str(search["sets"].iloc[0])
                key = _terms(setting.first, searched=True) + rates
                searched.setdefault(key, []).append((setting, search))
    chosen = {setting.first.id for several in searched.values() for setting, _ in several}
    terms = [_labelled(several, {}) for several in plain.values() if not {s.first.id for s in several} <= chosen]
    terms += [
        _labelled([setting for setting, _ in several], {setting.first.id: search for setting, search in several})
        for several in searched.values()
    ]
    terms = [each for each in terms if len(each.settings) > 1]
    if not terms:
        raise SisrError(
            f"{results} holds no two mechanisms that were trained and evaluated by the same recipe; compare some "
            "first: snakemake --cores 8 leaderboard --config 'attention=[enlca, none]'."
        )
    return _titled(sorted(terms, key=lambda each: (each.title, -len(each.settings))))


def _terms(run: Run, searched: bool = False) -> str:
    """Everything that was set, but the mechanism and the seed. searched: without the learning rate, too."""
    network = {key: value for key, value in run.config["network"].items() if key not in _COMPARED}
    # a network without attention has no inserted weights
    free = {*_COMPARED, "inserted_rate", *(["learning_rate"] if searched else [])}
    settings = {key: value for key, value in run.config["training"].items() if key not in free}
    parts = {"network": {**network, "name": _backbone(run)}, "training": settings, "data": run.config["data"]}
    return json.dumps(parts, sort_keys=True)


def _backbone(run: Run) -> str:
    """The network without its attention."""
    name = str(run.config["network"]["name"])
    return name if declared.own_architecture(name) else str(declared.paper()["BACKBONE"])


def _mean(setting: Setting, sets: Collection[str]) -> float:
    """PSNR over some sets, each with the same weight."""
    means = [setting.sample(dataset, "psnr").values.mean() for dataset in sets]
    return float(sum(means) / len(means)) if means else -inf


def _labelled(several: Sequence[Setting], searches: dict[str, pd.DataFrame]) -> Terms:
    by_label: dict[str, Setting] = {}
    shared = set.intersection(*(set(setting.datasets) for setting in several))
    ranked = sorted(several, key=lambda setting: _mean(setting, shared), reverse=True)
    for label, setting in select_runs.labelled(ranked):
        # the same mechanism with another loss or in other slots
        by_label[f"{label} ({setting.first.id.rpartition('-')[2]})" if label in by_label else label] = setting
    first = several[0].first
    title = f"x{first.scale}, {_backbone(first)}"
    found = {label: searches[each.first.id] for label, each in by_label.items() if searches}
    return Terms(f"{title}, learning rate chosen for each" if searches else title, by_label, found)


def _titled(terms: Sequence[Terms]) -> list[Terms]:
    """The same with titles that differ."""
    seen: dict[str, int] = {}
    titled = []
    for each in terms:
        title = each.title
        if sum(other.title == title for other in terms) > 1:
            run = next(iter(each.settings.values())).first
            title += f": {training(run)}" + ("" if each.searches else f", learning rate {_rate(run):g}")
        seen[title] = seen.get(title, 0) + 1
        titled.append(replace(each, title=f"{title} ({seen[title]})" if seen[title] > 1 else title))
    return titled


def _rate(run: Run) -> float:
    return float(run.config["training"]["learning_rate"])


def build(results: Path, costs: Path | None = None) -> pd.DataFrame:
    """The tidy table, one row a cell (`sisr.results.cells.Cell`), the terms in `terms`.

    results: folder of a preset. costs: file of `python -m sisr leaderboard cost` (default: that of the results, if
    there is one). Raises SisrError with one sentence where there is nothing to compare.
    """
    found, preset = find(results), results.name
    controls = load(results)
    file = costs or Results(results).leaderboard_cost
    measured = table.read_costs(file) if costs or file.is_file() else None
    cells: list[Cell] = []
    for terms in found:
        scale = next(iter(terms.settings.values())).first.scale
        aside = {CONTROLS[run.control]: Setting((run,)) for run in controls if run.control and run.scale == scale}
        rows = terms.settings | aside
        same_protocol(rows.values())
        rates = {label: learning_rates.in_words(search)[""] for label, search in terms.searches.items()}
        part = [*table.levels(rows, terms.reference, preset, rates)]
        if terms.reference:
            part += table.differences(terms.settings, terms.reference, preset, searched=bool(rates))
        for label, setting in terms.settings.items():
            part += _costs(label, setting.first, measured, preset)
            part += _where(label, setting, terms, results)
        cells += [replace(cell, table=NAME, terms=terms.title) for cell in [*part, *_pareto(part)]]
    return frame(cells)


def _costs(label: str, run: Run, measured: pd.DataFrame | None, preset: str) -> Iterator[Cell]:
    known: dict[str, Any] = {"table": NAME, "row": label, "kind": "mechanism"}
    rows = None
    if measured is not None:
        rows = measured[(measured["label"] == spec(run)) & (measured["kind"] == "mechanism")]
        rows = rows.assign(area=rows["height"] * rows["width"]).sort_values("area", kind="stable")
    if rows is None or rows.empty:
        for quantity in (*_ONE_SIZE, *BY_SIZE):
            yield Cell(**known, quantity=quantity, unit=table.COSTS[quantity][0], note=_NOT_MEASURED)
        return
    for quantity in _ONE_SIZE:
        cell = {**known, "quantity": quantity, "unit": table.COSTS[quantity][0]}
        yield table.cost_cell(cell, table.largest(rows), quantity, preset)
    for quantity in BY_SIZE:
        for _, row in rows.iterrows():
            cell = {**known, "quantity": f"{quantity} {row['height']}x{row['width']}", "unit": table.COSTS[quantity][0]}
            yield table.cost_cell(cell, row, quantity, preset)


def _pareto(cells: Sequence[Cell]) -> Iterator[Cell]:
    """For each mechanism on each set, the costs for which no other one has a higher PSNR at the same cost or less.

    An incomplete number of operations is on no front.
    """
    prices: dict[str, dict[str, float]] = {"operations": {}, "time": {}}
    for cell in cells:
        if isinstance(cell.measured, float) and not cell.at_least:
            if cell.quantity == "gflops":
                prices["operations"][cell.row] = cell.measured
            elif cell.quantity.startswith("forward_seconds "):
                prices["time"][cell.row] = cell.measured  # the last one: at the largest size
    for dataset in dict.fromkeys(cell.dataset for cell in cells if cell.dataset):
        values = {
            cell.row: cell.measured
            for cell in cells
            if (cell.kind, cell.quantity, cell.dataset) == ("mechanism", "psnr", dataset)
            and isinstance(cell.measured, float)
        }
        points = {
            name: {row: (price, values[row]) for row, price in by_row.items() if row in values}
            for name, by_row in prices.items()
        }
        best = {name: front(by_row.values()) for name, by_row in points.items()}
        for row in values:
            if names := [name for name, by_row in points.items() if by_row.get(row) in best[name]]:
                words = " and ".join(names)
                yield Cell(
                    table=NAME, row=row, kind="mechanism", dataset=dataset, quantity="pareto", unit="", measured=words
                )


def _where(label: str, setting: Setting, terms: Terms, results: Path) -> Iterator[Cell]:
    """The file of a mechanism (of the network, where there is none), and the command that makes its row."""
    run = setting.first
    known = declared.mechanisms().get(str(run.attention)) if run.attention else declared.networks().get(_backbone(run))
    file = known.file.relative_to(REPOSITORY).as_posix() if known else run.provenance.get("attention_file", "")
    command = _command(label, setting, terms, results) or run.provenance.get("command", "")
    for quantity, words in (("file", file), ("command", command)):
        yield Cell(table=NAME, row=label, kind="mechanism", quantity=quantity, unit="", measured=words)


def _command(label: str, setting: Setting, terms: Terms, results: Path) -> str:
    """The command of the workflow that trains the runs of a row and compares them; blank where the preset is not there,
    or has other settings now."""
    file = REPOSITORY / "config" / f"{results.name}.yaml"
    file = file if file.is_file() else Results(results).preset
    try:
        preset = settings.read(file)
        changes = _changes(label, setting, terms, preset)
        planned = presets.plan(_merged(preset, changes), REPOSITORY)
    except SisrError:
        return ""
    compared = planned.comparison.runs.values() if planned.comparison else ()
    if not {run.id for run in setting.runs} <= {run.id for runs in compared for run in runs}:
        return ""
    shown = file.relative_to(REPOSITORY) if file.is_relative_to(REPOSITORY) else file
    flow = {
        key: yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
        for key, value in changes.items()
    }
    words = [shlex.quote(f"{key}={value.strip()}") for key, value in flow.items()]
    return f"snakemake --cores 2 leaderboard --configfile {shlex.quote(shown.as_posix())} --config {' '.join(words)}"


def _changes(label: str, setting: Setting, terms: Terms, preset: dict[str, Any]) -> dict[str, Any]:
    """What a preset needs to compare the runs of a row with ENLCA."""
    run, paper = setting.first, declared.paper()["MECHANISM"]
    name = run.attention or "none"
    usual = attention_options(preset["recipe"], name) | preset.get("attention_options", {}).get(name, {})
    options = {key: value for key, value in run.options.items() if usual.get(key) != value}
    mine = {"name": name, **options} if options else name
    changes: dict[str, Any] = {"attention": [paper, "none"] if mine == paper else [paper, mine]}
    compare: dict[str, Any] = {}
    if (backbone := _backbone(run)) != declared.paper()["BACKBONE"]:
        compare["backbone"] = backbone
        # a network without attention has no slots: those of the mechanisms that it is compared with
        networks = [each.first.config["network"] for each in (setting, *terms.settings.values())]
        slots = next((network["slots"] for network in networks if network.get("slots")), None)
        inner = {**networks[0].get("network_options", {}), **({"slots": slots} if slots else {})}
        if inner != preset.get("network_options", {}).get(backbone, {}):
            changes["network_options"] = {backbone: inner}
    if run.scale != preset["table4"]["scale"]:
        compare["scale"] = run.scale
    if (seeds := [each.seed for each in setting.runs]) != preset["seeds"]:
        compare["seeds"] = seeds
    if label in terms.searches:
        search = terms.searches[label]
        compare["learning_rates"] = [float(rate) for rate in search["learning_rate"]]
        validate = str(search["sets"].iloc[0]).split()
        if validate != preset["data"].get("validate"):
            changes["data"] = {"validate": validate}
    elif (rate := _rate(run)) != preset["training"].get("learning_rate"):
        changes["training"] = {"learning_rate": rate}
    return changes | ({"compare": compare} if compare else {})


def _merged(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A configuration with changes, as `snakemake --config` makes it."""
    both = {**config, **changes}
    inner = {
        key: _merged(config[key], value)
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(config.get(key), dict)
    }
    return both | inner


def specs(results: Path) -> list[str]:
    """The mechanisms of the leaderboard as `python -m sisr complexity` takes them; custom ones whose file is not there
    are left out."""
    runs = [setting.first for terms in find(results) for setting in terms.settings.values()]
    there = [run for run in runs if not (file := mechanisms.source(run.attention)) or file.is_file()]
    return list(dict.fromkeys(map(spec, there)))


def spec(run: Run) -> str:
    """The mechanism of a run as `python -m sisr complexity` takes it."""
    return comparison.sorted_spec(Configuration.from_dict(run.config))
