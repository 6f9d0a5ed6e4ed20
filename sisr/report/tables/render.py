"""Tables as Markdown, as a self-contained HTML page, and as text for a terminal."""

import html as escaping
import textwrap
from itertools import groupby

from sisr.report.tables.view import Section, Text, View

_STYLE = """
.sisr { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1b1f24; line-height: 1.45; }
.sisr h1 { font-size: 1.3rem; margin: 0 0 .6rem; }
.sisr .banner { border-left: 5px solid #d55e00; background: #fdf3ec; padding: .6rem .9rem; margin: 0 0 1rem;
  max-width: 60rem; }
.sisr .banner.same { border-color: #009e73; background: #ecf8f4; }
.sisr .wide { overflow-x: auto; -webkit-overflow-scrolling: touch; }
.sisr ul.notes { font-size: .85rem; color: #4b5563; max-width: 60rem; padding-left: 1.2rem; }
.sisr .wide .gt_table { font-size: .86rem !important; margin-left: 0 !important; width: auto; }
.sisr .wide .gt_table td, .sisr .wide .gt_table th { padding: .35rem .6rem; white-space: nowrap; }
.sisr .wide .gt_table .gt_stub, .sisr .wide .gt_table th:first-child { position: sticky; left: 0; background: #fff;
  z-index: 1; white-space: normal; min-width: 7.5rem; max-width: 11rem; border-right: 1px solid #d3d7de; }
.sisr .wide .gt_table .gt_col_heading { white-space: normal; max-width: 8rem; vertical-align: bottom !important; }
.sisr .wide .gt_table .gt_group_heading { background: #f3f4f6 !important; font-weight: 600 !important; }
.sisr .detail { display: block; font-size: .76rem; color: #5b6470; }
.sisr .why { white-space: normal; display: inline-block; min-width: 10rem; max-width: 16rem; text-align: left; }
.sisr u { text-underline-offset: 3px; text-decoration-thickness: 1.5px; }
@media (max-width: 40rem) { .sisr h1 { font-size: 1.1rem; } .sisr .banner { font-size: .9rem; } }
"""


def html(view: View) -> str:
    """The table as part of a page: its own style, no script, nothing loaded from elsewhere."""
    import pandas as pd
    from great_tables import GT
    from great_tables import html as raw

    keys = [f"c{index}" for index in range(len(view.columns))]
    records = [
        {"section": section.title, "row": escaping.escape(label)}
        | {key: _html_cell(cell) for key, cell in zip(keys, cells, strict=True)}
        for section in view.sections
        for label, cells in section.rows
    ]
    several = len(view.sections) > 1
    table = GT(
        pd.DataFrame(records, columns=["section", "row", *keys]),
        rowname_col="row",
        groupname_col="section" if several else None,
        id=f"sisr-{view.name.replace('_', '-')}",
    )
    if not several:
        table = table.cols_hide("section")
    table = table.cols_label(
        {key: raw(escaping.escape(column.label)) for key, column in zip(keys, view.columns, strict=True)}
    )
    start = 0
    for title, columns in groupby(view.columns, key=lambda column: column.group):
        stop = start + len(list(columns))
        if title:
            table = table.tab_spanner(raw(escaping.escape(title)), columns=keys[start:stop], id=f"s{start}")
        start = stop
    table = (
        table.fmt(str, columns=keys)  # a formatted cell is HTML already, any other would be escaped
        .cols_align("right", columns=keys)
        .tab_options(table_border_top_width="0px", row_striping_include_table_body=False)
    )
    notes = "".join(f"<li>{escaping.escape(note)}</li>" for note in view.notes)
    return (
        f'<div class="sisr"><style>{_STYLE}</style><h1>{escaping.escape(view.title)}</h1>'
        f'<p class="banner{" same" if view.comparable else ""}"><strong>{escaping.escape(view.banner)}</strong></p>'
        f'<div class="wide">{table.as_raw_html()}</div><ul class="notes">{notes}</ul></div>'
    )


def page(view: View) -> str:
    """The table as a whole HTML page that opens anywhere, a phone included."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaping.escape(view.title)}</title></head>"
        f'<body style="margin:1rem;background:#fff">\n{html(view)}\n</body></html>\n'
    )


def markdown(view: View) -> str:
    """The table in GitHub's Markdown: bold is best, underlined second best."""
    lines = [f"# {view.title}", "", f"> **{view.banner}**", ""]
    for section in view.sections:
        if len(view.sections) > 1:
            lines += [f"## {section.title}", ""]
        lines.append("| | " + " | ".join(_heading(view)) + " |")
        lines.append("|---|" + "---:|" * len(view.columns))
        for label, cells in section.rows:
            lines.append(f"| {_pipe(label)} | " + " | ".join(_markdown_cell(cell) for cell in cells) + " |")
        lines.append("")
    return "\n".join([*lines, *(f"- {note}" for note in view.notes), ""])


def terminal(view: View, width: int = 200) -> str:
    """The table for a terminal so many characters wide; `*` marks the best of a column and `_` the second best.

    A table that is wider is continued below, with its first column again.
    """
    banner = view.banner if view.comparable else f"!! {view.banner}"
    lines = [view.title, "=" * len(view.title), *textwrap.wrap(banner, width)]
    for section in view.sections:
        lines += ["", section.title] if len(view.sections) > 1 else [""]
        lines += aligned(view, section, width)
    notes = [textwrap.fill(note, width, initial_indent="  ", subsequent_indent="    ") for note in view.notes]
    return "\n".join([*lines, "", *notes])


def aligned(view: View, section: Section, width: int) -> list[str]:
    """Lines of one section for a terminal; columns that do not fit beside the others are continued below."""
    labels = ["", "", *(label for label, _ in section.rows)]
    blocks: list[list[list[str]]] = []  # columns that fit beside the labels, each: group, label, cells
    used = width
    for index, column in enumerate(view.columns):
        cells = [_terminal_cell(cells[index]) for _, cells in section.rows]
        if not any(cells):
            continue
        shown = [column.group, column.label, *cells]
        used += 2 + max(map(len, shown))
        if used > width:
            blocks.append([])
            used = max(map(len, labels)) + 2 + max(map(len, shown))
        blocks[-1].append(shown)
    return [line for index, block in enumerate(blocks) for line in [""] * (index > 0) + _block(labels, block)]


def _block(labels: list[str], columns: list[list[str]]) -> list[str]:
    shown = [list(column) for column in columns]
    for column, before in zip(shown[1:], columns, strict=False):
        column[0] = "" if column[0] == before[0] else column[0]  # a heading over several columns stands once
    columns_ = [[cell.ljust(max(map(len, labels))) for cell in labels]]
    columns_ += [[cell.rjust(max(map(len, column))) for cell in column] for column in shown]
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns_, strict=True)]
    rule = "-" * max(map(len, lines))
    return [*(line for line in lines[:2] if line), rule, *lines[2:]]


def _heading(view: View) -> list[str]:
    return [_pipe(" ".join(part for part in (column.group, column.label) if part)) for column in view.columns]


def _html_cell(cell: Text) -> str:
    if not cell.main:
        kind = "detail why" if len(cell.detail) > 20 else "detail"
        return f'<span class="{kind}">{escaping.escape(cell.detail)}</span>' if cell.detail else ""
    main = escaping.escape(cell.main)
    main = {"best": f"<strong>{main}</strong>", "second": f"<u>{main}</u>"}.get(cell.mark, main)
    return main + (f'<span class="detail">{escaping.escape(cell.detail)}</span>' if cell.detail else "")


def _markdown_cell(cell: Text) -> str:
    main, detail = _pipe(cell.main), _pipe(cell.detail)
    main = {"best": f"**{main}**", "second": f"<ins>{main}</ins>"}.get(cell.mark, main)
    return f"{main} {detail}".strip()


def _terminal_cell(cell: Text) -> str:
    return f"{cell.main}{ {'best': '*', 'second': '_'}.get(cell.mark, '') } {cell.detail}".strip()


def _pipe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
