"""A real Slurm of one node on this machine, without systemd, accounting or cgroups, for as long as it is needed.

    python tests/helpers/slurm_cluster.py sinfo        # starts it, runs one command in it, stops it

Needs Debian's packages slurm-wlm and munge, and root. Everything it writes is in a temporary folder; its daemons are
children of this process, die with it, and listen on ports that are free. If it is killed itself, what its jobs leave is
cleaned up by the next start.
"""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SECONDS = 60  # for a daemon to start on a busy machine
GPUS = 2
PREFIX = "sisr-slurm-"
CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
KillWait=30
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no Slurm here, in one sentence; empty if there can be."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "a Slurm of one's own needs root"


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Start Slurm and yield the environment variables that its commands need; stop it and all its jobs at the end.

    Raises:
        RuntimeError: a daemon did not start; its log is in the message.
    """
    _sweep()
    # the prefix names the owner; a socket's path has at most 107 characters
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
    environment = {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin{os.pathsep}{_path()}"}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(_kill_jobs, folder)
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir()
        # Snakemake starts srun without the variable, as if the configuration stood in /etc
        srun = folder / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=_path())} "$@"\n')
        srun.chmod(0o755)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        controller, node = _free_ports(2)
        settings = CONFIGURATION.format(folder=folder, controller=controller, node=node, gpus=GPUS)
        (folder / "slurm.conf").write_text(settings)
        for number in range(GPUS):  # devices as far as Slurm can tell
            (folder / f"gpu{number}").touch()
        (folder / "gres.conf").write_text(f"NodeName=localhost Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n")

        files = {name: f"{folder}/munge.{name}" for name in ("socket", "pid", "log", "seed", "key")}
        words = [f"--{name}{'' if name == 'socket' else '-file'}={file}" for name, file in files.items()]
        stack.callback(_stop, _start(folder, environment, "munged", "--foreground", "--force", *words))
        _wait_for(Path(files["socket"]).exists, folder, "munged")
        stack.callback(_stop, _start(folder, environment, "slurmctld", "-D", "-i"))
        stack.callback(_stop, _start(folder, environment, "slurmd", "-D", "-N", "localhost"))
        _wait_for(lambda: "idle" in _told(environment, "sinfo", "--noheader", "--format=%T"), folder, "slurmctld")
        stack.callback(_cancel_all, environment)
        yield environment


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing stays if this process is killed


def _start(folder: Path, environment: Mapping[str, str], program: str, *words: str) -> subprocess.Popen[bytes]:
    with (folder / f"{program}.out").open("wb") as output:
        return subprocess.Popen(
            [program, *words],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _told(environment: Mapping[str, str], *words: str) -> str:
    return subprocess.run(
        words, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    ).stdout


def _wait_for(ready: Callable[[], bool], folder: Path, program: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{file.name}:\n{file.read_text()[-2000:]}" for file in sorted(folder.glob("*.[lo]*")))
            raise RuntimeError(f"{program} is not ready after {SECONDS} s.\n{logs}")
        time.sleep(0.2)


def _cancel_all(environment: Mapping[str, str]) -> None:
    _told(environment, "scancel", "--full", "--signal=KILL", "--user=root")
    deadline = time.monotonic() + 20
    while _told(environment, "squeue", "--noheader") and time.monotonic() < deadline:
        time.sleep(0.2)


def _kill_jobs(folder: Path) -> None:
    """End what is left of this cluster's jobs: what has its configuration in its environment, and what minds a job."""
    for process in psutil.process_iter():
        try:
            ours = process.cwd() == str(folder) or process.environ().get("SLURM_CONF") == f"{folder}/slurm.conf"
        except psutil.Error:
            continue
        if ours and process.pid != os.getpid():
            process.kill()


def _sweep() -> None:
    """Clean up after earlier owners that were killed: their daemons died with them, their jobs did not."""
    for folder in Path("/tmp").glob(f"{PREFIX}*-*"):
        if not psutil.pid_exists(int(folder.name.removeprefix(PREFIX).partition("-")[0])):
            _kill_jobs(folder)
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if why := missing():
        sys.exit(why)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with all that it has started
    with cluster() as variables:
        sys.exit(subprocess.run(sys.argv[1:] or ["sinfo"], env=os.environ | variables, check=False).returncode)
