"""The precision that is computed in, which is not always the one that was asked for."""

import sys
from functools import cache

import torch

from models.precision import native_bfloat16


@cache
def computed_precision(precision: str, device: torch.device) -> str:
    """ "bfloat16" where it is asked for and the device has it natively, else "float32"; said once in the second case.

    Emulated bfloat16 is several times slower than float32 and no more exact.
    """
    if precision == "bfloat16" and not native_bfloat16(device):
        message = f"This {device.type.upper()} has no native bfloat16, so float32 is used: it is faster here."
        print(message, file=sys.stderr)
        return "float32"
    return precision


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a network computes in this precision (see `computed_precision`)."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computed_precision(precision, device) == "bfloat16")
