"""What the notebook of a comparison shows: files of a results folder, and sentences computed from them."""

from pathlib import Path

from IPython.display import HTML, Image, Markdown

from sisr.comparison import result, sentences, table_view
from sisr.config.layout import Results
from sisr.report.notebook_cells import image
from sisr.report.tables import render

CROPS = "compare_crops"


def answer(results: str) -> Markdown:
    """The verdict on each mechanism, and its sentences."""
    comparison = result.read(Path(results))
    lines = []
    for label in comparison.others:
        words = ", ".join(words for _, words in sentences.summary(comparison, label))
        lines.append(f"**{label}: {words or 'not compared'}.**")
        lines += [sentences.sentence(comparison, label, dataset) for dataset in comparison.datasets]
        lines.append(sentences.cost(comparison, label))
    return Markdown("\n\n".join(line for line in lines if line))


def table(results: str) -> HTML:
    """The table with differences, verdicts and costs."""
    return HTML(render.html(table_view.view(result.read(Path(results)).table)))


def figure(name: str, results: str) -> Image | Markdown:
    """A figure `figures/<name>.png`: one of `sisr.comparison.result.FIGURES`.

    Raises SisrError if it is missing; crops need the test images and may be absent.
    """
    path = Results(Path(results)).figure(name)
    if name == CROPS and not path.is_file():
        return Markdown(
            f"No crops were made for this comparison (`python -m sisr compare crops --results {results} --data …`)."
        )
    return image(path, f"compare figures --results {results}")
