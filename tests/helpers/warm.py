"""Processes that begin with torch, pandas, Snakemake and the like imported, which takes most of a small job's time.

A server imports them once and forks for every `python -m MODULE …` or `python -c …` that it is asked for. `python()` is
a program that asks it: it takes the place of the interpreter, hands over its words, folder, environment and streams,
passes on signals and ends with the status. Modules of this repository are imported anew, from the folder of the call.

What tests the starting or the killing of processes itself uses `sys.executable`, and so does what depends on variables
that Triton and the compiler of torch read when they are imported.
"""

import array
import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path

PRELOADED = (
    "torch", "torch._dynamo", "torch.distributed.run", "numpy", "pandas", "scipy.stats", "scipy.ndimage",
    "matplotlib.pyplot", "PIL.Image", "skimage.data", "safetensors.torch", "fvcore.nn", "jsonschema", "yaml",
    "requests", "psutil", "filelock", "great_tables", "papermill", "nbconvert", "ipykernel.ipkernel",
    "ipykernel.kernelapp", "matplotlib_inline.backend_inline", "snakemake.cli", "snakemake.report.html_reporter",
    "snakemake_executor_plugin_slurm",
)  # fmt: skip
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@cache
def python() -> str:
    """Path of the program; where there is no such server (not Linux), of the interpreter."""
    if not hasattr(os, "pidfd_open"):
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="sisr-warm-"))
    address = folder / "socket"
    program = folder / "python"
    client = shlex.join([sys.executable, "-I", "-S", __file__, "client", str(address), sys.executable])
    program.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
    program.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, "server", str(address), str(program)],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
    )
    atexit.register(server.communicate)  # closes its stdin, by which it ends
    deadline = time.monotonic() + 900
    while not address.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the server of warm processes did not start")
        time.sleep(0.05)
    return str(program)


def client(address: str, interpreter: str, words: list[str]) -> int:
    """Have the server run a module or a program of `-c`; everything else is for the interpreter."""
    words = words[1:] if words[:1] == ["-u"] else words
    if words[:1] not in (["-m"], ["-c"]):
        os.execv(interpreter, [interpreter, *words])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        for number in SIGNALS:
            signal.signal(number, lambda number, frame: connection.send(bytes([number])))
        call = {"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}
        content = json.dumps(call).encode()
        socket.send_fds(connection, [len(content).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(content)
        # some work now and then: sisr.config.preflight takes a process for hanging that uses no time of the CPU
        while not select.select([connection], [], [], 3)[0]:
            until = time.process_time() + 0.03
            while time.process_time() < until:
                pass
        answer = connection.recv(4)
    if not answer:
        return 1
    [status] = array.array("i", answer)
    if status < 0:  # ended by a signal, and so does this
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def serve(address: str) -> dict:
    """Fork for every call; returns the call in the process that is to run it, and never in the server."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # the memory of what is imported stays shared
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(64)
        os.rename(f"{address}.new", address)  # it exists when it can be called
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return _attend(connection)
            connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    shutil.rmtree(Path(address).parent)
    os._exit(0)


def _attend(connection: socket.socket) -> dict:
    """Start the process of one call, pass signals to it and its status back."""
    header, streams, _, _ = socket.recv_fds(connection, 4, 3)
    content, size = b"", int.from_bytes(header, "big")
    while len(content) < size:
        content += connection.recv(size - len(content))
    child = os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        return json.loads(content)
    for stream in streams:
        os.close(stream)
    for number in range(3):  # or who reads the output would wait for this process
        os.close(number)
    ended = os.pidfd_open(child)
    while ended not in select.select([connection, ended], [], [])[0]:
        number = connection.recv(1)
        os.kill(child, number[0] if number else signal.SIGKILL)
        if not number:
            break
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(OSError):
        connection.send(array.array("i", [status]).tobytes())
    os._exit(0)


def run(program: str, words: list[str], folder: str, environment: dict[str, str]) -> None:
    """`python -m MODULE …` or `python -c PROGRAM …` in this process."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = program
    kind, what, *rest = words
    sys.argv = ["-c" if kind == "-c" else what, *rest]
    sys.path[0] = folder
    status: object = 0
    try:
        if kind == "-c":
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
    except SystemExit as stopped:
        status = stopped.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    # as the interpreter ends, without taking everything imported apart, which takes seconds
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(bool(status)))


if __name__ == "__main__":
    role, place, path, *rest = sys.argv[1:]
    if role == "client":
        sys.exit(client(place, path, rest))
    run(path, **serve(place))
