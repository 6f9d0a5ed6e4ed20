"""One GPU for each process, on machines with several: claimed by a lock that ends with the process.

`claim` is called before CUDA starts and sets CUDA_VISIBLE_DEVICES. The kernel frees a lock (flock) however the process
ends, so nothing is left to clean up after a crash. Within what CUDA_VISIBLE_DEVICES already allows (a scheduler's
choice, or the user's), GPUs are identified by their UUID. All users of a machine share the lock files; the package
filelock refuses those of other users in a folder such as /tmp, so flock is called here.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sisr.utils.errors import UsageError

HELP = "auto (default): a GPU that no other run uses, or the CPU without one; cpu, cuda (as auto), cuda:1 (that one) …"
"""Help text of `--device` of every command."""
RUNS = "SISR_RUNS_PER_GPU"
"""Environment variable: how many processes may share a GPU. Where it is set, a process waits until one is free."""
LOCKS = "SISR_GPU_LOCKS"
"""Environment variable: the folder of the lock files, /tmp if unset: one for all users of a machine."""
CLAIMED = "SISR_GPU"
"""Environment variable: UUID of the GPU that this process, or the one that started it, has claimed."""
_SHARED_FOLDER = tempfile.gettempdir() if sys.platform == "win32" else "/tmp"
_held: list[Any] = []  # file descriptors, or filelock's locks: a lock lasts as long as its file is open


def visible() -> list[tuple[str, str]]:
    """GPUs that this process may use, as (its name for CUDA_VISIBLE_DEVICES, its UUID); empty without NVIDIA's driver.

    A GPU that is divided (MIG) counts as its parts.
    """
    try:
        command = ["nvidia-smi", "--list-gpus"]
        listing = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    whole: list[str] = []
    parts: dict[str, list[str]] = {}
    for uuid in re.findall(r"UUID: ([\w-]+)", listing):
        if uuid.startswith("MIG") and whole:
            parts[whole[-1]].append(uuid)
        else:
            whole.append(uuid)
            parts[uuid] = []
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return [(uuid, uuid) for gpu in whole for uuid in parts[gpu] or [gpu]]
    known = [*whole, *(uuid for gpu in whole for uuid in parts[gpu])]
    allowed = []
    for name in filter(None, asked.replace(" ", "").split(",")):
        if name.isdecimal():
            matching = whole[int(name) : int(name) + 1]
        else:
            matching = [uuid for uuid in known if uuid.startswith(name)][:1]  # CUDA takes the beginning of a UUID, too
        if not matching:
            break  # as CUDA does: what follows an unknown name is not seen
        allowed.append((name, matching[0]))
    return allowed


def slots() -> int:
    """How many runs this machine's GPUs take at once: one a GPU, or as many as `SISR_RUNS_PER_GPU` sets."""
    return len(visible()) * _runs_per_gpu()


def claim(device: str) -> None:
    """Choose a GPU that no other process of this suite uses, and let CUDA see only that one.

    Does nothing for another device than "auto" and "cuda", without GPU, in a process of torchrun (which counts them
    itself), and if this process or the one that started it has claimed one before. If all are in use, a process waits
    where `SISR_RUNS_PER_GPU` is set, as it is in jobs of the pipeline; otherwise it shares the first one. Both are
    reported in one line.

    device: as on the command line: `auto`, `cpu`, `cuda`, `cuda:1` …
    Raises UsageError where `SISR_RUNS_PER_GPU` is not a number above 0, or the lock files' folder cannot be written.
    """
    if device not in ("auto", "cuda") or "LOCAL_RANK" in os.environ or CLAIMED in os.environ:
        return
    gpus = visible()
    if not gpus:
        return
    runs = _runs_per_gpu()
    waiting = False
    while True:
        for run in range(runs):
            for name, uuid in gpus:
                if _lock(uuid, run):
                    os.environ.update({"CUDA_VISIBLE_DEVICES": name, CLAIMED: uuid})
                    return
        if RUNS not in os.environ:
            which = "the GPU is" if len(gpus) == 1 else f"all {len(gpus)} GPUs are"
            print(f"{which} in use by other runs; sharing the first.", file=sys.stderr, flush=True)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[0][0]
            return
        if not waiting:
            print(f"waiting for a GPU: {len(gpus)} of {len(gpus)} in use by other runs.", file=sys.stderr, flush=True)
            waiting = True
        time.sleep(1)


def _runs_per_gpu() -> int:
    value = os.environ.get(RUNS, "1")
    if not value.isdecimal() or int(value) < 1:
        raise UsageError(f"{RUNS} is {value!r}; it must be a whole number above 0.")
    return int(value)


def _lock(uuid: str, run: int) -> bool:
    """Try to lock one place on a GPU for the rest of this process's life."""
    path = Path(os.environ.get(LOCKS) or _SHARED_FOLDER) / f"sisr-gpu-{uuid}-{run}.lock"
    try:
        return _flock(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be opened ({error.strerror}); set {LOCKS} to another folder.") from error


def _flock(path: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows, where every user has a folder for temporary files
        from filelock import FileLock, Timeout

        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return False
        _held.append(lock)
        return True
    handle = _open(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    _held.append(handle)
    return True


def _open(path: Path) -> int:
    """The lock file, made if it is not there. In /tmp, no user may create over, or needs to write, another's."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444)
    except FileExistsError:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
