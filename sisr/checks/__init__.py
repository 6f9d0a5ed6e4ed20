"""The measuring chain against figures from outside: published images, MATLAB's tables, authors' logs and weights."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sisr.checks import chain, networks
from sisr.checks.check import Check
from sisr.errors import SisrError, UsageError

_Group = Callable[[Path], Iterator[Check]]
GROUPS: dict[str, tuple[str, _Group]] = {
    "imresize": ("Reduction against the published LR images, to the bit", chain.published_lr),
    "matlab": ("PSNR and SSIM against MATLAB's, image by image", chain.matlab),
    "rcan": ("PSNR and SSIM of published SR images against their authors' log", chain.rcan),
    "copied": ("Protocol P3: the bicubic row that papers copy from one another", chain.copied),
    "bicubic": ("Protocol P1: bicubic", chain.bicubic),
    "ssim": ("SSIM against another implementation", chain.scikit_image),
    "weights": ("Networks with their published weights, protocol P1", networks.weights),
}
"""Name: (title, function from the folder of reference data to its checks)."""


def run(
    reference: Path, only: list[str] | None = None, progress: Callable[[Iterator[Check]], Iterable[Check]] = iter
) -> dict[str, list[Check]]:
    """All checks by group, or those of some groups.

    Args:
        reference: folder with `benchmarks/`, `checks/` and `weights/`; what it lacks makes a check that was not done.
        only: names of `GROUPS`.
        progress: wraps the checks of a group, as tqdm does.

    Raises:
        SisrError: the folder holds none of it.
        UsageError: there is no such group.
    """
    for name in only or []:
        if name not in GROUPS:
            raise UsageError(f"there is no group of checks {name!r}; there are {', '.join(GROUPS)}.")
    if not any((reference / part).is_dir() for part in ("benchmarks", "checks", "weights")):
        raise SisrError(f"{reference} holds no reference data: neither benchmarks nor checks nor weights is there.")
    return {
        name: list(progress(function(reference))) for name, (_, function) in GROUPS.items() if name in (only or GROUPS)
    }
