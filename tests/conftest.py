"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers import warm

# the same cases in every run, `make fuzz` tries new ones; no test fails because a machine is slow
settings.register_profile("repeatable", derandomize="SISR_FUZZ" not in os.environ, deadline=None)
settings.load_profile("repeatable")

# two processes of one thread test faster than one whose threads wait for each other; read when torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
# torch.compile would start processes to compile in, each of which imports torch
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

# files that take longest, longest first: one that begins last would be waited for
LONG = (
    "workflow/test_workflow.py", "comparison/test_compare_pipeline.py", "launch/test_launch.py",
    "docs/test_docs_commands.py", "training/test_training_resume.py", "workflow/test_slurm.py",
    "training/test_training_processes.py", "training/test_training_settings.py", "launch/test_local_jobs.py",
    "config/test_visual.py", "cli/test_check.py", "docs/test_docs.py",
)  # fmt: skip

ROOT = Path(__file__).parent.parent
REFERENCE_DATA = Path(os.environ.get("SISR_REFERENCE_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which files are begun, with --no-loadscope-reorder also among several processes."""
    order = {ROOT / "tests" / name: place for place, name in enumerate(LONG)}
    assert all(file.is_file() for file in order)
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture
def warm_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks are executed in warm processes (tests/helpers/warm.py)."""
    monkeypatch.setattr("sys.executable", warm.python())


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of third-party test images and weights (`SISR_REFERENCE_DATA`); they may not be redistributed."""
    if not REFERENCE_DATA.is_dir():
        pytest.skip(f"no reference data at {REFERENCE_DATA} (set SISR_REFERENCE_DATA)")
    return REFERENCE_DATA
