"""The checks as a page of documentation, in Markdown."""

from collections.abc import Sequence
from math import ceil, log10
from typing import Any

from sisr.evaluation.reference_checks import GROUPS
from sisr.evaluation.reference_checks.check import Check
from sisr.evaluation.reference_checks.networks import CLOSE, Beside

_HEAD = """# The measuring chain against figures from outside

Made by `python -m sisr checks`. Every figure under “measured” was computed by that command; nothing in the tables was
typed in. A figure that does not hold makes the command fail.

{summary}

## What was checked with what

The images, weights and figures are third parties' and no part of this repository. They lie in one folder, which the
command is told by `--reference`:

| in the folder | what | from |
|---|---|---|
{files}

The expected figures and their sources are in `results/published/checks.csv`.
"""
_FILES = (
    ("benchmarks/<set>/HR, LR_bicubic/X2, X4", "Set5, Set14, B100, Urban100", "addresses in `data/datasets.yaml`"),
    ("checks/matlab_bicubic.csv", "PSNR and SSIM of bicubic, image by image, from MATLAB", "Huang et al., CVPR 2015"),
    ("checks/older_matlab_border/<set>/X2, X4", "LR with an older MATLAB's border", "Huang et al., CVPR 2015"),
    ("checks/rcan_set5/x2, x4", "SR images of Set5 and their HR", "authors of RCAN (Zhang et al., ECCV 2018)"),
    ("weights/LapSRN_x<scale>_matconvnet_layout.npz", "weights as arrays", "its authors (Lai et al., CVPR 2017)"),
    (
        "weights/SRMDNF_x<scale>.npz",
        "weights and degradation values, half precision",
        "its authors (Zhang et al., CVPR 2018)",
    ),
    ("weights/VDSR_twtygqyy.npz", "weights, retrained by others", "a public PyTorch port"),
)


def markdown(found: dict[str, list[Check]], rows: Sequence[Beside], made: dict[str, Any]) -> str:
    """The page. found: checks by group; rows: the published rows measured; made: `sisr.utils.provenance.provenance`."""
    checks = [check for group in found.values() for check in group]
    held = sum(check.holds is True for check in checks)
    failed = sum(check.holds is False for check in checks)
    absent = len(checks) - held - failed
    summary = f"**{held} of {len(checks)} checks hold, {failed} do not, {absent} were not done.**\n\n{_made(made)}"
    files = "\n".join(f"| `{place}` | {what} | {whose} |" for place, what, whose in _FILES)
    parts = [_HEAD.format(summary=summary, files=files)]
    for name, group in found.items():
        parts.append(f"## {GROUPS[name][0]}\n\n{_table(group)}")
    if rows:
        parts.append(_beside(rows))
    return "\n".join(parts)


def _made(made: dict[str, Any]) -> str:
    commit = made["git_commit"] or "unknown"
    state = "" if made["git_clean"] is not False else ", with uncommitted changes"
    threads = f"{made['threads']} thread{'s' if made['threads'] > 1 else ''}"
    return (
        f"Commit `{commit}`{state}; {made['device']}, {threads}; Python {made['python']}, torch {made['torch']}; "
        f"{made['finished']}."
    )


def _table(checks: Sequence[Check]) -> str:
    lines = [
        "| check | source | expected | measured | deviation | bound | holds |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for check in checks:
        note = f" ({check.note})" if check.note else ""
        holds = {True: "yes", False: "**no**", None: "not done"}[check.holds]
        unit = f" {check.unit}" if check.unit else ""
        cells = [
            f"{check.what}{note}",
            check.source,
            f"{check.expected:.{check.digits}f}{unit}",
            _measured(check),
            "" if check.deviation is None else _signed(check.deviation),
            f"{check.bound:g}",
            holds,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _measured(check: Check) -> str:
    """With two decimals more than the bound has."""
    if check.measured is None:
        return ""
    if check.bound == 0:
        return f"{check.measured:,.0f}"
    digits = ceil(-log10(check.bound)) + 1
    return (
        f"{check.measured:.1e}".replace("-", "−")
        if check.expected == 0 and check.measured
        else f"{check.measured:.{digits}f}"
    )


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+.1g}".replace("-", "−")


def _beside(rows: Sequence[Beside]) -> str:
    head = (
        "method", "set", "printed", "measured", "difference", "LR not rounded", "LR not rounded, Y rounded",
        "LR not rounded, grey as RGB",
    )  # fmt: skip
    lines = [
        "## Table 1's rows, printed and measured\n",
        "PSNR in dB. Printed: the paper's Table 1. Measured: as every row of this suite's Table 1, by protocol P1 from "
        "the set's LR of 8 bits, greyscale as it is. Beside it other ways, in which authors may have measured.\n",
        f"| {' | '.join(head)} |",
        f"|---|---{'|---:' * 6}|",
    ]
    for row in rows:
        cells = [
            row.method,
            f"{row.dataset} x{row.scale}",
            f"{row.printed:.2f}",
            f"{row.measured:.3f}",
            _decibel(row.difference),
            f"{row.unrounded:.3f}",
            f"{row.rounded_y:.3f}",
            "" if row.grey_as_rgb is None else f"{row.grey_as_rgb:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_reasons(rows)]) + "\n"


def _reasons(rows: Sequence[Beside]) -> list[str]:
    told = [f"Where printed and measured differ by more than {CLOSE} dB:\n"]
    for row in rows:
        if abs(row.difference) <= CLOSE:
            continue
        way, left = row.nearest
        parts = [f"rounding LR to 8 bits changes {_decibel(row.measured - row.unrounded, 3)} dB"]
        parts.append(f"rounding Y {_decibel(row.rounded_y - row.unrounded, 3)} dB")
        if row.grey_as_rgb is not None:
            parts.append(f"taking the greyscale image as RGB {_decibel(row.grey_as_rgb - row.unrounded, 3)} dB")
        rest = f"nearest to print is “{way}”, {_decibel(left, 3)} dB from it"
        if abs(round(left, 2)) > CLOSE:
            rest += ", which these causes do not explain"
        note = f" Of the print: {row.printed_note}." if row.printed_note else ""
        where = f"{row.method}, {row.dataset} x{row.scale}, {_decibel(row.difference)} dB"
        told.append(f"- {where}: {'; '.join(parts)}; {rest}.{note}")
    return told if len(told) > 1 else [f"No figure differs by more than {CLOSE} dB."]


def _decibel(value: float, digits: int = 2) -> str:
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if float(f"{value:.{digits}f}") else f"{0:.{digits}f}"
