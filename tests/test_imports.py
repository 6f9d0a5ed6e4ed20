"""Imports run downwards between the stages; the contracts are in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


def test_imports_run_downwards(root: Path) -> None:
    done = subprocess.run([LINT_IMPORTS, "--no-logo", "--no-cache"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
