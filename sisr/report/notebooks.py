"""Execution of notebooks with parameters, and export to self-contained HTML."""

import logging
from pathlib import Path
from typing import Any

from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write
from sisr.utils.imports import without

with without("rfc3987_syntax"):  # as in sisr/config/schema.py
    import nbformat
    import papermill
    from nbconvert import HTMLExporter
    from papermill.exceptions import PapermillExecutionError


def execute(source: Path, output: Path, parameters: dict[str, Any], html: Path | None = None) -> None:
    """Run a notebook from the current folder and write it with its outputs, and as HTML without the code.

    Args:
        source: notebook with a cell tagged `parameters`.
        output: the executed notebook, .ipynb.
        parameters: values for the names in that cell.
        html: where to write the HTML export, None for none.

    Raises:
        SisrError: the notebook is not there, or a cell of it fails.
    """
    if not source.is_file():
        raise SisrError(f"notebook {source} does not exist.")
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with atomic_write(output) as temporary:
            papermill.execute_notebook(
                source, temporary, parameters=parameters, progress_bar=False, cwd=Path.cwd(), kernel_name="python3"
            )
            _forget_paths(temporary, source, output)
            if html:
                exporter = HTMLExporter(
                    exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True, embed_images=True
                )
                text, _ = exporter.from_filename(str(temporary))
                with atomic_write(html) as page:
                    page.write_text(text.replace(f"<title>{temporary.stem}", f"<title>{source.stem}"), encoding="utf-8")
    except PapermillExecutionError as error:
        raise SisrError(f"a cell of {source} fails: {error.ename}: {error.evalue}") from error


def _forget_paths(notebook: Path, source: Path, output: Path) -> None:
    """Replace the temporary paths that papermill records."""
    content = nbformat.read(notebook, as_version=4)
    content.metadata.papermill |= {"input_path": str(source), "output_path": str(output)}
    nbformat.write(content, notebook)
