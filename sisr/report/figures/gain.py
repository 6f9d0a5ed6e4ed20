"""The gain of each part of ENLCA while it trains: validation PSNR minus the baseline's at the same step."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sisr.config.layout import Results
from sisr.report.figures import style
from sisr.report.tables.table2 import ROWS, row
from sisr.results.runs import Setting, by_row, group, load


def curves(results: Path, runs: list[str]) -> pd.DataFrame:
    """Columns row, seed, step, gain (dB) of the runs of Table 2 whose baseline of the same seed was validated too.

    Validation is on a few crops (`data.validate` of a preset) and only shows the course; it decides nothing.
    """
    settings = by_row(group(load(results, runs)), row)
    parts = []
    for (name, scale), setting in settings.items():
        baseline = _psnr(results, settings["baseline", scale])
        for seed, psnr in _psnr(results, setting).items() if name != "baseline" else ():
            if seed in baseline:
                gain = (psnr - baseline[seed]).dropna()
                parts.append(pd.DataFrame({"row": name, "seed": seed, "step": gain.index, "gain": gain.to_numpy()}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["row", "seed", "step", "gain"])


def _psnr(results: Path, setting: Setting) -> dict[int, "pd.Series[float]"]:
    """Validation PSNR over the steps, by seed."""
    files = {run.seed: Results(results).run(run.id) / "train.csv" for run in setting.runs}
    return {seed: pd.read_csv(file, index_col="step")["psnr"] for seed, file in files.items() if file.is_file()}


def draw(table: pd.DataFrame, results: Path, window: int = 9) -> Figure | None:
    """One line a variant: mean over seeds, averaged over `window` validations; thin lines: each seed.

    None where nothing was validated.
    """
    gains = curves(results, sorted({run for cell in table["runs"] for run in cell.split()}))
    if gains.empty:
        return None
    figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
    axes.axhline(0, color=style.GREY, linewidth=1)
    for index, name in enumerate(name for name in ROWS if name in set(gains["row"])):
        seeds = gains[gains["row"] == name].pivot(index="step", columns="seed", values="gain")
        smooth = seeds.rolling(window, center=True, min_periods=window // 2 + 1).mean()
        colour = style.COLOURS[index]
        axes.plot(smooth.index, smooth.to_numpy(), color=colour, linewidth=0.7, alpha=0.45)
        axes.plot(smooth.index, smooth.mean(axis=1), color=colour, linewidth=2, label=ROWS[name])
    axes.set_xlabel("training steps")
    axes.set_ylabel("PSNR minus the baseline's (dB)")
    style.legend(figure, 3)
    style.stamp(figure, table, f"Mean over seeds (thin: each seed), averaged over {window} validations on a few crops.")
    return figure
