"""Cells of the analysis notebook: displays existing files, without computing results."""

from html import escape
from math import isnan, nan
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image, Markdown

from sisr.analysis import rows
from sisr.analysis.findings import describe_analysis as sentences
from sisr.analysis.summary import labels, mean, percent, select
from sisr.config.layout import Results
from sisr.report.notebook_cells import bullets, html_table, image
from sisr.report.tables.view import banner
from sisr.results.cells import text

NAME = "what_enla_computes"


def what_was_run(results: str) -> Markdown:
    """Training of the networks and data of the analysis."""
    attended = _tables(results)["attended"]
    trained = select(attended, source="trained")
    images = ", ".join(dict.fromkeys(trained["image"]))
    return Markdown(
        f"**{banner(trained)[0]}**\n\n{trained['run'].nunique()} trained networks over {images}; "
        f"{int(trained['sampled'].max())} queries of each image and slot against all of up to "
        f"{int(trained['tokens'].max()):,} positions. "
        "Random features: query and key uniform on the unit sphere, standard normal values."
    )


def figure(results: str) -> Image:
    """The figure."""
    return image(Results(Path(results)).figure(NAME), f"analyse --results {results}")


def findings(results: str) -> Markdown:
    """Findings as sentences."""
    return bullets(sentences(_tables(results)))


def errors(results: str) -> HTML:
    """Distance from exact attention of trained networks at their k and m, and of random features at every k."""
    tables = _tables(results)
    error, whole = tables["error"], tables["attended"]
    part = error[(error["projection"] == "orthogonal") & (error["m"] == 128)]
    part = part[(part["source"] == "random") | part["as_trained"].astype(bool)]
    lines = []
    order = {name.split(", k")[0] if "random" in name else name: place for place, name in enumerate(labels(whole))}
    groups = sorted(part.groupby(["label", "k"]), key=lambda group: (order[str(group[0][0])], group[0][1]))
    for (label, k), cells in groups:
        error_of_enla = mean(cells, "error")
        name = f"{label}, k = {k:g}" if "random" in str(label) else str(label)
        percents = [
            _percent(error_of_enla.value, error_of_enla.low, error_of_enla.high),
            _percent(mean(cells, "error_of_mean").value),
        ]
        ratios = [text(mean(cells, column).value, 2) for column in ("error_beyond_mean", "correlation_across")]
        lines.append([name, *percents, *ratios])
    heads = ["features", "ENLA, % of |Y*|", "mean pooling, %", "ENLA / mean pooling", "correlation across queries"]
    return html_table(heads, lines, wrap=False)


def attended(results: str) -> HTML:
    """Distribution of the weights of exact attention and ENLA."""
    table = _tables(results)["attended"]
    lines = []
    for label in labels(table):
        for operator in ("exact", "ENLA"):
            cells = select(table, label=label, operator=operator)
            if cells.empty:
                continue
            shares = [cells[column] / cells["tokens"] for column in ("positions", "participation")]
            means = cells[["rank", "features", "buckets", "few_error", "gap"]].mean()  # NaN: exact attention has none
            few_error = "" if isnan(means["few_error"]) else _percent(means["few_error"])
            numbers = [text(means[name], digits) for name, digits in (("rank", 2), ("features", 1), ("buckets", 1))]
            percents = [_percent(share.mean()) for share in (*shares, cells["top_share"])]
            lines.append([label, operator, *percents, *numbers, few_error, text(means["gap"], 2)])
    heads = [
        "features", "weights", "positions, %", "participation, %", "on most similar 2 %", "rank", "effective features",
        "kinds of queries", "8 features alone, % off", "contrastive gap",
    ]  # fmt: skip
    return html_table(heads, lines, wrap=False)


def provenance(results: str) -> HTML:
    """Runs, commits, weights, hardware, and the files of all values."""
    trained = select(_tables(results)["attended"], source="trained").drop_duplicates("run")
    heads = ["label", "run", "git_commit", "weights_sha256", "hardware", "torch"]
    lines = [
        [cell[head][:12] if "sha" in head else str(cell[head]) for head in heads] for _, cell in trained.iterrows()
    ]
    folder = escape(f"{results}/analysis")
    return HTML(
        html_table([head.replace("_", " ") for head in heads], lines, wrap=False).data
        + f"<p>All values, one row a measurement: <code>{folder}/kernel.csv</code>, <code>{folder}/error.csv</code>, "
        f"<code>{folder}/attended.csv</code>, created by <code>python -m sisr analyse</code>. The columns are "
        "described in <code>sisr/analysis/rows.py</code>.</p>"
    )


def _tables(results: str) -> dict[str, pd.DataFrame]:
    return {name: rows.read(name, Results(Path(results)).analysis) for name in rows.TABLES}


def _percent(value: float, low: float = nan, high: float = nan) -> str:
    return percent(value, low, high).replace(" %", "")
