"""Templates of a custom attention mechanism; both are working code."""

import importlib.util
import keyword
import re
import shlex
from pathlib import Path

from sisr.config.presets import known_attention
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import atomic_write

_HERE = Path(__file__).parent


def names(name: str) -> tuple[str, str]:
    """File and class of a mechanism: `my_attention` and `MyAttention` both give ("my_attention.py", "MyAttention").

    Raises UsageError for invalid and reserved names.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UsageError(
            f"{name!r} is not a class name; use letters, digits and _, first a letter, for example my_attention."
        )
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[0-9]+", name)
    module, class_name = "_".join(word.lower() for word in words), "".join(word[0].upper() + word[1:] for word in words)
    if class_name == "Attention":
        raise UsageError(f"{name!r} is the name of the base class; use another name, for example my_attention.")
    if keyword.iskeyword(module) or keyword.iskeyword(class_name):
        raise UsageError(f"{name!r} is a Python keyword; use another name, for example my_attention.")
    return f"{module}.py", class_name


def write(name: str, output: Path, free: bool = False) -> tuple[Path, str]:
    """Write the template of a mechanism; returns the file and its spec `file.py:Class`.

    name: of the mechanism, as in `names`. output: the file (suffix .py) or its folder, which is created.
    free: a module from (B, C, H, W) to the same shape instead of a class with `attend`.
    Raises UsageError for a wrong name, SisrError if the file exists.
    """
    file_name, class_name = names(name)
    file = output if output.suffix == ".py" else output / file_name
    module = file.stem
    if not module.isidentifier() or keyword.iskeyword(module):
        raise UsageError(
            f"{file.name} is not a valid module name; use letters, digits and _, for example my_attention.py."
        )
    if file.exists():
        raise SisrError(f"{file} exists and is not overwritten; use another name, or remove the file.")
    if module in known_attention():
        raise UsageError(f"{module} is a registered attention; use another name.")
    taken = importlib.util.find_spec(module)
    if taken is not None:
        raise UsageError(f"{module} is an existing Python module; use another name.")
    spec = f"{file.as_posix()}:{class_name}"
    text = (_HERE / ("free.py" if free else "attend.py")).read_text(encoding="utf-8")
    text = text.replace("Template:", f"{class_name}:").replace("class Template(", f"class {class_name}(")
    text = text.replace("{check}", check_command(spec)).replace("{compare}", compare_command(spec))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SisrError(f"{file} cannot be written: {error.strerror}.") from error
    return file, spec


def check_command(spec: str) -> str:
    """Shell command that checks a mechanism."""
    return shlex.join(["python", "-m", "sisr", "check", spec])


def compare_command(spec: str) -> str:
    """Shell command that compares a mechanism with ENLCA."""
    plain = re.fullmatch(r"[\w./~+-]+(:\w+)?", spec)
    entry = spec if plain else '"' + spec.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return shlex.join(["snakemake", "--cores", "8", "compare", "--config", f"attention=[enlca, {entry}]"])
