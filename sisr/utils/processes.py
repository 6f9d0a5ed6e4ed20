"""Ending a process together with all that it has started."""

import os
import signal
from contextlib import suppress

import psutil


def kill_tree(process: int) -> None:
    """Kill a process that was started in a session of its own, and all that it started; does nothing if it has ended.

    Where processes have no groups (Windows), its children are looked up, so those of a child that has ended remain.
    """
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
        return
    with suppress(psutil.Error):
        parent = psutil.Process(process)
        for one in [*parent.children(recursive=True), parent]:
            with suppress(psutil.Error):
                one.kill()
