"""How much memory a network needs for an image, estimated from small images, and how much is available."""

import re
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_PROBES = (16, 32, 48)
_MARGIN = 1.5
"""Workspaces inside an operator (cuDNN, im2col) are not seen by the count."""
# control groups, versions 2 and 1: file of the limit, of the use, and what in memory.stat can be reclaimed
_CGROUP_FILES = (
    ("memory.max", "memory.current", ("inactive_file ", "active_file ")),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file ", "total_active_file ")),
)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive at once while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            size = storage.nbytes()
            self.now += size
            self.peak = max(self.peak, self.now)
            self._known[key] = weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        del self._known[key]
        self.now -= size


def needed(model: nn.Module, pixels: int, device: torch.device) -> int:
    """Bytes that a forward pass over one LR image of so many pixels is expected to take, weights not counted.

    The network runs on images of 16x16, 32x32 and 48x48; the most that was alive at once is taken as a linear plus a
    quadratic part, which fits convolutions (linear) and exact non-local attention (quadratic) alike.
    """
    fit = _FITS.get(model)
    if fit is None:
        peaks = []
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # some networks draw random numbers
            for side in _PROBES:
                with LiveBytes() as live, torch.inference_mode():
                    model(torch.rand(1, 3, side, side, device=device))
                peaks.append(live.peak)
        areas = np.array([side**2 for side in _PROBES], dtype=np.float64)
        linear, quadratic = np.linalg.lstsq(np.stack([areas, areas**2], axis=1), np.array(peaks), rcond=None)[0]
        if quadratic < 1e-3:  # a byte or less for a thousand pairs of pixels is rounding, not attention
            linear, quadratic = max(peak / area for peak, area in zip(peaks, areas, strict=True)), 0.0
        fit = _FITS[model] = (float(linear), float(quadratic))
    return int(_MARGIN * (fit[0] * pixels + fit[1] * pixels**2))


_FITS: "weakref.WeakKeyDictionary[nn.Module, tuple[float, float]]" = weakref.WeakKeyDictionary()


def available(device: torch.device) -> int:
    """Available bytes of a device; a tenth of the machine's memory is left to other processes."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = psutil.virtual_memory().available
    if (left := cgroup_available()) is not None:  # a container, or a job of a cluster, may have less than the machine
        free = min(free, left)
    return int(0.9 * free)


def cgroup_available(root: Path = Path("/")) -> int | None:
    """Bytes left under the tightest limit of this process's control groups and their parents; None without a limit.

    Both versions of Linux's control groups are read: a container sees its own at the root of their file system, a job
    of Slurm finds its own in /proc/self/cgroup. psutil reads neither.
    """
    groups, paths = root / "sys" / "fs" / "cgroup", {"": "/", "memory": "/"}
    with suppress(OSError, ValueError):
        for line in (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            paths |= {name: path for name in controllers.split(",") if name in paths}
    left = []
    for top, path, files in zip((groups, groups / "memory"), paths.values(), _CGROUP_FILES, strict=True):
        group = top / path.strip("/")
        while group != top.parent:
            left.append(_left_in_group(group, *files))
            group = group.parent
    return min((free for free in left if free is not None), default=None)


def _left_in_group(group: Path, limit: str, use: str, reclaimable: tuple[str, str]) -> int | None:
    try:
        total, used = (int((group / file).read_text(encoding="utf-8")) for file in (limit, use))
        stat = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
        return total - used + sum(int(line.split()[1]) for line in stat if line.startswith(reclaimable))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None


def fitting_tile(model: nn.Module, height: int, width: int, overlap: int, device: torch.device) -> int | None:
    """Side of the largest tile (a multiple of 16, at least 16) that fits, or None where the whole image does."""
    if height * width <= max(_PROBES) ** 2 or needed(model, height * width, device) <= available(device):
        return None
    free, tile = available(device), 16
    while needed(model, (tile + 16 + 2 * overlap) ** 2, device) <= free and tile < max(height, width):
        tile += 16
    return tile


def is_shortage(error: BaseException) -> bool:
    """Whether an error is a lack of memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and re.search("not enough memory|can't allocate memory", str(error)) is not None
    )
