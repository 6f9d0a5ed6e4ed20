"""The paper's claims, each judged by what was measured: it holds, it does not hold, or it is inconclusive.

A claim is that one setting has a higher PSNR than others. Each comparison is a difference with its interval and verdict
(`sisr.results.significance`); the p-values of all claims together are corrected for their number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

import pandas as pd

from sisr.config.layout import Results
from sisr.report.tables import MODULES, table4
from sisr.results import cells, power, published, runs, significance
from sisr.results.cells import ratio_bound, span, text
from sisr.results.runs import Setting
from sisr.results.significance import BETTER, INCONCLUSIVE, LEVEL, WORSE, Estimate
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write

HOLDS, FAILS = "holds", "does not hold"


@dataclass(frozen=True)
class Claim:
    """That `better` is above each of `others`, rows of one table."""

    name: str
    text: str
    table: str
    better: str
    others: tuple[str, ...] = ()
    """Blank: every other row of the table."""


CLAIMS = (
    Claim("ENLA", "ENLA (k = 1) is above the backbone without attention", "table2", "ENLA", ("baseline",)),
    Claim("amplification", "amplification improves ENLA", "table2", "ENLA + amplification", ("ENLA",)),
    Claim("contrastive loss", "the contrastive loss improves it further", "table2", "ENLCA", ("ENLA + amplification",)),
    Claim("ENLCA", "ENLCA is above the backbone without attention", "table2", "ENLCA", ("baseline",)),
    Claim("k", "of all amplification factors, k = 6 is the best", "k_sweep", "k = 6"),
    Claim("over NLA", "ENLCA (m = 128) is above exact non-local attention", "table4", "ENLCA-m128", ("NLA",)),
    Claim("over NLSA", "ENLCA (m = 128) is above sparse attention", "table4", "ENLCA-m128", ("NLSA-r4",)),
    Claim("ENLCN over EDSR", "ENLCN is above EDSR", "table1", "ENLCN", ("EDSR",)),
    Claim("ENLCN over NLSN", "ENLCN is above NLSN", "table1", "ENLCN", ("NLSN",)),
)


@dataclass(frozen=True)
class _Test:
    claim: Claim
    scale: int
    dataset: str
    better: Setting
    other: Setting
    against: str
    estimate: Estimate
    table: list[Setting]
    """All settings of the table that were evaluated on the same set at the same scale."""

    def verdict(self, p_corrected: float) -> str:
        """The verdict on the difference."""
        return significance.verdict(self.estimate.low, self.estimate.high, p_corrected)


def judge(results: Path) -> pd.DataFrame:
    """Every claim on every scale and data set that was measured, one row each (`_row` has the columns).

    results: folder of a preset, with its tables; the runs that they name are judged.
    Raises SisrError where there is no table, or no table has two settings that a claim is about.
    """
    there = [name for name in MODULES if Results(results).table(name).is_file()]
    if not there:
        raise SisrError(f"there are no tables in {results}/tables; make one with python -m sisr tables table2.")
    tests = [test for name in there for test in _tests(name, results)]
    if not tests:
        raise SisrError(f"the tables in {results}/tables hold no two settings that a claim of the paper compares.")
    p = significance.corrected([test.estimate.p for test in tests])
    # the strictest level of the correction, which a difference that is alone among them has to reach
    level = LEVEL / max(1, sum(value == value for value in p))
    spreads = {
        (scale, dataset): _spread([test for test in tests if (test.scale, test.dataset) == (scale, dataset)])
        for scale, dataset in {(test.scale, test.dataset) for test in tests}
    }
    groups: dict[tuple[int, int, str], list[tuple[_Test, float]]] = {}
    for test, value in zip(tests, p, strict=True):
        groups.setdefault((CLAIMS.index(test.claim), test.scale, test.dataset), []).append((test, value))
    order = sorted(groups, key=lambda key: key[:2])
    return pd.DataFrame([_row(groups[key], spreads[key[1:]], level) for key in order])


def _tests(table: str, results: Path) -> Iterator[_Test]:
    # of a table only the names of its runs are read, so that one of an earlier version serves as well
    listed = pd.read_csv(Results(results).table(table), usecols=["runs"], dtype=str)["runs"].dropna()
    ids = " ".join(listed).split()
    trained = [name for name in dict.fromkeys(ids) if Results(results).run(name).is_dir()]
    settings = runs.by_row(runs.group(runs.load(results, trained or None)), MODULES[table].row)
    for claim in (claim for claim in CLAIMS if claim.table == table):
        for scale in sorted({scale for _, scale in settings}):
            better = settings.get((claim.better, scale))
            names = claim.others or [n for n, at in settings if at == scale and n != claim.better]
            for name in names:
                other = settings.get((name, scale))
                if better is None or other is None:
                    continue
                for dataset in [name for name in runs.datasets([better]) if name in other.datasets]:
                    together = [s for (_, at), s in settings.items() if at == scale and dataset in s.datasets]
                    estimate = cells.compare(better, other, together, dataset)
                    yield _Test(claim, scale, dataset, better, other, name, estimate, together)


def _spread(tests: list[_Test]) -> power.Spread:
    """Of one set at one scale, from all tables that have claims on it."""
    # of a setting that two tables have, the one with more seeds
    by_seeds = sorted((setting for test in tests for setting in test.table), key=lambda setting: len(setting.runs))
    settings = {setting.first.setting: setting for setting in by_seeds}
    dataset = tests[0].dataset
    pool = [setting.sample(dataset, "psnr") for setting in settings.values()]
    apart = [
        test.better.sample(dataset, "psnr").values.mean(axis=0) - test.other.sample(dataset, "psnr").values.mean(axis=0)
        for test in tests
    ]
    return power.spread(pool, apart, len(apart[0]))


def _row(group: list[tuple[_Test, float]], spread: power.Spread, level: float) -> dict[str, Any]:
    """One claim on one set; where it is about several others, the one that comes nearest decides."""
    judged = [(test.verdict(p), test, p) for test, p in group]
    worse = [one for one in judged if one[0].startswith(WORSE)]
    word, test, p = min(worse or judged, key=lambda one: one[1].estimate.value)
    holds = all(one[0].startswith(BETTER) for one in judged)
    verdict = FAILS if worse else HOLDS if holds else INCONCLUSIVE
    estimate, paper = test.estimate, _paper(test)
    return {
        "claim": test.claim.name,
        "text": test.claim.text,
        "scale": test.scale,
        "dataset": test.dataset,
        "verdict": verdict,
        "why": _why(verdict, judged, test),
        "against": test.against,
        "difference": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "p": estimate.p,
        "p_corrected": p,
        "difference_verdict": word,
        "paper": paper,
        "images": spread.count,
        "seeds": estimate.seeds,
        "spread_of_seeds": spread.seeds,
        "settings": spread.settings,
        "spread_of_images": spread.images,
        "level": level,
        "seeds_needed": power.seeds_needed(estimate.value, spread, level),
        "seeds_needed_for_paper": nan if paper is None else power.seeds_needed(paper, spread, level),
        "smallest_difference": power.smallest_effect(estimate.seeds, spread, level),
        "runs": " ".join(run.id for run in test.better.runs),
        "against_runs": " ".join(run.id for run in test.other.runs),
    }


def _why(verdict: str, judged: list[tuple[str, _Test, float]], test: _Test) -> str:
    if len(judged) == 1:
        word = judged[0][0]
        return test.estimate.note or (word if (verdict == INCONCLUSIVE and word != verdict) or " by " in word else "")
    groups: dict[str, list[str]] = {}
    for word, one, _ in judged:
        groups.setdefault({BETTER: "above", WORSE: "below"}.get(word.split()[0], word), []).append(one.against)
    parts = [
        f"{word}{'' if word in ('above', 'below') else ' against'} {', '.join(names)}"
        for word, names in sorted(groups.items())
    ]
    top = min((one for _, one, _ in judged), key=lambda one: one.estimate.value)
    if top.estimate.value < 0:
        parts.append(f"the highest mean is at {top.against}")
    return "; ".join(parts)


def _paper(test: _Test) -> float | None:
    """The paper's difference in dB, where it is known."""
    if test.claim.table == "table1":
        rows = (test.claim.better, test.against)
        one, two = (published.table1_figure(row, test.scale, test.dataset, "psnr").value for row in rows)
        return None if one is None or two is None else round(one - two, 4)
    if test.claim.table == "table2" and test.against == "baseline":
        return published.figure("table2", test.claim.better, "psnr_difference").value
    return None


def write(table: pd.DataFrame, results: Path) -> list[Path]:
    """Write `tables/claims.csv` and `.md`."""
    paths = [Results(results).table("claims", ending) for ending in ("csv", "md")]
    cells.write(table, paths[0])
    with atomic_write(paths[1]) as temporary:
        temporary.write_text("\n".join(lines(table, results)) + "\n", encoding="utf-8")
    return paths


def lines(table: pd.DataFrame, results: Path) -> list[str]:
    """The verdicts as Markdown."""
    text_lines = [f"# The paper's claims in the results of `{results.name}`", ""]
    for name in dict.fromkeys(table["claim"]):
        rows = table[table["claim"] == name]
        text_lines += [f"**{rows['text'].iloc[0][0].upper()}{rows['text'].iloc[0][1:]}**: {_counts(rows)}.", ""]
        text_lines += [f"- {sentence(row)}" for _, row in rows.iterrows()] + [""]
    return text_lines + _costs(results) + _seeds(table)


def _counts(rows: pd.DataFrame) -> str:
    counts = rows["verdict"].value_counts()
    total = len(rows)
    return ", ".join(f"{word} on {counts[word]} of {total}" for word in (HOLDS, FAILS, INCONCLUSIVE) if word in counts)


def sentence(row: Any) -> str:
    """One row of `judge` in words."""
    gain = f"{text(row['difference'], 3, True)} dB {span(row['low'], row['high'], 3, True)}".strip()
    known = row["paper"] is not None and isfinite(row["paper"])
    paper = f", the paper {text(row['paper'], 2, True)} dB" if known else ""
    against = f" over {row['against']}" if row["against"] else ""
    words = f"{row['dataset']} x{row['scale']}: {row['verdict']}; {gain}{against}{paper}, {row['images']} images, "
    words += f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
    return words + (f" ({row['why']})" if row["why"] else "") + "."


def _costs(results: Path) -> list[str]:
    """What ENLCA costs beside the others, where that was measured."""
    file = Results(results).complexity()
    if not file.is_file():
        return []
    measured = table4.read_complexity(file)
    ours = measured.get("ENLCA-m128")
    items = []
    for name in ("NLA", "NLSA-r4", "convolution"):
        other = measured.get(name)
        if ours is None or other is None:
            continue
        bound = ratio_bound(ours["core_at_least"], other["core_at_least"])
        parts = [
            f"{words}{float(ours[column]) / float(other[column]):.3g} times the {word}"
            for column, word, words in (("core_gmacs", "operations", bound), ("seconds_median", "time", ""))
            if words is not None and float(other[column] or nan) > 0
        ]
        items.append(f"- against {name}: {', '.join(parts)} ({ours['device']}, {ours['height']}x{ours['width']}).")
    return ["**ENLCA (m = 128) costs a fraction of the others**:", "", *items, ""] if items else []


def _seeds(table: pd.DataFrame) -> list[str]:
    """How many seeds a difference of some sizes needs."""
    level = table["level"].iloc[0]
    items = [
        "**Seeds that a difference needs** to be significant in 80 of 100 cases, with the same seeds on both sides and "
        f"after correction (p below {level:.2g}):",
        "",
    ]
    for (scale, dataset), rows in table.groupby(["scale", "dataset"], sort=False):
        row = rows.iloc[0]
        spread = power.Spread(row["spread_of_seeds"], int(row["settings"]), row["spread_of_images"], int(row["images"]))
        if not isfinite(spread.seeds):
            items.append(
                f"- {dataset} x{scale}: not known, since no two networks were trained with the same two seeds."
            )
            continue
        needed = [f"{effect} dB: {_number(effect, spread, level)}" for effect in (0.02, 0.05, 0.1, 0.2)]
        here = row["smallest_difference"]
        now = f"; the {row['seeds']} seeds here tell {here:.3f} dB" if isfinite(here) else ""
        items.append(
            f"- {dataset} x{scale}: {', '.join(needed)}{now} (spread between seeds {spread.seeds:.3f} dB, "
            f"between images {spread.images:.3f} dB over {spread.count})."
        )
    return items


def _number(effect: float, spread: power.Spread, level: float) -> str:
    seeds = power.seeds_needed(effect, spread, level)
    if isfinite(seeds):
        return f"{seeds:.0f} seeds"
    if power.enough_images(effect, spread, level):
        return f"more than {power.MOST:,} seeds"
    return "no number of seeds: too few images"
