"""Free this folder from the lock of a Snakemake that was killed: `make reproduce` goes on after a power cut.

Snakemake never removes such a lock by itself, since another instance may be running; here that is looked up.
"""

import shutil
import sys
from pathlib import Path

import psutil

LOCKS = Path(".snakemake/locks")


def running() -> list[int]:
    """Process ids of every Snakemake that works in this folder."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if any(Path(word).name == "snakemake" for word in words) and process.info["cwd"] == str(Path.cwd()):
            found.append(process.info["pid"])
    return found


if LOCKS.is_dir() and any(LOCKS.iterdir()):
    if others := running():
        sys.exit(f"Snakemake is at work in this folder already (process {others[0]}); wait for it or stop it.")
    shutil.rmtree(LOCKS)
    print("An earlier call was killed; going on where it was.")
