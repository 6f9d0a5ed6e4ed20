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
RUN_FILES = ("config.json", "weights.safetensors", "train.csv", "provenance.json")
"""Files of a trained run; the last one is written last."""


@dataclass(frozen=True)
class Results:
    """Everything of one preset: `results/<preset>/`."""

    root: Path

    @classmethod
    def of(cls, path: Path) -> "Results":
        """The results that a folder of a run or of its evaluation is in: `<root>/runs/<id>`."""
        return cls(path.parent.parent)

    @property
    def runs(self) -> Path:
        """One folder for each trained run."""
        return self.root / "runs"

    def run(self, name: str) -> Path:
        """Folder of a trained run."""
        return self.runs / name

    def run_files(self, name: str, files: Sequence[str] = RUN_FILES) -> tuple[Path, ...]:
        """Files of a trained run."""
        return tuple(self.run(name) / file for file in files)

    def weights(self, name: str) -> Path:
        """Weights of a trained run."""
        return self.run(name) / "weights.safetensors"

    @property
    def evaluations(self) -> Path:
        """One folder for each run, control or published network that was measured."""
        return self.root / "evaluation"

    def evaluation(self, name: str) -> Path:
        """Folder of the per-image rows of a run, a control or a published network."""
        return self.evaluations / name

    def rows(self, name: str, dataset: str, scale: int | str) -> Path:
        """Per-image rows on one test set."""
        return self.evaluation(name) / f"{dataset}_x{scale}.csv"

    @property
    def tables(self) -> Path:
        """The tables."""
        return self.root / "tables"

    def table(self, name: str, ending: str = "csv") -> Path:
        """One table as csv, md or html."""
        return self.tables / f"{name}.{ending}"

    @property
    def figures(self) -> Path:
        """The figures."""
        return self.root / "figures"

    def figure(self, name: str, ending: str = "png") -> Path:
        """One figure as png or svg; the maps of an attention figure as npy."""
        return self.figures / f"{name}.{ending}"

    @property
    def notebooks(self) -> Path:
        """The executed notebooks."""
        return self.root / "notebooks"

    def notebook(self, name: str, ending: str = "html") -> Path:
        """One executed notebook as ipynb or html."""
        return self.notebooks / f"{name}.{ending}"

    @property
    def analysis(self) -> Path:
        """The tables of what ENLA computes."""
        return self.root / "analysis"

    def complexity(self, name: str = "table4") -> Path:
        """Cost of the mechanisms of a table."""
        return self.root / "complexity" / f"{name}.csv"

    @property
    def comparison(self) -> Path:
        """What a comparison of mechanisms is made from."""
        return self.root / "comparison"

    @property
    def comparison_page(self) -> Path:
        """The page of a comparison."""
        return self.root / "comparison.html"

    @property
    def cost(self) -> Path:
        """Cost of the compared mechanisms at one size."""
        return self.comparison / "cost.csv"

    @property
    def cost_by_size(self) -> Path:
        """Time and memory of the compared mechanisms over image size."""
        return self.comparison / "cost_by_size.csv"

    @property
    def crops(self) -> Path:
        """Crops of a comparison, with `index.json`."""
        return self.comparison / "crops"

    @property
    def tried(self) -> Path:
        """Which versions of custom mechanisms passed the smoke test."""
        return self.comparison / "tried.json"

    @property
    def comparison_summary(self) -> Path:
        """A comparison as text."""
        return self.comparison / "summary.txt"

    @property
    def summary(self) -> Path:
        """The paper's tables as text."""
        return self.root / "summary.txt"

    @property
    def preset(self) -> Path:
        """The preset that `launch` made, with all changes."""
        return self.root / "preset.yaml"

    @property
    def launch_status(self) -> Path:
        """What `launch` has finished so far."""
        return self.root / "launch.json"

    @property
    def launch_lock(self) -> Path:
        """Held while `launch` runs."""
        return self.root / "launch.lock"

    def log(self, *names: str) -> Path:
        """Log of one job: its stage, and what it makes."""
        *stage, name = names
        return self.root.joinpath("logs", *stage, f"{name}.log")

    def benchmark(self, stage: str, name: str) -> Path:
        """Time and memory of one job, as Snakemake measures them."""
        return self.root / "benchmarks" / stage / f"{name}.tsv"
