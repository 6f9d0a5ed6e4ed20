"""What the notebooks show: files of a results folder, as objects that Jupyter displays. Nothing is computed here."""

import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from sisr.report import tables
from sisr.report.tables import findings as sentences
from sisr.report.tables.view import banner
from sisr.utils.errors import SisrError


@dataclass(frozen=True)
class Html:
    """A piece of HTML."""

    content: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.content


@dataclass(frozen=True)
class Markdown:
    """A piece of Markdown."""

    content: str = field(repr=False)

    def _repr_markdown_(self) -> str:
        return self.content


@dataclass(frozen=True)
class Png:
    """A picture; the display is half as wide as its pixels, as it was drawn for 200 dots an inch."""

    content: bytes = field(repr=False)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        width = int.from_bytes(self.content[16:20], "big")  # in the PNG's header
        return self.content, {"width": width // 2}


def what_was_run(name: str, results: str) -> Markdown:
    """At which preset and with how much training the table was measured, and how many networks that are."""
    table = tables.read(name, Path(results))
    said, _ = banner(table)
    runs = sorted({run for cell in table["runs"] for run in str(cell).split()})
    trained = sorted({run for cell in table.loc[table["comparable"] != "", "runs"] for run in str(cell).split()})
    sets = ", ".join(name for name in dict.fromkeys(table.loc[table["runs"] != "", "dataset"]) if name)
    controls = ", ".join(run for run in runs if run not in trained)
    return Markdown(
        f"**{said}**\n\n{len(trained)} trained networks, evaluated on {sets}"
        + (f"; controls: {controls}." if controls else ".")
    )


def paper(name: str) -> Markdown:
    """What the paper says about the table, computed from `results/published`."""
    return Markdown(" ".join(sentences.paper(name)))


def table(name: str, results: str) -> Html:
    """The table as it stands in `tables/<name>.html`."""
    path = _file(name, Path(results) / "tables" / f"{name}.html")
    body = re.search(r"<body[^>]*>(.*)</body>", path.read_text(encoding="utf-8"), re.DOTALL)
    if not body:
        raise SisrError(f"{path} is not a page; make it again with python -m sisr tables {name}.")
    return Html(body.group(1))


def figure(name: str, results: str) -> Png:
    """The figure as it stands in `figures/<name>.png`."""
    return Png(_file(name, Path(results) / "figures" / f"{name}.png").read_bytes())


def findings(name: str, results: str) -> Markdown:
    """What the table shows, as sentences."""
    found = sentences.findings(name, tables.read(name, Path(results)))
    return Markdown("\n".join(f"- {sentence}" for sentence in found))


def reasons(name: str, results: str) -> Markdown:
    """Why the measured figures and the paper's differ."""
    found = sentences.reasons(tables.read(name, Path(results)))
    return Markdown("\n".join(f"- {sentence}" for sentence in found))


def provenance(name: str, results: str) -> Html:
    """One line a setting: runs, seeds, commit, weights, hardware, torch; and the file that has it cell by cell."""
    whole = tables.read(name, Path(results))
    part = whole[(whole["runs"] != "") & (whole["kind"] != "theory")].drop_duplicates(["row", "scale", "runs"])
    heads = ("row", "scale", "runs", "git_commit", "weights_sha256", "hardware", "torch")
    lines = []
    for _, cell in part.iterrows():
        words = [_short(head, str(cell[head])) for head in heads]
        lines.append("<tr>" + "".join(f"<td>{escape(word)}</td>" for word in words) + "</tr>")
    costs = whole[(whole["kind"] == "mechanism") & (whole["dataset"] == "") & (whole["hardware"] != "")]
    measured = "; ".join(dict.fromkeys(f"{c['hardware']}, torch {c['torch']}" for _, c in costs.iterrows()))
    head = "".join(f"<th>{escape(word.replace('_', ' '))}</th>" for word in heads)
    return Html(
        '<div style="overflow-x:auto"><table style="font-size:.8rem;text-align:left">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        + (f"<p>Time and memory: {escape(measured)}.</p>" if measured else "")
        + f"<p>Every cell with its origin: <code>{escape(results)}/tables/{name}.csv</code>. Made by "
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


def _file(name: str, path: Path) -> Path:
    if not path.is_file():
        raise SisrError(f"there is no {path}; run python -m sisr tables {name} --results {path.parent.parent} first.")
    return path
