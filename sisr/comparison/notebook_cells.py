"""What the notebook of a comparison shows: files of a results folder, and sentences computed from them."""

from pathlib import Path

from sisr.comparison import result, sentences
from sisr.report.notebook_cells import Markdown, Png
from sisr.utils.errors import SisrError

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


def figure(name: str, results: str) -> Png | Markdown:
    """A figure as it stands in `figures/`: one of `sisr.comparison.result.FIGURES`.

    Raises SisrError where it was not drawn; crops, which need the test images, may be absent.
    """
    path = Path(results) / "figures" / f"{name}.png"
    if path.is_file():
        return Png(path.read_bytes())
    if name == CROPS:
        return Markdown(
            f"No crops were made for this comparison (`python -m sisr compare crops --results {results} --data …`)."
        )
    raise SisrError(f"there is no {path}; run python -m sisr compare figures --results {results} first.")
