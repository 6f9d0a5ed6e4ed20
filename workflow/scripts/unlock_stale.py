"""Remove the lock of a killed Snakemake process, so that `make reproduce` resumes after a power failure.

Snakemake keeps such a lock because another instance may be running; this script checks whether one is.
"""

import shutil
import sys
from pathlib import Path

import psutil

LOCKS = Path(".snakemake/locks")


def running() -> list[int]:
    """Process ids of all Snakemake instances in this folder."""
    pids = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if any(Path(word).name == "snakemake" for word in words) and process.info["cwd"] == str(Path.cwd()):
            pids.append(process.info["pid"])
    return pids


if LOCKS.is_dir() and any(LOCKS.iterdir()):
    if others := running():
        sys.exit(f"Snakemake is already running in this folder (process {others[0]}); wait for it or stop it.")
    shutil.rmtree(LOCKS)
    print("An earlier run was killed; resuming.")
