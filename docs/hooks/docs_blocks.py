"""The parts of pages that are made from the code and from measured files, so that they cannot go out of date."""

import ast
import inspect
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from models import attention
from sisr import cli
from sisr.comparison import leaderboard, leaderboard_view, learning_rates
from sisr.config.recipes import TRAINING as RECIPES
from sisr.config.run import Network, Run, Training, flag
from sisr.report import tables
from sisr.report.tables.table2 import ROWS
from sisr.report.tables.view import difference_text
from sisr.results.cells import difference, frame
from sisr.results.runs import Setting, by_row, datasets, group, load, load_run

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"


def table(head: list[str], rows: list[list[str]], numbers: int = 0) -> str:
    """A table in Markdown; the last `numbers` columns are aligned to the right."""
    ends = [":---"] * (len(head) - numbers) + ["---:"] * numbers
    lines = [head, ends, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(value: Any) -> str:
    """A value as code; nothing for nothing."""
    return "" if value in (None, "") else f"`{value}`"


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def help_of(verb: str) -> str:
    """What `python -m sisr VERB --help` prints, 100 columns wide."""
    said = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with redirect_stdout(said), suppress(SystemExit):
            cli.main([verb, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return said.getvalue()


def commands() -> str:
    """Every verb with its help."""
    parts = []
    for verb in cli.verbs():
        text = help_of(verb)
        parts += [f"## {verb}", fenced("text", text)]
    return "\n\n".join(parts)


def settings(part: type) -> str:
    """A table of the settings of one dataclass of `sisr.config.run`."""
    rows = []
    for setting in fields(part):
        if "help" not in setting.metadata:
            continue
        default = setting.default_factory() if callable(setting.default_factory) else setting.default
        shown = " ".join(default) if isinstance(default, tuple) else default
        rows.append(
            [
                f"`{flag(setting.name)}`",
                setting.metadata["help"].replace("`", ""),
                "none" if shown in (None, {}) else code(str(shown).lower() if isinstance(shown, bool) else shown),
                setting.metadata["paper"],
            ]
        )
    return table(["setting", "meaning", "default", "paper"], rows)


def recipes() -> str:
    """The values of both recipes, the ones that differ in bold."""
    rows = []
    for name in RECIPES["paper"]:
        paper, released = (RECIPES[recipe][name] for recipe in ("paper", "released"))
        mark = "**" if paper != released else ""
        rows.append([f"`{name}`", *(f"{mark}{shown(value)}{mark}" for value in (paper, released))])
    return table(["setting", "`recipe: paper`", "`recipe: released`"], rows)


def shown(value: Any) -> str:
    """A setting of a recipe, for people."""
    if isinstance(value, dict):
        return ", ".join(f"{item} at x{scale}" for scale, item in value.items())
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def keys() -> str:
    """Every key that a preset may have, and what is accepted, from the schema that checks it."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    rows = [[f"`{name}`", accepted, note] for name, accepted, note in _keys(schema, schema, "")]
    return table(["key", "accepted", "note"], rows)


def _keys(node: dict[str, Any], schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, item in node.get("properties", {}).items():
        item = resolved(item, schema)
        path, needed = prefix + name, name in node.get("required", [])
        if item.get("properties") and item.get("additionalProperties") is False:
            yield path, "a mapping" + ", required" * needed, item.get("description", "")
        else:
            yield path, accepted(item, schema) + ", required" * needed, item.get("description", "")
        yield from _keys(item, schema, path + ".")


def resolved(item: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema with what it refers to."""
    item = dict(item)
    name = item.pop("$ref", "").rpartition("/")[2]
    return {**schema["$defs"][name], **item} if name else item


def accepted(item: dict[str, Any], schema: dict[str, Any]) -> str:
    """What the schema accepts at one place, in words."""
    item = resolved(item, schema)
    if "enum" in item:
        return ", ".join(code(value) for value in item["enum"])
    if alternatives := item.get("oneOf") or item.get("anyOf"):
        return ", or ".join(accepted(one, schema) for one in alternatives)
    kind = item.get("type")
    if kind == "array":
        return "a list: each " + accepted(item.get("items", {}), schema)
    if kind == "object":
        each = item.get("additionalProperties")
        return "a mapping" + (f": each {accepted(each, schema)}" if isinstance(each, dict) else "")
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true`, `false`"}
    kinds = kind if isinstance(kind, list) else [kind]
    said = " or ".join(words.get(str(one), str(one)) for one in kinds if one != "object")
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    bounds = [f"{word} {item[limit]}" for limit, word in limits.items() if limit in item]
    each = ", or a mapping of such" if "object" in kinds and "additionalProperties" in item else ""
    each = each or " or a mapping" * ("object" in kinds)
    return " ".join([said, " and ".join(bounds)]).strip() + each if kind else "anything"


def mechanisms() -> str:
    """The registered attention mechanisms, and where each is written."""
    rows = []
    for name in attention.available():
        made = type(attention.create(name, channels=16))
        source = Path(inspect.getfile(made))
        first = (inspect.getdoc(inspect.getmodule(made)) or "").splitlines()[0]
        rows.append([f"`{name}`", first, f"`models/attention/{source.name}`"])
    return table(["name", "what it is", "written in"], rows)


def benchmarks() -> str:
    """Every measured file of results/reference/benchmarks: the command, the machine, the figure, the medians."""
    parts = []
    for file in sorted((REFERENCE / "benchmarks").glob("*.csv")):
        measured = pd.read_csv(file)
        parts += [f"## {file.stem.replace('_', ' ').capitalize()}", said_of(file.stem)]
        parts.append("Measured on: " + "; ".join(sorted(set(measured["device"].dropna()))) + ".")
        if file.with_suffix(".png").is_file():
            parts.append(f"![{file.stem}, drawn](../results/reference/benchmarks/{file.stem}.png)")
        if {"method", "tokens", "milliseconds"} <= set(measured):
            parts.append(over_tokens(measured))
        else:
            parts.append(as_it_is(measured.drop(columns="device")))
    return "\n\n".join(parts)


def feature_distances() -> str:
    """Distance of each candidate from exact attention on each kind of features; in brackets the worst one."""
    measured = pd.read_csv(REFERENCE / "features" / "candidates.csv")
    kinds = list(dict.fromkeys(measured["features"]))
    rows = []
    for candidate, part in measured.groupby("candidate", sort=False):
        at = part.set_index("features")
        cells = [f"{at.distance[kind]:.3f} ({at.worst[kind]:.2f})" if kind in at.index else "" for kind in kinds]
        m, gflops = part.iloc[0][["m", "gflops"]]
        rows.append([str(candidate), f"{m:.0f}" if m else "", f"{gflops:.2f}", *cells])
    return table(["candidate", "m", "GFLOPs", *kinds], rows, numbers=2 + len(kinds))


def feature_costs() -> str:
    """Fastest time and memory of the registered estimates of exact attention, and the machine."""
    measured = pd.read_csv(REFERENCE / "features" / "cost.csv")
    fastest = measured.assign(milliseconds=measured["fastest_milliseconds"])
    return f"{over_tokens(fastest)}\n\nMeasured on: {'; '.join(sorted(set(measured['device'])))}."


def differences(preset: str, sets: tuple[str, ...] = ()) -> str:
    """Table 2 of a committed preset: differences to the baseline with interval and verdict, on these test sets."""
    return by_set(tables.read("table2", REFERENCE / preset), "added to the network", ROWS, sets)


def by_set(
    measured: pd.DataFrame, head: str, labels: Mapping[str, str] | None = None, sets: tuple[str, ...] = ()
) -> str:
    """PSNR differences of a tidy table by row and test set, with interval and verdict; without labels all rows."""
    part = measured[(measured["quantity"] == "psnr_difference") & measured["measured"].astype(bool)]
    sets = sets or tuple(dict.fromkeys(part["dataset"]))
    rows = []
    for name, label in (labels or {row: row for row in part["row"]}).items():
        cells = {cell["dataset"]: difference_text(cell) for _, cell in part[part["row"] == name].iterrows()}
        if cells:
            rows.append([label, *(f"{cells[one].main} {cells[one].detail}" for one in sets)])
    return table([head, *sets], rows, numbers=len(sets))


def inserted(preset: str, mechanisms: Mapping[str, str]) -> str:
    """PSNR difference of some mechanisms of a committed preset to the baseline, as `differences` shows it.

    The variance of training runs is pooled over all settings of the preset's tables.
    """
    names = {None: "baseline", **mechanisms}
    results = REFERENCE / preset
    ids = [run for name in tables.NAMES for run in tables.planned(name, results)]
    trained = [setting for setting in group(load(results, ids)) if setting.first.config]

    def row(setting: Setting) -> str | None:
        return names.get(setting.first.attention)

    settings = by_row(trained, row)
    (scale,) = {scale for _, scale in settings}
    baseline = settings["baseline", scale]
    known = {"table": "controls", "kind": "network", "scale": scale, "quantity": "psnr_difference", "unit": "dB"}
    cells = frame(
        difference(
            {**known, "row": name, "dataset": one},
            settings[name, scale],
            ("baseline", baseline),
            trained,
            preset,
        )
        for name in list(names.values())[1:]
        for one in datasets([baseline])
    )
    return by_set(cells, "inserted")


@cache
def leaderboard_table(preset: str) -> pd.DataFrame:
    """The leaderboard of a committed preset."""
    return leaderboard.build(REFERENCE / preset)


def leaderboard_short(preset: str) -> str:
    """Difference to ENLCA and cost of each mechanism of a committed preset, one table for all on the same terms, and
    where the whole page is."""
    view = leaderboard_view.view(leaderboard_table(preset))
    left_out = ("PSNR, dB", "SSIM", "Pareto front")
    parts = [
        f"[The whole table, sortable, with filters]({leaderboard_file(preset)}): PSNR, SSIM, Pareto marks, commands."
    ]
    for section in view.sections:
        kept = [
            index
            for index, column in enumerate(view.columns)
            if column.label not in left_out and any(cells[index].main for _, cells in section.rows)
        ]
        head = [" ".join(filter(None, (view.columns[index].group, view.columns[index].label))) for index in kept]
        rows = []
        for label, cells in section.rows:
            texts = [f"{cells[index].main} {cells[index].detail}".strip() for index in kept]
            if not any(texts):  # a control
                continue
            file = texts.pop()
            rows.append([label, *texts, f"[{Path(file).name}](../{file})" if file else ""])
        parts += [f"**{section.title}**"] * (len(view.sections) > 1) + [table(["mechanism", *head], rows)]
    return "\n\n".join(parts)


def learning_rates_tried(preset: str) -> str:
    """Validation PSNR of each mechanism of a committed preset at each learning rate that was tried."""
    rows, head = [], []
    for search in learning_rates.finished(REFERENCE / preset).values():
        by_rate = search.set_index("learning_rate")["psnr"].sort_index(ascending=False)
        head = [f"{rate:g}" for rate in by_rate.index]
        first = load_run(REFERENCE / preset, search["run"].iloc[0], validation=True)
        rows.append([f"`{first.attention or 'none'}`", *(f"{psnr:.3f}" for psnr in by_rate)])
    return table(["mechanism", *head], sorted(rows), numbers=len(head))


def leaderboard_file(preset: str) -> str:
    """Where the page is in the site, which `docs_site` puts there."""
    return f"leaderboard-{preset}.html"


def leaderboard_page(preset: str) -> tuple[str, list[str]]:
    """The page for the site, and the files of the repository that it links to."""
    measured = leaderboard_table(preset)
    files = sorted(set(measured.loc[measured["quantity"] == "file", "measured"]))
    text = io.StringIO()
    measured.to_csv(text, index=False)
    return leaderboard_view.html(measured, lambda file: file, {"leaderboard.csv": text.getvalue().encode()}), files


def pretrained() -> str:
    """Mean PSNR of the pretrained networks and of bicubic interpolation on each set, from the committed rows."""
    rows = []
    sets = ("Set5", "Set14", "B100", "Urban100")
    for scale in (2, 4):
        for name in ("bicubic", "pretrained"):
            folder = REFERENCE / "pretrained" / "evaluation" / f"{name}-x{scale}"
            means = [pd.read_csv(folder / f"{one}_x{scale}.csv")["psnr"].mean() for one in sets]
            rows.append([f"x{scale}", name, *(f"{mean:.2f}" for mean in means)])
    return table(["scale", "PSNR, dB", *sets], rows, numbers=len(sets))


def said_of(stem: str) -> str:
    """What a benchmark says of itself (its module's text without the commands), and how to run it."""
    source = ROOT / "benchmarks" / f"{stem}.py"
    if not source.is_file():
        return ""
    said = ast.get_docstring(ast.parse(source.read_text())) or ""
    text = "\n\n".join(part for part in said.split("\n\n") if not part.startswith("    "))
    return text + "\n\n" + fenced("text", f"python -m benchmarks.{stem} --output results/benchmarks")


def over_tokens(measured: pd.DataFrame) -> str:
    """Milliseconds (megabytes) by method and number of tokens, or the note on why there are none."""
    tokens, grown = sorted(set(measured["tokens"])), "exponent" in measured
    rows = []
    for method, part in measured.groupby("method", sort=False):
        at = part.set_index("tokens")
        cells = []
        for count in tokens:
            known = count in at.index and not pd.isna(at.milliseconds[count])
            note = at["note"].get(count, "") if "note" in at else ""
            figures = f"{number(at.milliseconds[count])} ({number(at.megabytes[count])})" if known else ""
            cells.append(" ".join(part for part in (figures, "" if pd.isna(note) else note) if part))
        grows = [f"N^{value:.2f}" if value == value else "" for value in part["exponent"][:1]] if grown else []
        rows.append([str(method), *cells, *grows])
    head = ["ms (MB)", *(f"{count:,} tokens" for count in tokens), *["time grows with"] * grown]
    return table(head, rows, numbers=len(head) - 1)


def as_it_is(measured: pd.DataFrame) -> str:
    """A measured table with its own columns."""
    rows = [[number(value) if isinstance(value, float) else str(value) for value in row] for row in measured.values]
    return table([name.replace("_", " ") for name in measured], rows)


def number(value: float) -> str:
    """Three significant digits, and all digits before the point; a blank for what was not measured."""
    if pd.isna(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "network settings": lambda: settings(Network),
    "training settings": lambda: settings(Training),
    "run settings": lambda: settings(Run),
    "recipes": recipes,
    "keys": keys,
    "quick.yaml": lambda: fenced("yaml", (ROOT / "config/quick.yaml").read_text()),
    "mini.yaml": lambda: fenced("yaml", (ROOT / "config/mini.yaml").read_text()),
    "paper.yaml": lambda: fenced("yaml", (ROOT / "config/paper.yaml").read_text()),
    "citation": lambda: fenced("yaml", (ROOT / "CITATION.cff").read_text()),
    "mechanisms": mechanisms,
    "benchmarks": benchmarks,
    "pretrained": pretrained,
    "feature distances": feature_distances,
    "feature costs": feature_costs,
    "laptop differences": lambda: differences("laptop"),
    "laptop-scratch differences": lambda: differences("laptop-scratch"),
    "laptop controls": lambda: inserted("laptop", {"mean_pooling": "mean pooling", "convolution": "convolution"}),
    "laptop linear response": lambda: inserted("laptop", {"linear_response": "linear response"}),
    "laptop leaderboard": lambda: leaderboard_short("laptop"),
    "laptop learning rates": lambda: learning_rates_tried("laptop"),
    "laptop k sweep": lambda: by_set(tables.read("k_sweep", REFERENCE / "laptop"), "ENLCA"),
    "laptop in short": lambda: differences("laptop", ("B100", "Urban100")),
}
"""What a page may ask for with `<!-- made: NAME -->`."""
