"""environment.yml, pyproject.toml and requirements.lock say the same; the repository is what a public one has."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# conda-forge's names where they differ
CONDA_NAMES = {"matplotlib-base": "matplotlib", "pytorch": "torch", "snakemake-minimal": "snakemake"}


def project() -> dict[str, SpecifierSet]:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return {canonicalize_name(item.name): item.specifier for item in map(Requirement, listed)}


def conda() -> dict[str, SpecifierSet]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pairs = (item.split(maxsplit=1) for item in listed)
    return {canonicalize_name(CONDA_NAMES.get(name, name)): SpecifierSet(bound) for name, bound in pairs}


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
    assert environment == project()


def test_lock_fulfils_the_project() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*listed["dependencies"], *(item for extra in listed["optional-dependencies"].values() for item in extra)]
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


@pytest.mark.parametrize("name", ["LICENSE", "CITATION.cff", ".snakemake-workflow-catalog.yml", "README.md"])
def test_repository_has(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0


def test_citation_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == "MIT"
    assert "Efficient Non-Local Contrastive Attention" in citation["references"][0]["title"]
    assert citation["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_every_rule_names_its_environment() -> None:
    for file in (ROOT / "workflow" / "rules").glob("*.smk"):
        rules = re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]
        for rule in rules:
            if "shell:" in rule:
                assert 'conda:\n        "../../environment.yml"' in rule, f"{file.name}: {rule.splitlines()[0]}"
                assert "python -m sisr" in rule
                assert "log:" in rule
