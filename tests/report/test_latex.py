"""Tables as LaTeX: what a compiler would refuse, and the same cells as in Markdown."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisr.report import tables
from sisr.report.tables import latex, render
from sisr.report.tables.view import Column, Section, Text, View

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "results" / "reference" / "quick"


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.endswith("\\\\")]


def columns(row: str) -> int:
    """Columns that a row fills, those that a cell spans included."""
    spanned = sum(int(count) - 1 for count in re.findall(r"\\multicolumn\{(\d+)\}", row))
    return len(re.findall(r"(?<!\\)&", row)) + 1 + spanned


@pytest.mark.parametrize("name", tables.NAMES)
def test_every_row_has_all_columns_and_every_brace_is_closed(name: str) -> None:
    view = tables.view(name, tables.read(name, QUICK))
    text = latex.table(view)
    assert {columns(row) for row in rows(text)} == {len(view.columns) + 1}
    (aligned,) = re.findall(r"\\begin\{tabular\}\{(l?r*)\}", text)
    assert len(aligned) == len(view.columns) + 1
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\[{}]", "", code)
    assert plain.count("{") == plain.count("}")
    assert re.findall(r"\\begin\{(\w+\*?)\}", code) == re.findall(r"\\end\{(\w+\*?)\}", code)[::-1]
    assert code.isascii()
    assert [word for word in ("\\toprule", "\\midrule", "\\bottomrule") if word not in code] == []
    assert "booktabs" in text.splitlines()[0]
    assert "toy scale" in code  # in the caption


def test_cells_are_those_of_the_markdown_table() -> None:
    view = tables.view("table1", tables.read("table1", QUICK))
    best = re.findall(r"\\textbf\{([^}]*)\}", latex.table(view))
    assert best == [cell.replace("∞", "$\\infty$") for cell in re.findall(r"\*\*(\d[^*]*)\*\*", render.markdown(view))]
    assert len(best) > 10


def test_signs_become_commands() -> None:
    assert latex.escape("50 % of a_b & c#d {e} ~ ^ \\") == (
        r"50 \% of a\_b \& c\#d \{e\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert latex.escape("+0.01 [−0.02, ∞]") == r"+0.01 [$-$0.02, $\infty$]"


@given(st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), max_size=30))
def test_nothing_in_a_label_is_a_command(label: str) -> None:
    """Every special character is escaped, so that a label of a user (a set's or a mechanism's name) compiles."""
    view = View("t", label, label, True, [Column(label, label)], [Section(label, [(label, [Text(label, label)])])])
    text = latex.escape(label)
    assert not re.search(r"(?<!\\)[&%#_]", re.sub(r"\$[^$]*\$", "", text))
    assert {columns(row) for row in rows(latex.table(view))} == {2}


def test_latex_compiles_the_tables(tmp_path: Path) -> None:
    compiler = next(filter(shutil.which, ("pdflatex", "tectonic")), None)
    if compiler is None:
        pytest.skip("no LaTeX")
    inputs = []
    for name in tables.NAMES:
        (tmp_path / f"{name}.tex").write_text(latex.table(tables.view(name, tables.read(name, QUICK))))
        inputs.append(f"\\input{{{name}}}")
    body = "\\usepackage{booktabs,graphicx}\\begin{document}" + "".join(inputs) + "\\end{document}"
    (tmp_path / "paper.tex").write_text("\\documentclass[twocolumn]{article}" + body)
    command = [compiler, *(["-interaction=nonstopmode"] if compiler == "pdflatex" else []), "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
