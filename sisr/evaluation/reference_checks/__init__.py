"""Validation of the metrics with published images, MATLAB's values, authors' logs and weights."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sisr.evaluation.reference_checks import metrics_and_images, networks
from sisr.evaluation.reference_checks.check import Check
from sisr.utils.errors import SisrError, UsageError

_Group = Callable[[Path], Iterator[Check]]
GROUPS: dict[str, tuple[str, _Group]] = {
    "imresize": ("Reduction against the published LR images, to the bit", metrics_and_images.published_lr),
    "matlab": ("PSNR and SSIM against MATLAB's, image by image", metrics_and_images.matlab),
    "rcan": ("PSNR and SSIM of published SR images against their authors' log", metrics_and_images.rcan),
    "copied": ("Protocol P3: the bicubic row that papers copy from one another", metrics_and_images.copied),
    "bicubic": ("Protocol P1: bicubic", metrics_and_images.bicubic),
    "ssim": ("SSIM against another implementation", metrics_and_images.scikit_image),
    "weights": ("Networks with their published weights, protocol P1", networks.weights),
}
"""Name: (title, function from the folder of reference data to its checks)."""


def run(
    reference: Path, only: list[str] | None = None, progress: Callable[[Iterator[Check]], Iterable[Check]] = iter
) -> dict[str, list[Check]]:
    """All checks by group, or those of some groups.

    reference: folder with `benchmarks/`, `checks/` and `weights/`; checks without their data are not run.
    only: names of `GROUPS`. progress: wraps the checks of a group, like tqdm.
    Raises SisrError where the folder contains none of them, UsageError where there is no such group.
    """
    for name in only or []:
        if name not in GROUPS:
            raise UsageError(f"there is no group of checks {name!r}; there are {', '.join(GROUPS)}.")
    if not any((reference / part).is_dir() for part in ("benchmarks", "checks", "weights")):
        raise SisrError(f"{reference} contains no reference data (benchmarks, checks or weights).")
    return {
        name: list(progress(function(reference))) for name, (_, function) in GROUPS.items() if name in (only or GROUPS)
    }
