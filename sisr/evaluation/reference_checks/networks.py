"""Checks of networks with published weights, from LR to PSNR and SSIM."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from sisr.config.declared import networks
from sisr.data.pairs import FolderPairs
from sisr.evaluation.evaluate import same_channels
from sisr.evaluation.metrics import psnr, ssim
from sisr.evaluation.reference_checks.check import Check, against, figures, missing
from sisr.evaluation.upscalers import Network
from sisr.results import published

FILES = {
    "LapSRN": "LapSRN_x{scale}_matconvnet_layout.npz",
    "SRMDNF": "SRMDNF_x{scale}.npz",
    "VDSR": "VDSR_twtygqyy.npz",
}
UNROUNDED = [network.title for network in networks().values() if network.get("unrounded_lr")]
"""Networks whose published values come from unrounded LR."""
SETS = ("Set5", "Set14", "B100")
"""Test sets."""
CLOSE = 0.02
"""Differences in dB between printed and measured values above this are explained."""


def weights(reference: Path) -> Iterator[Check]:
    """Published means for these weights; Set14's greyscale image is treated as RGB."""
    for figure in figures("weights"):
        method, name, scale = figure["what"], figure["set"], int(figure["scale"])
        what = f"{method}, {name} x{scale}"
        if absent := _absent(reference, method, name, scale):
            yield against(figure, what, None, missing(absent, reference))
            continue
        average = means(reference, method, name, scale, method in UNROUNDED)["P1", "rgb"]
        note = "from LR that was not rounded" if method in UNROUNDED else ""
        yield against(figure, what, average[0] if figure["quantity"] == "psnr" else average[1], note)


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A value of the paper's Table 1 (PSNR, dB), and values measured with the published weights in several ways."""

    method: str
    dataset: str
    scale: int
    printed: float
    printed_note: str
    measured: float
    """As in this suite's Table 1: P1, from the set's 8-bit LR, greyscale as it is."""
    unrounded: float
    """The same from unrounded LR."""
    rounded_y: float
    """From unrounded LR, with Y rounded (P2)."""
    grey_as_rgb: float | None
    """P1 from unrounded LR, greyscale as RGB; None if the set has no greyscale image."""

    @property
    def difference(self) -> float:
        """Measured minus printed, rounded to the printed digits."""
        return round(round(self.measured, 2) - self.printed, 2)

    @property
    def ways(self) -> dict[str, float]:
        """All measured values by variant."""
        values = {
            "as in Table 1": self.measured,
            "LR not rounded": self.unrounded,
            "LR not rounded, Y rounded": self.rounded_y,
            "LR not rounded, grey as RGB": self.grey_as_rgb,
        }
        return {way: value for way, value in values.items() if value is not None}

    @property
    def nearest(self) -> tuple[str, float]:
        """The variant closest to the printed value, and the remaining difference."""
        way = min(self.ways, key=lambda key: abs(self.ways[key] - self.printed))
        return way, self.ways[way] - self.printed


def beside(reference: Path) -> Iterator[Beside]:
    """Table 1's rows of these networks, printed and measured; rows without data are omitted."""
    for method in FILES:
        for scale in (2, 4):
            for name in SETS:
                figure = published.table1_figure(method, scale, name, "psnr")
                if figure.value is None or _absent(reference, method, name, scale):
                    continue
                stored, free = (means(reference, method, name, scale, unrounded) for unrounded in (False, True))
                as_is, rgb = free["P1", "as-is"][0], free["P1", "rgb"][0]
                yield Beside(
                    method=method,
                    dataset=name,
                    scale=scale,
                    printed=figure.value,
                    printed_note=figure.note,
                    measured=stored["P1", "as-is"][0],
                    unrounded=as_is,
                    rounded_y=free["P2", "as-is"][0],
                    grey_as_rgb=rgb if rgb != as_is else None,
                )


@cache
def means(
    reference: Path, method: str, name: str, scale: int, unrounded: bool
) -> dict[tuple[str, str], tuple[float, float]]:
    """Mean PSNR and SSIM by (protocol, how greyscale is taken), each image upscaled once."""
    network = _network(reference, method, scale, unrounded)
    pairs = FolderPairs(reference / "benchmarks" / name, scale)
    values: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for i in range(len(pairs.names)):
        sr, _, _ = network.upscale(pairs, i, scale)
        for greyscale in ("as-is", "rgb"):
            a, b = same_channels(sr, pairs.hr(i), greyscale)
            for protocol in ("P1", "P2"):
                measured = (psnr(a, b, scale, protocol), ssim(a, b, scale, protocol))
                values.setdefault((protocol, greyscale), []).append(measured)
    return {
        key: (float(np.mean([v[0] for v in measured])), float(np.mean([v[1] for v in measured])))
        for key, measured in values.items()
    }


@cache
def _network(reference: Path, method: str, scale: int, unrounded: bool) -> Network:
    return Network(_weights(reference, method, scale), scale, "auto", unrounded_lr=unrounded)


def _weights(reference: Path, method: str, scale: int) -> Path:
    return reference / "weights" / FILES[method].format(scale=scale)


def _absent(reference: Path, method: str, name: str, scale: int) -> Path | None:
    for path in (_weights(reference, method, scale), reference / "benchmarks" / name):
        if not path.exists():
            return path
    return None
