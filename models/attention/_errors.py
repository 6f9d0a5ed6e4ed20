"""Exceptions of custom code, reported in one sentence with file and line."""

import re
import sysconfig
import traceback
from pathlib import Path

# exceptions of faulty code; excludes those that end the program
CRASHES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
_LIBRARIES = (*(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")), "<")
# what torch raises where a class assigns or uses parts of a Module that was not initialised
_NOT_INITIALISED = re.compile(
    r"cannot assign \w+ before Module.__init__\(\) call"
    r"|'(\w+)' object has no attribute '(?:_modules|_parameters|_buffers|_\w*hooks\w*|training)'"
)
_HERE = Path(__file__).parent
_SUITE = tuple(str(path) for path in (_HERE / "checks", _HERE / "_registry.py", _HERE.parent.parent / "sisr" / "cli"))


CUSTOM_FILES: set[str] = set()
"""Files that custom classes were imported from."""


class BrokenCodeError(ValueError):
    """The code of a mechanism cannot be imported or built; the message states reason and location."""


def sentence(error: BaseException) -> str:
    """`NameError: name 'x' is not defined (my_attention.py, line 12)`, in one line."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if isinstance(error, SyntaxError):
        lines = [error.msg]
    # a line that ends with a colon, like "backend='inductor' raised:", continues on the next line
    message = " ".join(lines[:2] if lines and lines[0].endswith(":") else lines[:1])
    if isinstance(error, AttributeError) and (match := _NOT_INITIALISED.fullmatch(message)):
        of = f" of {match[1]}" if match[1] else ""
        message = f"the constructor{of} does not call super().__init__(); add it as the first line of __init__"
    location = place(error)
    return type(error).__name__ + (f": {message}" if message else "") + (f" ({location})" if location else "")


def in_custom_code(error: BaseException) -> bool:
    """Whether an exception passed through code of a custom class."""
    return any(frame.filename in CUSTOM_FILES for frame in traceback.extract_tb(error.__traceback__))


def place(error: BaseException) -> str:
    """`my_attention.py, line 12`: the innermost line outside of libraries and of this suite's checks, or ""."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}, line {error.lineno}"
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    # torch.compile lists the lines that it could not compile in its message
    user_code = str(error).partition("from user code:")[2]
    lines += [(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', user_code)]
    custom = [(file, line) for file, line in lines if not file.startswith((*_LIBRARIES, *_SUITE))]
    return f"{_short(custom[-1][0])}, line {custom[-1][1]}" if custom else ""


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
