"""How super-resolution networks are trained and measured; the networks themselves live in `models`."""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
"""The only place of the version: pyproject.toml reads it."""

_PUBLIC = {"imresize": "sisr.data.imresize", "psnr": "sisr.evaluation.metrics", "ssim": "sisr.evaluation.metrics"}
__all__ = ["imresize", "psnr", "ssim"]


def __getattr__(name: str) -> Any:
    """Import the public functions on first use, so that `python -m sisr --help` stays quick."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'sisr' has no attribute {name!r}")
