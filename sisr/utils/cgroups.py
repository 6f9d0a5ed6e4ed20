"""How much memory the limits of a container, or of a job of a cluster, leave to this process."""

from pathlib import Path

# file of the limit, of the use, and what in memory.stat is given back when memory is short
_V2 = ("memory.max", "memory.current", ("inactive_file ", "active_file "))
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file ", "total_active_file "))


def room(root: Path = Path("/")) -> int | None:
    """Bytes left under the tightest limit on this process's control groups and on those they lie in; None without any.

    Both versions of Linux's control groups are read: containers mostly see theirs at the root of the file system of
    groups, jobs of Slurm are told theirs by /proc/self/cgroup.
    """
    groups = root / "sys" / "fs" / "cgroup"
    paths = {"": "/", "memory": "/"}
    try:
        for line in (root / "proc" / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                if controller in paths:
                    paths[controller] = path
    except (OSError, ValueError):
        pass
    left = []
    for top, path, files in ((groups, paths[""], _V2), (groups / "memory", paths["memory"], _V1)):
        inner = top / path.strip("/")
        for group in (inner, *inner.parents):
            if group == top.parent:
                break
            if (free := _room(group, *files)) is not None:
                left.append(free)
    return min(left, default=None)


def _room(group: Path, limit: str, use: str, cached: tuple[str, str]) -> int | None:
    try:
        most = int((group / limit).read_text())
        used = int((group / use).read_text())
        stat = (group / "memory.stat").read_text().splitlines()
        return most - used + sum(int(line.split()[1]) for line in stat if line.startswith(cached))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None
