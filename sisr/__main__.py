"""Entry point of `python -m sisr`, with a quick start and a quick end: both take long where torch is imported."""

import atexit
import gc
import os
import sys
import threading
from typing import NoReturn

gc.set_threshold(10_000)  # importing makes many objects and hardly any garbage


def _end(status: int) -> NoReturn:
    """End as Python does, but leave it to the operating system to free the memory."""
    if threading.active_count() == 1:  # otherwise Python waits for the other threads
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    raise SystemExit(status)


def _status() -> int:
    from sisr.cli import main

    try:
        return main()
    except SystemExit as stopped:
        if stopped.code is None or isinstance(stopped.code, int):
            return stopped.code or 0
        raise


_end(_status())
