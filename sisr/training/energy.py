"""Energy that a GPU has taken, as its driver tells."""

from contextlib import suppress

import torch


class EnergyMeter:
    """Counts the energy of a GPU from now on.

    It is that of the whole GPU, whoever uses it: with several runs on one GPU, each counts the energy of all.
    """

    def __init__(self, device: torch.device) -> None:
        self._handle = _handle(device)
        self._before = self._total()

    def joules(self) -> float | None:
        """Energy in joules since this meter was made; None where no driver tells."""
        now = self._total()
        return None if now is None or self._before is None else (now - self._before) / 1000

    def _total(self) -> int | None:
        """Millijoules since the driver was loaded (Volta and later)."""
        if self._handle is None:
            return None
        import pynvml

        with suppress(pynvml.NVMLError):
            return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None


def _handle(device: torch.device) -> object | None:
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:  # an environment made by hand may lack it; energy is then not told
        return None
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        # by its identity: CUDA_VISIBLE_DEVICES gives torch another numbering than the driver's
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    return None
