"""Cells of the analysis notebook: displays existing files, without computing results."""

from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image, Markdown

from sisr.analysis import rows
from sisr.analysis.findings import describe_analysis as sentences
from sisr.analysis.summary import labels, mean, select
from sisr.config.layout import Results
from sisr.report.notebook_cells import bullets, html_table, image
from sisr.report.tables.view import banner
from sisr.results.cells import span, text

NAME = "what_enla_computes"


def what_was_run(results: str) -> Markdown:
    """Training of the networks and data of the analysis."""
    attended = _tables(results)["attended"]
    trained = select(attended, source="trained")
    said, _ = banner(trained)
    images = ", ".join(dict.fromkeys(trained["image"]))
    return Markdown(
        f"**{said}**\n\n{trained['run'].nunique()} trained networks over {images}; {int(trained['sampled'].max())} "
        f"queries of each image and slot against all of up to {int(trained['tokens'].max()):,} positions. Random "
        "features: query and key uniform on the unit sphere, standard normal values."
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
        own, pooled = mean(cells, "error"), mean(cells, "error_of_mean")
        lines.append(
            [
                f"{label}, k = {k:g}" if "random" in str(label) else str(label),
                _percent(own.value, own.low, own.high),
                _percent(pooled.value),
                text(mean(cells, "error_beyond_mean").value, 2),
                text(mean(cells, "correlation_across").value, 2),
            ]
        )
    heads = ["features", "ENLA, % of |Y*|", "mean pooling, %", "ENLA / mean pooling", "correlation across queries"]
    return html_table(heads, lines, wrap=False)


def attended(results: str) -> HTML:
    """Distribution of the weights of exact attention and ENLA."""
    table = _tables(results)["attended"]
    lines = []
    for label in labels(table):
        for operator in ("exact", "ENLA"):
            cells = select(table, label=label, operator=operator)
            if len(cells):
                lines.append(
                    [
                        label,
                        operator,
                        _percent((cells["positions"] / cells["tokens"]).mean()),
                        _percent((cells["participation"] / cells["tokens"]).mean()),
                        _percent(cells["top_share"].mean()),
                        f"{cells['rank'].mean():.2f}",
                        *(
                            "" if cells[name].isna().all() else f"{cells[name].mean():.1f}"
                            for name in ("features", "buckets")
                        ),
                        "" if cells["few_error"].isna().all() else _percent(cells["few_error"].mean()),
                        f"{cells['gap'].mean():.2f}",
                    ]
                )
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


def _percent(value: float, low: float = float("nan"), high: float = float("nan")) -> str:
    digits = 0 if value >= 0.1 else 1
    interval = span(100 * low, 100 * high, digits)
    return text(100 * value, digits) + (f" {interval}" if interval else "")
