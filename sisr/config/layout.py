"""Where everything is under `results/`: the only module that builds these paths.

Only the standard library is used, and names may hold wildcards of Snakemake: `Results(root).table("{table}")`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CATALOGUE = REPOSITORY / "data" / "datasets.yaml"
"""What is known of each image set."""
PUBLISHED = REPOSITORY / "results" / "published"
"""The paper's numbers, as CSV files."""
IMAGES = "images-"
"""Beginning of the name of an evaluation of SR images that authors published: `images-rcan-x4`."""
RUN_FILES = ("config.json", "weights.safetensors", "train.csv", "provenance.json")
"""Files of a trained run; the last one is written last."""


@dataclass(frozen=True)
class _Below:
    """An attribute of `Results`: a path below its root."""

    path: str

    def __get__(self, results: "Results", owner: object) -> Path:
        return results.root / self.path


@dataclass(frozen=True)
class Results:
    """Everything of one preset: `results/<preset>/`."""

    root: Path

    runs = _Below("runs")
    """One folder for each trained run."""
    evaluations = _Below("evaluation")
    """One folder for each run, control or published network that was measured."""
    validations = _Below("validation")
    """One folder for each run of a search over learning rates, measured on the validation sets."""
    tables = _Below("tables")
    """The tables."""
    figures = _Below("figures")
    """The figures."""
    notebooks = _Below("notebooks")
    """The executed notebooks."""
    analysis = _Below("analysis")
    """The tables of what ENLA computes."""
    comparison = _Below("comparison")
    """What a comparison of mechanisms is made from."""
    comparison_page = _Below("comparison.html")
    """The page of a comparison."""
    cost = _Below("comparison/cost.csv")
    """Cost of the compared mechanisms at one size."""
    cost_by_size = _Below("comparison/cost_by_size.csv")
    """Time and memory of the compared mechanisms over image size."""
    learning_rates = _Below("comparison/learning_rates.csv")
    """The learning rates that were tried for the compared mechanisms, and the chosen ones."""
    leaderboard_page = _Below("leaderboard.html")
    """The page of the leaderboard."""
    leaderboard_cost = _Below("leaderboard/cost.csv")
    """Cost of every mechanism of the leaderboard at several sizes."""
    crops = _Below("comparison/crops")
    """Crops of a comparison, with `index.json`."""
    checked = _Below("checked.json")
    """Which networks of the preset were built on trial, by settings and code."""
    comparison_summary = _Below("comparison/summary.txt")
    """A comparison as text."""
    summary = _Below("summary.txt")
    """The paper's tables as text."""
    preset = _Below("preset.yaml")
    """The preset that `launch` made, with all changes."""
    launch_status = _Below("launch.json")
    """What `launch` has finished so far."""
    launch_lock = _Below("launch.lock")
    """Held while `launch` runs."""

    @classmethod
    def of(cls, path: Path) -> "Results":
        """The results that a folder of a run or of its evaluation is in: `<root>/runs/<id>`."""
        return cls(path.parent.parent)

    def run(self, name: str) -> Path:
        """Folder of a trained run."""
        return self.runs / name

    def run_files(self, name: str, files: Sequence[str] = RUN_FILES) -> tuple[Path, ...]:
        """Files of a trained run."""
        return tuple(self.run(name) / file for file in files)

    def weights(self, name: str) -> Path:
        """Weights of a trained run."""
        return self.run(name) / "weights.safetensors"

    def evaluation(self, name: str) -> Path:
        """Folder of the per-image rows of a run, a control or a published network."""
        return self.evaluations / name

    def rows(self, name: str, dataset: str, scale: int | str) -> Path:
        """Per-image rows on one test set."""
        return self.evaluation(name) / f"{dataset}_x{scale}.csv"

    def validation(self, name: str) -> Path:
        """Folder of the per-image rows of a run on the validation sets."""
        return self.validations / name

    def table(self, name: str, ending: str = "csv") -> Path:
        """One table as csv, md or html."""
        return self.tables / f"{name}.{ending}"

    def figure(self, name: str, ending: str = "png") -> Path:
        """One figure as png or svg; the maps of an attention figure as npy."""
        return self.figures / f"{name}.{ending}"

    def notebook(self, name: str, ending: str = "html") -> Path:
        """One executed notebook as ipynb or html."""
        return self.notebooks / f"{name}.{ending}"

    def complexity(self, name: str = "table4") -> Path:
        """Cost of the mechanisms of a table."""
        return self.root / "complexity" / f"{name}.csv"

    def log(self, *names: str) -> Path:
        """Log of one job: its stage, and what it makes."""
        *stage, name = names
        return self.root.joinpath("logs", *stage, f"{name}.log")

    def benchmark(self, stage: str, name: str) -> Path:
        """Time and memory of one job, as Snakemake measures them."""
        return self.root / "benchmarks" / stage / f"{name}.tsv"
