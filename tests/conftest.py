"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REFERENCE_DATA = Path(os.environ.get("SISR_REFERENCE_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of third-party test images and weights (`SISR_REFERENCE_DATA`); they may not be redistributed."""
    if not REFERENCE_DATA.is_dir():
        pytest.skip(f"no reference data at {REFERENCE_DATA} (set SISR_REFERENCE_DATA)")
    return REFERENCE_DATA
