"""What code of a user's may raise, said in one sentence with the file and line where it happened."""

import re
import sysconfig
import traceback
from pathlib import Path

# everything that wrong code raises, short of what asks the program to end
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
_HERE = Path(__file__).parent
_SUITE = tuple(str(path) for path in (_HERE / "checks", _HERE / "_registry.py", _HERE.parent.parent / "sisr" / "cli"))


class BrokenCodeError(ValueError):
    """The code of a mechanism cannot be imported or built; the message says why and where."""


def sentence(error: BaseException) -> str:
    """`NameError: name 'x' is not defined (my_attention.py, line 12)`, in one line."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if isinstance(error, SyntaxError):
        lines = [error.msg]
    # "backend='inductor' raised:" and its like announce what the next line says
    message = " ".join(lines[:2] if lines and lines[0].endswith(":") else lines[:1])
    where = place(error)
    return type(error).__name__ + (f": {message}" if message else "") + (f" ({where})" if where else "")


def place(error: BaseException) -> str:
    """`my_attention.py, line 12`: the innermost line that is not a library's and not of this suite's checks; or ""."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}, line {error.lineno}"
    found = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    # torch.compile tells the lines of the code that it could not compile in its message
    told = str(error).partition("from user code:")[2]
    found += [(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', told)]
    own = [(file, line) for file, line in found if not file.startswith((*_LIBRARIES, *_SUITE))]
    return f"{_short(own[-1][0])}, line {own[-1][1]}" if own else ""


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
