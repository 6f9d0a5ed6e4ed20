"""Tables as LaTeX, for papers: booktabs rules, nothing but the packages booktabs and graphicx."""

from itertools import groupby

from sisr.report.tables.view import Section, Text, View

# what LaTeX reads as a command, and signs that its text fonts lack
_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "∞": r"$\infty$", "≤": r"$\le$", "≥": r"$\ge$", "≈": r"$\approx$",
    "–": "--", "—": "---", "“": "``", "”": "''", "†": r"\textdagger{}", "…": r"\ldots{}", "φ": r"$\phi$", "²": "$^2$",
    "Δ": r"$\Delta$", "σ": r"$\sigma$", "·": r"$\cdot$", "→": r"$\to$", "\n": " ",
}  # fmt: skip


def table(view: View) -> str:
    """A `table*` with caption and label, for `\\input`; bold is best, underlined second best.

    A table that is wider than the page is reduced to its width. Notes are comments below it.
    """
    count = len(view.columns)
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        "\\begin{table*}",
        "\\centering",
        f"\\caption{{{escape(view.title)}. {escape(view.banner)}}}",
        f"\\label{{tab:{view.name.replace('_', '-')}}}",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{l{'r' * count}}}",
        "\\toprule",
        *_heading(view),
        "\\midrule",
    ]
    for number, section in enumerate(view.sections):
        if len(view.sections) > 1:
            lines += ["\\midrule"] * (number > 0)
            lines.append(f"\\multicolumn{{{count + 1}}}{{l}}{{{escape(section.title)}}} \\\\")
        lines += _rows(section)
    lines += ["\\bottomrule", "\\end{tabular}}", "\\end{table*}"]
    return "\n".join([*lines, *(f"% {' '.join(note.split())}" for note in view.notes), ""])


def escape(text: str) -> str:
    """Text with LaTeX's special characters and signs as commands."""
    return "".join(_SIGNS.get(sign, sign) for sign in text)


def _heading(view: View) -> list[str]:
    labels = " & ".join(["", *(escape(column.label) for column in view.columns)])
    if not any(column.group for column in view.columns):
        return [f"{labels} \\\\"]
    cells, rules, start = [""], [], 2
    for title, columns in groupby(view.columns, key=lambda column: column.group):
        width = len(list(columns))
        cells.append(f"\\multicolumn{{{width}}}{{c}}{{{escape(title)}}}")
        if title:
            rules.append(f"\\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return [f"{' & '.join(cells)} \\\\", " ".join(rules), f"{labels} \\\\"]


def _rows(section: Section) -> list[str]:
    return [" & ".join([escape(label), *map(_cell, cells)]) + " \\\\" for label, cells in section.rows]


def _cell(cell: Text) -> str:
    main = escape(cell.main)
    main = {"best": f"\\textbf{{{main}}}", "second": f"\\underline{{{main}}}"}.get(cell.mark, main)
    # braces: a bracket after the end of a row would be read as its option
    return f"{main} {{\\scriptsize {escape(cell.detail)}}}".strip() if cell.detail else main
