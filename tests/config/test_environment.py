"""environment.yml, pyproject.toml and requirements.lock say the same; the repository is what a public one has."""

import asyncio
import json
import re
import subprocess
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import rattler
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler.exceptions import SolverError

import sisr
from sisr.cli import main

ROOT = Path(__file__).parents[2]
# the package registry's names by conda-forge's, as written there; all others are the same, to the letter
CONDA_NAMES = {
    "great_tables": "great-tables",
    "matplotlib-base": "matplotlib",
    "pytorch": "torch",
    "snakemake-minimal": "snakemake",
}
# what a conda package fails to require although it imports it: the package that lacks it, and the lowest version
MISSING_REQUIREMENTS = {"iopath": ("fvcore", SpecifierSet(">=0.1.7"))}
CHANNELS = yaml.safe_load((ROOT / "tests" / "fixtures" / "conda_channels.yaml").read_text())


def project() -> dict[str, SpecifierSet]:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return {canonicalize_name(item.name): item.specifier for item in map(Requirement, needed)}


def listed() -> list[str]:
    dependencies: list[str] = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    return dependencies


def conda() -> dict[str, SpecifierSet]:
    """What environment.yml asks for, by the package registry's names."""
    bounds = {line.split()[0]: str(rattler.MatchSpec(line, strict=True).version) for line in listed()}
    return {CONDA_NAMES.get(name, name): SpecifierSet(bound) for name, bound in bounds.items()}


def channels(folder: Path, described: dict[str, dict[str, dict[str, Any]]]) -> list[rattler.SparseRepoData]:
    """The channels as conda's solver reads them; packages by channel and name."""
    written = []
    for channel, packages in described.items():
        records = {
            f"{name}-{package['version']}-0.conda": {
                "name": name,
                "version": str(package["version"]),
                "build": "0",
                "build_number": 0,
                "depends": package["depends"],
                "noarch": "generic",
                "subdir": "noarch",
                "sha256": "0" * 64,
                "size": 1,
            }
            for name, package in packages.items()
        }
        file = folder / channel / "noarch" / "repodata.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": records}))
        written.append(rattler.SparseRepoData(rattler.Channel(channel), "noarch", file))
    return written


def solved(lines: list[str], available: list[rattler.SparseRepoData]) -> dict[str, str]:
    """Versions by name, as conda would install them. Raises SolverError where the requests cannot be met."""
    specs = [rattler.MatchSpec(line, strict=True) for line in lines]
    records = asyncio.run(rattler.solve_with_sparse_repodata(specs, available))
    return {record.name.source: str(record.version) for record in records}


def lock() -> dict[str, list[Requirement]]:
    locked: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        item = Requirement(line)
        locked.setdefault(canonicalize_name(item.name), []).append(item)
    return locked


def test_conda_environment_has_what_the_project_needs() -> None:
    environment = conda()
    python = environment.pop("python")
    assert python == SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    for name, (package, lowest) in MISSING_REQUIREMENTS.items():
        assert environment.pop(name) == lowest
        # the registry's package requires it, conda-forge's does not
        required = {item.name: item.specifier for item in map(Requirement, metadata.requires(package) or [])}
        assert required[name] == lowest
        assert not [line for line in CHANNELS["conda-forge"][package]["depends"] if line.split()[0] == name]
    assert environment == project()


def test_conda_names_are_those_of_its_channels() -> None:
    known = {name for packages in CHANNELS.values() for name in packages}
    assert [line.split()[0] for line in listed() if line.split()[0] not in known] == []
    assert set(CONDA_NAMES) <= known
    assert not set(CONDA_NAMES.values()) & known  # under their other names they are not there
    assert yaml.safe_load((ROOT / "environment.yml").read_text())["channels"] == list(CHANNELS)


def test_conda_can_solve_the_environment(tmp_path: Path) -> None:
    available = channels(tmp_path, CHANNELS)
    versions = solved(listed(), available)
    assert set(versions) == {line.split()[0] for line in listed()}
    for line in listed():
        name, bound = line.split()
        assert rattler.VersionSpec(bound).matches(rattler.Version(versions[name]))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("great_tables >=0.18", "great-tables >=0.18"),  # the registry's spelling
        ("great_tables >=0.18", "great_tables >=99"),
        ("pytorch >=2.11", "torch >=2.11"),
        ("numpy >=1.26", "numpy >=1.26,<2"),  # others need a newer one
    ],
)
def test_a_wrong_name_or_pin_is_noticed(tmp_path: Path, line: str, wrong: str) -> None:
    assert line in listed()
    available = channels(tmp_path, CHANNELS)
    with pytest.raises(SolverError):
        solved([wrong if item == line else item for item in listed()], available)


def test_a_package_of_the_wrong_channel_is_noticed(tmp_path: Path) -> None:
    available = channels(tmp_path, {"conda-forge": CHANNELS["conda-forge"]})
    with pytest.raises(SolverError, match="No candidates were found for snakemake-"):
        solved(listed(), available)  # snakemake is on bioconda only


def test_lock_fulfils_the_project() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*declared["dependencies"], *chain(*declared["optional-dependencies"].values())]
    locked = lock()
    for item in map(Requirement, wanted):
        found = locked[canonicalize_name(item.name)]
        for pinned in found:
            version = str(pinned.specifier).removeprefix("==")
            assert item.specifier.contains(version, prereleases=True), f"{item} but {pinned}"


def test_lock_pins_everything_and_names_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--" not in text
    for items in lock().values():
        for item in items:
            assert re.fullmatch(r"==[^,*]+", str(item.specifier)), item


@pytest.mark.parametrize(
    "name",
    [
        *("LICENSE", "CITATION.cff", ".snakemake-workflow-catalog.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
        *("Dockerfile", ".dockerignore", ".pre-commit-config.yaml", ".github/workflows/ci.yml"),
        *(".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/mechanism.yml", ".github/pull_request_template.md"),
    ],
)
def test_repository_has(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0


def test_citation_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == "MIT"
    assert "Efficient Non-Local Contrastive Attention" in citation["references"][0]["title"]


def test_the_version_is_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert declared["project"]["dynamic"] == ["version"]
    assert declared["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "sisr.__version__"}
    assert main(["--version"]) == 0
    version = capsys.readouterr().out.strip()
    assert version == sisr.__version__
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = [name for name in tracked if name.endswith((".py", ".toml", ".cff", ".yml"))]
    assert [name for name in texts if f'"{version}"' in (ROOT / name).read_text()] == ["sisr/__init__.py"]
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_every_rule_names_its_environment() -> None:
    for file in (ROOT / "workflow" / "rules").glob("*.smk"):
        rules = re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]
        for rule in rules:
            if "shell:" in rule:
                assert 'conda:\n        "../../environment.yml"' in rule, f"{file.name}: {rule.splitlines()[0]}"
                assert "python -m sisr" in rule
                assert "log:" in rule
