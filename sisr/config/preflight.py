"""Custom mechanisms are tried once a version, when the workflow is planned: errors are reported before any job."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from sisr.config import comparison
from sisr.config.run import Run
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write, sha256


def try_own(runs: Iterable[Run], registered: Mapping[str, Path], record: Path) -> None:
    """Try the mechanisms of runs that are not the paper's, in a process of their own (`sisr.training.smoke_test`).

    registered: files of the registered mechanisms. record: file of the versions that passed; they are not tried again.
    Where this Python has no torch (the jobs have an environment of their own), nothing is tried here, and the first job
    that needs the mechanism fails.
    Raises SisrError with one sentence on the first mechanism that does not work.
    """
    files = {comparison.network_spec(run): comparison.code(run, registered) for run in comparison.own(runs)}
    wanted = {spec: sha256(file) for spec, file in files.items() if file and file.suffix == ".py"}
    passed = json.loads(record.read_text()) if record.is_file() else {}
    new = [spec for spec, digest in wanted.items() if passed.get(spec) != digest]
    if not new or find_spec("torch") is None:
        return
    done = subprocess.run(
        [sys.executable, "-m", "sisr", "compare", "check", *new], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it could not be tried."]
        raise SisrError(lines[-1].removeprefix("sisr compare check: "))
    with atomic_write(record) as temporary:
        temporary.write_text(json.dumps(passed | {spec: wanted[spec] for spec in new}, indent=1) + "\n")
