"""The commands that the documentation shows, and how each of them is checked.

A command is a line of a block marked `sh`; `\\` goes on on the next line. `HOW` says what is done with it, by the words
that it begins with, the longest beginning first. A command that begins with none of them has to be added there.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = ("sh", "python", "yaml", "csv", "json", "bibtex", "text", "console", "html", "toml", "ini")


@dataclass(frozen=True)
class Command:
    """One command, or a block of Python, of one page."""

    page: str
    line: int
    text: str
    python: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Way:
    """How a command is checked."""

    kind: str
    """run (as it stands), parsed (the words are accepted, nothing runs), flags (its --help knows every flag),
    known (only that it is in this list)."""
    added: str = ""
    """Words added at the end, so that it runs at tiny size, or makes its plan only."""
    why: str = ""
    """Why it is not run as it stands."""


RUN = Way("run")
PLAN = Way("run", "-n --quiet rules", "trains for minutes or days; its plan is made, and test_workflow.py runs one")
MAKE = Way("run", "-n", "takes minutes; make says what it would run")
DOWNLOADS = Way("parsed", why="downloads")
FLAGS = "runs for minutes, or needs what is not here"
TINY_TRAINING = "--steps 2 --batch 2 --patch 8 --blocks 1 --channels 8 --slots 0 --threads 1"

HOW = {
    "python -m sisr": RUN,
    "python -m sisr train": Way("run", TINY_TRAINING, "a small network, two steps"),
    "python -m sisr train --network enlcn --attention enlca --scale 2 --train BSDS400 --start-from": Way(
        "parsed", why="needs weights to start from; test_warm_start.py trains from some"
    ),
    "python -m sisr attention-map data/prepared/Set5:butterfly": Way(
        "parsed", why="needs Set5; the other pages draw such figures from a photograph"
    ),
    "python -m sisr analyse --results results/laptop": Way("parsed", why="needs Set5 and runs of hours"),
    "python -m sisr complexity": Way("run", "--seconds 0.01 --size 16 16", "a small feature map, for an instant"),
    "python -m sisr leaderboard cost": Way("parsed", why="measures for a minute; test_leaderboard.py measures two"),
    "python -m sisr launch": Way("run", "--plan --probe 0", "trains for minutes; it makes its plan"),
    "python -m sisr fetch": DOWNLOADS,
    "python -m sisr fetch photographs": RUN,
    "python -m sisr fetch --list": RUN,
    "python -m sisr prepare": Way("parsed", why="needs a set's own images, which are recognised by their content"),
    "python -m sisr prepare photographs": RUN,
    "python -m sisr reference-checks": Way("parsed", why="needs third parties' images: test_checks.py"),
    "python -m sisr check": Way("run", "--only shapes gradients", "test_new_attention.py makes all checks"),
    "python -m sisr notebook": Way("parsed", why="starts a kernel; test_notebooks.py executes every notebook"),
    "python -m pytest": Way("run", "--collect-only", "the tests that are running"),
    "python -m benchmarks": Way("flags", why=FLAGS),
    "benchmarks/on_gpu.sh": Way("known", why="needs a GPU; test_on_gpu.py follows its calls"),
    "python workflow/scripts/unlock_stale.py": RUN,
    "torchrun": Way("parsed", why="several processes; test_training_processes.py starts them"),
    "srun torchrun": Way("parsed", why="several machines; what srun starts is taken by its parsers"),
    "snakemake": PLAN,
    "snakemake --cores 8 --use-conda": Way("flags", why="conda is not everywhere"),
    "generate-slurm-partition-config": Way("flags", why="needs a cluster to look at"),
    "squeue": Way("known", why="Slurm's own; test_slurm.py runs it where Slurm is"),
    "kubectl": Way("known", why="needs a cluster"),
    "make": MAKE,
    "source .venv/bin/activate": Way("known", why="the tests run in an environment already"),
    "git clone": Way("known", why="an address that is the user's"),
    "docker build": Way("known", why="Docker is not everywhere; test_make.py runs the steps of the Dockerfile"),
    "cd": Way("known", why="goes with git clone"),
}


def way(command: str) -> Way | None:
    """How a command is checked, None where nobody has said so."""
    beginnings = [known for known in HOW if command == known or command.startswith((known + " ", known + "."))]
    return HOW[max(beginnings, key=len)] if beginnings else None


def pages() -> list[Path]:
    """All pages with commands."""
    return [
        *sorted((ROOT / "docs").glob("*.md")),
        *(
            ROOT / name
            for name in ("README.md", "CONTRIBUTING.md", "config/README.md", "data/README.md", "results/README.md")
        ),
    ]


def blocks(page: Path) -> list[tuple[str, int, list[str]]]:
    """Language, line and lines of each fenced block; a block in a list is moved to the margin."""
    found: list[tuple[str, int, list[str]]] = []
    language: str | None = None
    fence = ""
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        mark = re.match(r"^ *(`{3,})\s*(\w*)", line)
        if language is None and mark:
            fence, language = mark.groups()
            found.append((language, number + 1, []))
        elif language is not None and line.strip() == fence:
            language = None
        elif language is not None:
            found[-1][2].append(line)
    assert language is None, f"{page} ends within a block"
    return found


def commands(page: Path) -> list[Command]:
    """What a page shows to be typed, in order."""
    name = str(page.relative_to(ROOT))
    found = []
    for language, start, lines in blocks(page):
        if language == "python":
            found.append(Command(name, start, "\n".join(lines), python=True))
        elif language == "sh":
            whole, first = "", start
            for number, line in enumerate(lines, start=start):
                first = first if whole else number
                whole += line.strip().removesuffix("\\")
                if line.rstrip().endswith("\\"):
                    continue
                if whole and not whole.startswith("#"):
                    found.append(Command(name, first, whole))
                whole = ""
    return found
