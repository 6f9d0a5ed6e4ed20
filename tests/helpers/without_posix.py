"""A Python without the modules and functions that only POSIX systems have, as on Windows.

Run as a script: `without_posix.py imports` imports every module of the project, `without_posix.py VERB …` runs a verb.
"""

import os
import signal
import sys
import warnings
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

MODULES = ("crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
LINUX = ("triton",)
"""Imported only by modules that a GPU of NVIDIA needs, and installed on Linux only."""
# those that torch and the standard library use wherever they are stay: fork, getuid, uname
FUNCTIONS = ("getegid", "geteuid", "getloadavg", "getpgid", "killpg", "mkfifo", "nice", "sched_getaffinity", "setsid")
FUNCTIONS += ("statvfs", "O_DIRECTORY", "O_NOFOLLOW")
SIGNALS = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2")
ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "models", ROOT / "sisr")


class Missing:
    """Finds nothing for a POSIX-only module that a file of the project imports. Other packages choose what they import
    by the platform's name, which is still that of this machine."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        frame = sys._getframe(1)
        while frame.f_code.co_filename.startswith("<frozen importlib") and frame.f_back:
            frame = frame.f_back
        file = Path(frame.f_code.co_filename)
        if name in MODULES + LINUX and any(file.is_relative_to(package) for package in PACKAGES):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hide() -> None:
    """Make the POSIX-only modules and functions unavailable to the project."""
    import multiprocessing  # noqa: F401  (and what it chose)

    import torch.multiprocessing  # noqa: F401

    for name in MODULES + LINUX:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Missing())  # type: ignore[arg-type]
    # Windows has another default encoding than UTF-8 (python -X warn_default_encoding)
    warnings.filterwarnings("error", category=EncodingWarning, module=r"(models|sisr)\.")
    for module, names in ((os, FUNCTIONS), (signal, SIGNALS)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


def import_all() -> list[str]:
    """Import every module of the packages; return their names."""
    names = []
    for package in ("models", "sisr"):
        for module in walk_packages([str(ROOT / package)], f"{package}."):
            if not module.name.startswith("sisr.cli.attention_template") and not module.name.endswith("__main__"):
                names.append(module.name)
    for name in names:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in LINUX:
                raise
    return names


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    hide()
    if sys.argv[1:] == ["imports"]:
        print(len(import_all()))
        raise SystemExit
    from sisr.cli.main import main

    raise SystemExit(main(sys.argv[1:]))
