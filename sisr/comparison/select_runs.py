"""From finished runs to the table of a comparison: which runs are compared, under which labels."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from sisr.comparison import table
from sisr.config.declared import paper
from sisr.config.layout import Results
from sisr.config.schema import nearest
from sisr.results.runs import Run, Setting, group, load
from sisr.utils.errors import UsageError

Methods = dict[str, list[Run]]


def compare_runs(
    results: Path,
    method: Sequence[str] | None = None,
    runs: Sequence[str] | None = None,
    reference: str | None = None,
    costs: Path | None = None,
    search: Path | None = None,
) -> pd.DataFrame:
    """The tidy table of a comparison.

    results: folder of a preset. method: `LABEL=RUN[,RUN…]` words; or runs: ids, all that were evaluated where neither
    is given. reference: label that the others are compared with; `enlca`, or the first, where None.
    costs: file of `python -m sisr complexity --label`. search: file of `python -m sisr compare choose`.
    Raises UsageError for a wrong call and SisrError where something is missing or does not fit together.
    """
    if method and runs:
        raise UsageError("give the runs by --method or by --runs, not by both.")
    names = parse(method) if method else named(results, runs)
    if reference is not None and reference not in names:
        raise UsageError(f"the reference {reference!r} is not in the comparison; {nearest(reference, list(names))}")
    found, controls = read(results, names)
    chosen = reference or next((name for name in names if name == paper()["MECHANISM"]), next(iter(names)))
    return table.build(found, controls, chosen, results.name, costs, search)


def parse(words: Sequence[str], option: str = "--method") -> dict[str, list[str]]:
    """`LABEL=RUN[,RUN…]` words of an option as runs by label.

    Raises UsageError for any other word, a repeated label, and fewer than two labels.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        # options in a label have = signs, too, and a run has none
        label, equals, runs = word.rpartition("=")
        names = [name for name in runs.split(",") if name]
        if not equals or not label or not names:
            raise UsageError(f"{word!r} is not LABEL=RUN[,RUN…]; for example enlca=enlcn-x4-k6-m128-s0-1f3a9c2e.")
        if label in found:
            raise UsageError(f"two methods are called {label!r}; put all runs of one behind one label, or rename.")
        found[label] = names
    if len(found) < 2:
        raise UsageError(f"a comparison needs at least two methods; give {option} LABEL=RUN[,RUN…] twice or more.")
    return found


def read(results: Path, names: dict[str, list[str]]) -> tuple[Methods, list[Run]]:
    """Runs by label, and the controls of their scale (bicubic, HR) where they were measured.

    results: folder of a preset. names: ids of runs in it, or paths of run folders elsewhere (`…/runs/<id>`).
    Raises SisrError where a run or its evaluation is missing.
    """
    methods: Methods = {}
    controls: dict[str, Run] = {}
    for label, runs in names.items():
        for name in runs:
            folder = Path(name)
            # a path says which results folder the run stands in
            place, id_ = (Results.of(folder).root, folder.name) if len(folder.parts) > 1 else (results, name)
            for run in load(place, [id_], weights=True):
                if run.id == id_:
                    methods.setdefault(label, []).append(run)
                elif run.control:
                    controls.setdefault(run.id, run)
    return methods, list(controls.values())


def named(results: Path, ids: Sequence[str] | None) -> dict[str, list[str]]:
    """Labels for runs that have none: the attention, with the options that tell two settings of it apart.

    ids: runs to compare, all that were evaluated where None. Raises UsageError where there are fewer than two settings,
    or two that no option tells apart.
    """
    settings = [setting for setting in group(load(results, ids)) if not setting.first.control]
    found: dict[str, list[str]] = {}
    for label, setting in labelled(settings):
        if label in found:
            one, other = found[label][0], setting.first.id
            raise UsageError(f"{one} and {other} would both be called {label!r}; name them with --method LABEL=RUN.")
        found[label] = [run.id for run in setting.runs]
    if len(found) < 2:
        raise UsageError("a comparison needs at least two mechanisms, and these runs have one; name more with --runs.")
    return found


def labelled(settings: Sequence[Setting]) -> Iterator[tuple[str, Setting]]:
    """Settings of trained networks with their labels: the attention, with the options in which those of it differ."""
    for setting in settings:
        name = _name(setting.first)
        same = [other.first for other in settings if _name(other.first) == name]
        options = {
            key: value
            for key, value in setting.first.options.items()
            if any(other.options.get(key) != value for other in same)
        }
        chosen = [
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in options.items()
        ]
        yield " ".join([name, *chosen]), setting


def _name(run: Run) -> str:
    return (run.attention or "none").rpartition(":")[2]
