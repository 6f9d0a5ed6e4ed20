"""What the notebooks show: files of a results folder, as objects that Jupyter displays. Nothing is computed here."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image, Markdown

from sisr.config.layout import Results
from sisr.report import tables
from sisr.report.tables import findings as sentences
from sisr.report.tables import render
from sisr.report.tables.view import banner
from sisr.utils.errors import SisrError


def bullets(lines: Iterable[str]) -> Markdown:
    """Sentences as a list."""
    return Markdown("\n".join(f"- {line}" for line in lines))


def image(path: Path, command: str) -> Image:
    """A figure, displayed half as wide as its pixels, as it was drawn for 200 dots per inch.

    Raises SisrError with the command that draws it if the file is missing.
    """
    if not path.is_file():
        raise SisrError(f"there is no {path}; run python -m sisr {command} first.")
    content = path.read_bytes()
    return Image(content, width=int.from_bytes(content[16:20], "big") // 2)  # the width in the PNG's header


def html_table(heads: Sequence[str], lines: Sequence[Sequence[str]], wrap: bool = True) -> HTML:
    """Rows of text as a table that scrolls sideways where it is too wide."""
    with pd.option_context("display.max_colwidth", None):
        table = pd.DataFrame(lines, columns=list(heads)).to_html(index=False, border=0)
    cells = table if wrap else table.replace("<td>", '<td style="white-space:nowrap">')
    return HTML(f'<div style="overflow-x:auto;font-size:.8rem">{cells}</div>')


def what_was_run(name: str, results: str) -> Markdown:
    """At which preset and with how much training the table was measured, and how many networks that are."""
    table = tables.read(name, Path(results))
    runs = {run for cell in table["runs"] for run in str(cell).split()}
    trained = {run for cell in table.loc[table["comparable"] != "", "runs"] for run in str(cell).split()}
    sets = ", ".join(name for name in dict.fromkeys(table.loc[table["runs"] != "", "dataset"]) if name)
    controls = f"; controls: {', '.join(sorted(runs - trained))}" if runs - trained else ""
    return Markdown(f"**{banner(table)[0]}**\n\n{len(trained)} trained networks, evaluated on {sets}{controls}.")


def paper(name: str) -> Markdown:
    """The paper's statements on the table, computed from `results/published`."""
    return Markdown(" ".join(sentences.paper(name)))


def table(name: str, results: str) -> HTML:
    """The table, as in `tables/<name>.html`."""
    return HTML(render.html(tables.view(name, tables.read(name, Path(results)))))


def figure(name: str, results: str) -> Image:
    """The figure `figures/<name>.png`."""
    return image(Results(Path(results)).figure(name), f"tables {name} --results {results}")


def gain(results: str) -> Image | Markdown:
    """The figure of the gain over the training steps, or a sentence where nothing was validated."""
    path = Results(Path(results)).figure("gain")
    if not path.is_file():
        return Markdown("The preset names no validation set (`data.validate`), so there are no curves.")
    return image(path, f"tables table2 --results {results}")


def findings(name: str, results: str) -> Markdown:
    """What the table shows, as sentences."""
    return bullets(sentences.describe_table(name, tables.read(name, Path(results))))


def reasons(name: str, results: str) -> Markdown:
    """Why the measured values and the paper's differ."""
    return bullets(sentences.reasons(tables.read(name, Path(results))))


def provenance(name: str, results: str) -> HTML:
    """One row per setting: runs, seeds, commit, weights, hardware, torch; and the file with every cell's provenance."""
    whole = tables.read(name, Path(results))
    part = whole[(whole["runs"] != "") & (whole["kind"] != "theory")].drop_duplicates(["row", "scale", "runs"])
    heads = ("row", "scale", "runs", "git_commit", "weights_sha256", "hardware", "torch")
    lines = [[_short(head, str(cell[head])) for head in heads] for _, cell in part.iterrows()]
    costs = whole[(whole["kind"] == "mechanism") & (whole["dataset"] == "") & (whole["hardware"] != "")]
    measured = "; ".join(dict.fromkeys(f"{c['hardware']}, torch {c['torch']}" for _, c in costs.iterrows()))
    return HTML(
        html_table([head.replace("_", " ") for head in heads], lines).data
        + (f"<p>Time and memory: {escape(measured)}.</p>" if measured else "")
        + f"<p>Every cell with its provenance: <code>{escape(results)}/tables/{name}.csv</code>, made by "
        f"<code>python -m sisr tables {name} --results {escape(results)}</code> from the per-image rows in "
        f"<code>{escape(results)}/evaluation/</code>.</p>"
    )


def _short(head: str, word: str) -> str:
    """Hashes cut to what a person compares; the CSV has them whole."""
    if head == "weights_sha256":
        return " ".join(part[:12] for part in word.split())
    if head == "git_commit":
        return " ".join(part[:12] if re.fullmatch(r"[0-9a-f]{40}", part) else part for part in word.split())
    return f"x{float(word):g}" if head == "scale" and word else word
