"""The learning rate of each mechanism, chosen by PSNR on validation sets, so that no result depends on a rate that was
tuned for another mechanism.

Every mechanism gets the same rates, each with one training run of the first seed. The test sets are not evaluated
before the choice, and none of their images may be in the validation sets.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.config.layout import Results
from sisr.data.overlap import shared_sets
from sisr.results.cells import read_columns, text
from sisr.results.runs import Run, Setting, datasets, load_run, same_protocol
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write

COLUMNS = (
    "label", "run", "learning_rate", "psnr", "chosen", "sets", "images", "seed", "weights_sha256", "git_commit",
)  # fmt: skip
"""Of `comparison/learning_rates.csv`, one row a candidate; `psnr`: mean over all validation images in dB."""


def choose(results: Path, candidates: Mapping[str, Sequence[str]], test: Sequence[str], data: Path) -> pd.DataFrame:
    """The table of all candidates (`COLUMNS`), in which `chosen` is `yes` for one of each label: the one with the
    highest PSNR, of equal ones the first.

    results: folder of a preset, with the per-image rows in `validation/`. candidates: ids of runs by label, which
    differ in their learning rate only. test: names of the test sets. data: folder of the prepared sets.
    Raises SisrError where the search is not fair: other rates or images for one label than for another, runs that
    differ in more than their rate, validation images that are test images.
    """
    found = {label: [load_run(results, name, validation=True) for name in names] for label, names in candidates.items()}
    runs = [run for several in found.values() for run in several]
    same_protocol(Setting((run,)) for run in runs)
    sets = datasets(Setting((run,)) for run in runs)
    _check_apart(sets, test, data)
    rates = {label: [_rate(run) for run in several] for label, several in found.items()}
    expected = next(iter(rates.values()))
    if len(set(expected)) < 2:
        raise SisrError(f"{next(iter(rates))} was trained with one learning rate, {expected[0]:g}; give two or more.")
    images = {dataset: list(runs[0].rows[dataset].index) for dataset in runs[0].files}
    for label, several in found.items():
        if sorted(rates[label]) != sorted(expected) or len(set(rates[label])) < len(rates[label]):
            raise SisrError(
                f"{label} was trained with the learning rates {_listed(rates[label])}, and {next(iter(rates))} with "
                f"{_listed(expected)}; give every mechanism the same ones, each once."
            )
        for run in several:
            if _without_rate(run) != _without_rate(several[0]):
                raise SisrError(f"{run.id} and {several[0].id} differ in more than their learning rate.")
            if {dataset: list(rows.index) for dataset, rows in run.rows.items()} != images:
                raise SisrError(
                    f"{run.id} and {runs[0].id} were not validated on the same images; validate both again."
                )
    return pd.concat([_judged(label, several, sets) for label, several in found.items()], ignore_index=True)


def finished(results: Path) -> dict[str, pd.DataFrame]:
    """All finished searches of a results folder by the id of the chosen run, as `choose` makes them.

    A search is finished where several runs that differ in their rate only were validated on the same images.
    """
    folders = sorted(path.name for path in Results(results).validations.glob("*") if path.is_dir())
    searches: dict[str, list[Run]] = {}
    for name in folders:
        run = load_run(results, name, validation=True)
        searches.setdefault(_without_rate(run), []).append(run)
    found = {}
    for several in searches.values():
        several.sort(key=_rate, reverse=True)
        if len(several) > 1 and all(run.files.keys() == several[0].files.keys() for run in several):
            table = _judged("", several, datasets([Setting((several[0],))]))
            found[str(table.loc[table["chosen"] == "yes", "run"].iloc[0])] = table
    return found


def _judged(label: str, several: Sequence[Run], sets: Sequence[str]) -> pd.DataFrame:
    """The candidates of one label as rows of the table, with the choice."""
    means = [float(pd.concat([run.rows[dataset]["psnr"] for dataset in sets]).mean()) for run in several]
    best = means.index(max(means))
    rows = [
        {
            "label": label, "run": run.id, "learning_rate": _rate(run), "psnr": mean,
            "chosen": "yes" if number == best else "no", "sets": " ".join(sets),
            "images": sum(len(run.rows[dataset]) for dataset in sets), "seed": run.seed,
            "weights_sha256": run.provenance.get("weights_sha256", ""),
            "git_commit": run.provenance.get("git_commit", ""),
        }
        for number, (run, mean) in enumerate(zip(several, means, strict=True))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write(table: pd.DataFrame, path: Path) -> None:
    """Write the table of a search."""
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False)


def read(path: Path) -> pd.DataFrame:
    """The table of a search. Raises SisrError where there is none."""
    texts = dict.fromkeys(("label", "run", "chosen", "sets", "weights_sha256", "git_commit"), str)
    return read_columns(path, COLUMNS, "python -m sisr compare choose", dtype=texts, keep_default_na=False)


def in_words(search: pd.DataFrame) -> dict[str, str]:
    """The search of each label in one line, the chosen rate first, as cells have it in `learning_rates`:
    `0.001 (31.94 dB), not 0.0003 (31.90 dB): PSNR of seed 0 on T91, 91 images`."""
    words = {}
    for label, part in search.groupby("label", sort=False):
        chosen, others = (
            [_candidate(row) for _, row in part[part["chosen"] == word].iterrows()] for word in ("yes", "no")
        )
        first = part.iloc[0]
        words[str(label)] = (
            f"{chosen[0]}, not {' or '.join(others)}: PSNR of seed {first['seed']} on "
            f"{first['sets'].replace(' ', ' and ')}, {first['images']} {'image' if first['images'] == 1 else 'images'}"
        )
    return words


def chosen_rate(words: str) -> str:
    """The chosen rate in what `in_words` wrote; blank for blank."""
    return words.partition(" ")[0]


def _candidate(row: "pd.Series[Any]") -> str:
    return f"{row['learning_rate']:g} ({text(row['psnr'], 3)} dB)"


def _check_apart(sets: Sequence[str], test: Sequence[str], data: Path) -> None:
    if both := [name for name in sets if name in test]:
        raise SisrError(f"{both[0]} is a test set; choose the learning rates on other sets.")
    for (one, other), images in shared_sets(sets, test, data).items():
        raise SisrError(
            f"the validation set {one} contains {len(images)} of the images of the test set {other} ({images[0]}); "
            "choose the learning rates on other sets."
        )


def _rate(run: Run) -> float:
    return float(run.config["training"]["learning_rate"])


def _without_rate(run: Run) -> str:
    training = {key: value for key, value in run.config["training"].items() if key != "learning_rate"}
    return json.dumps({**run.config, "training": training}, sort_keys=True)


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
