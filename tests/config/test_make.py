"""`make environment` and the Dockerfile, with stand-ins for what would download: which commands run, in which order."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line]
# `python -m venv FOLDER` makes an environment whose pip only records what it is asked for, and copies the lists
PYTHON = """#!/bin/sh
if [ "$1 $2" != "-m venv" ]; then exec {python} "$@"; fi
mkdir -p "$3/bin"
cp {pip} "$3/bin/pip"
"""
PIP = """#!/bin/sh
echo "{name} $*" >> {calls}
for word in "$@"; do case "$word" in
    *.txt|*.lock) cp "$word" {folder}/asked-$(wc -l < {calls}) ;;
    .) touch .venv/bin/sisr && chmod +x .venv/bin/sisr ;;
esac; done
"""


class Stand:
    """A folder with what `make environment` needs of the repository, and programs that only record their calls."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.calls_file = folder, folder / "bin", folder / "calls"
        self.bin.mkdir()
        for name in ("Makefile", "requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        self.program("pip")
        self.write("python3", PYTHON.format(python=sys.executable, pip=self.bin / "pip"))

    def program(self, name: str) -> None:
        self.write(name, PIP.format(name=name, calls=self.calls_file, folder=self.folder))

    def write(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        system = os.pathsep.join(["/usr/bin", "/bin"])
        inherited = {"PATH": f"{self.bin}{os.pathsep}{system}", "HOME": str(self.folder)}
        return subprocess.run(
            ["sh", "-ec", command], cwd=self.folder, capture_output=True, text=True, env=inherited | environment
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()

    def asked(self, call: int) -> list[str]:
        """Packages of the list that a call, counted from 1, was given."""
        return (self.folder / f"asked-{call}").read_text().splitlines()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_environment_shows_what_arrives(stand: Stand) -> None:
    done = stand.run("make environment")
    assert done.returncode == 0, done.stderr
    assert f"installing {len(LOCK)} packages into .venv" in done.stdout
    first, last = stand.calls
    assert first == "pip install --requirement requirements.lock"  # not quiet: pip shows each package
    assert last.endswith("--no-deps --no-build-isolation --editable .")
    assert (
        "up to date" in stand.run("make environment").stdout
        or "Nothing to be done" in stand.run("make environment").stdout
    )
    assert len(stand.calls) == 2


def test_torch_comes_from_the_users_index_without_cuda(stand: Stand) -> None:
    done = stand.run("make environment TORCH_INDEX=https://example.org/cpu")
    assert done.returncode == 0, done.stderr
    first, second, _ = stand.calls
    assert first == "pip install --no-deps --index-url https://example.org/cpu --requirement .venv/torch.txt"
    assert second == "pip install --requirement .venv/others.txt"
    assert [line.partition("=")[0] for line in stand.asked(1)] == ["torch", "torchvision"]
    left_out = {re.split("[=-]", line)[0] for line in set(LOCK) - set(stand.asked(1)) - set(stand.asked(2))}
    assert left_out == {"cuda", "nvidia", "triton"}
    assert set(stand.asked(1)) | set(stand.asked(2)) <= set(LOCK)


def test_uv_is_used_where_it_is_installed(stand: Stand) -> None:
    stand.program("uv")
    assert stand.run("make environment").returncode == 0
    first, last = stand.calls
    assert first == "uv pip install --python .venv/bin/python --requirement requirements.lock"
    assert last.startswith("uv pip install --python .venv/bin/python")


def test_an_interrupted_installation_is_repeated(stand: Stand) -> None:
    stand.write("pip", "#!/bin/sh\nexit 1\n")
    assert stand.run("make environment").returncode != 0
    assert not (stand.folder / ".venv" / "complete").exists()
    stand.program("pip")
    assert stand.run("make environment").returncode == 0


def steps(dockerfile: str) -> list[str]:
    """The commands of its RUN lines."""
    joined = dockerfile.replace("\\\n", " ")
    return [line.removeprefix("RUN ") for line in joined.splitlines() if line.startswith("RUN ")]


@pytest.mark.parametrize("index", ["", "https://example.org/cpu"])
def test_steps_of_the_dockerfile(stand: Stand, index: str) -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE) == ["python:3.13-slim"]
    assert text.index("ARG BASE") < text.index("FROM ${BASE}") < text.index("ARG TORCH_INDEX")
    stand.program("apt-get")
    stand.write("rm", '#!/bin/sh\ncase "$*" in "-rf /"*) ;; *) exec /bin/rm "$@" ;; esac\n')
    for step in steps(text):
        done = stand.run(step, TORCH_INDEX=index)
        assert done.returncode == 0, done.stderr
    update, packages, *installed = stand.calls
    assert update == "apt-get update"
    assert {"make", "git", "python3-venv"} <= set(packages.split())
    assert ("--index-url https://example.org/cpu" in installed[0]) == bool(index)
    # what is started is what was installed
    (path,) = re.findall(r"^ENV PATH=(\S+):\$PATH", text, re.MULTILINE)
    assert path == "/sisr/.venv/bin"
    assert (stand.folder / ".venv" / "bin" / "sisr").exists()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_workflow_calls_the_two_commands_and_the_linters() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    called = [step["run"].split()[1] for step in job["steps"] if "run" in step]
    assert called == ["environment", "lint", "reproduce", "test"]
    assert set(called) <= targets()
    assert "runs-on: ubuntu" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_hooks_are_commands_of_make_lint() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"  # nothing is downloaded
    makefile = (ROOT / "Makefile").read_text()
    for hook in local["hooks"]:
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert f"$(BIN)/{program}" in makefile
        assert hook["language"] == "system"


def test_forms_of_issues_are_valid() -> None:
    for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(file.read_text())
        assert {"name", "description", "body"} <= set(form)
        identifiers = [part["id"] for part in form["body"]]
        assert len(set(identifiers)) == len(identifiers)
        assert all(part["type"] in ("input", "textarea") and part["attributes"]["label"] for part in form["body"])
