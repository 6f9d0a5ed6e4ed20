"""Origin of a number: commit, machine, versions, command."""

import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

_ROOT = Path(__file__).parents[2]


def provenance(device: torch.device) -> dict[str, Any]:
    """Content of `provenance.json` on machine and code; unknown values are null."""
    commit, clean = git_state()
    return {
        "git_commit": commit,
        "git_clean": clean,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "timm": version("timm"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": shlex.join(["python", "-m", "sisr", *sys.argv[1:]]),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def device_name(device: torch.device) -> str:
    """Name of the GPU or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()} GPU" if device.type == "mps" else _processor()


def _processor() -> str:
    """Name of the processor: as Linux's /proc or macOS's sysctl states it, else as Python does."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        with suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes so far: allocated on the GPU, or resident of this process on the CPU.

    Apple's GPUs keep no peak: what is allocated now. The same where the system states no peak of a process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    try:
        import resource
    except ImportError:  # Windows, which states the peak itself
        now = psutil.Process().memory_info()
        return int(getattr(now, "peak_wset", now.rss))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes, except on macOS


@cache
def git_state() -> tuple[str | None, bool | None]:
    """Commit of this checkout and whether it is clean, as at the first call; (None, None) outside a checkout.

    Long work calls it when it starts, since the checkout may move on while it runs.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_ROOT), *arguments]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()

    try:
        return git("rev-parse", "HEAD"), not git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return None, None
