"""Memory limits of containers and of a cluster's jobs, read from trees as Linux shows them."""

from pathlib import Path

import pytest

from sisr.utils.memory import cgroup_available

GB = 10**9
NAMES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def group(folder: Path, version: int, limit: int | str, used: int, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    most, use, file = NAMES[version]
    (folder / most).write_text(f"{limit}\n")
    (folder / use).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - cached}\n{file} {cached}\n{file}_pages 7\n")


def process(root: Path, lines: str) -> None:
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(lines)


def test_no_limit(tmp_path: Path) -> None:
    assert cgroup_available(tmp_path) is None
    process(tmp_path, "0::/user.slice\n")
    group(tmp_path / "sys/fs/cgroup/user.slice", 2, "max", GB)
    assert cgroup_available(tmp_path) is None


def test_container_sees_its_limit_at_the_root(tmp_path: Path) -> None:
    process(tmp_path, "0::/\n")
    group(tmp_path / "sys/fs/cgroup", 2, 8 * GB, 3 * GB, cached=GB)  # the cache is given back
    assert cgroup_available(tmp_path) == 6 * GB


@pytest.mark.parametrize(
    ("version", "lines", "top"),
    [
        (2, "0::/slurm/job_7/step_0/task_0\n", "sys/fs/cgroup"),
        (1, "5:cpu,cpuacct:/\n4:memory:/slurm/job_7/step_0/task_0\n0::/\n", "sys/fs/cgroup/memory"),
    ],
)
def test_job_of_slurm_has_what_its_job_has(tmp_path: Path, version: int, lines: str, top: str) -> None:
    """The limit is set on the job, around the step and the task; the machine has one of its own."""
    process(tmp_path, lines)
    unlimited = "max" if version == 2 else 2**63 - 4096
    group(tmp_path / top, version, 64 * GB, 40 * GB)
    group(tmp_path / top / "slurm/job_7", version, 8 * GB, 2 * GB)
    group(tmp_path / top / "slurm/job_7/step_0/task_0", version, unlimited, 2 * GB)
    group(tmp_path / top / "slurm/job_8", version, GB, GB)
    assert cgroup_available(tmp_path) == 6 * GB


def test_a_file_that_is_not_as_expected_is_no_limit(tmp_path: Path) -> None:
    process(tmp_path, "nonsense\n")
    group(tmp_path / "sys/fs/cgroup", 2, "much", GB)
    assert cgroup_available(tmp_path) is None
