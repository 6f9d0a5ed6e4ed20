"""Checks of imresize, PSNR and SSIM."""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from sisr.data.image_files import list_images, read_image
from sisr.data.imresize import imresize
from sisr.data.pairs import FolderPairs, Pairs
from sisr.data.prepare import crop, hr_files, reduce
from sisr.evaluation.evaluate import same_channels
from sisr.evaluation.metrics import luminance, psnr, ssim
from sisr.evaluation.reference_checks.check import Check, against, figures, missing
from sisr.evaluation.upscalers import Bicubic
from sisr.utils.errors import SisrError

BORDERS = {
    "symmetric": ("benchmarks", "the LR images of the EDSR-style archive, as SAN, PAN and IMDN ship them"),
    "replicate": ("checks/older_matlab_border", "the LR images of Huang et al. (CVPR 2015) and RCAN"),
}
"""Border of imresize: folder and origin of the LR images that were made with it."""
_ROUNDING = 6e-7  # the values have six decimals


def published_lr(reference: Path) -> Iterator[Check]:
    """Number of pixels that differ from the published LR; it must be 0."""
    for boundary, (place, whose) in BORDERS.items():
        for name in ("Set5", "Set14"):
            for scale in (2, 4):
                yield _published_lr(reference, boundary, place, whose, name, scale)


def _published_lr(reference: Path, boundary: str, place: str, whose: str, name: str, scale: int) -> Check:
    hr, lr = reference / "benchmarks" / name, reference / place / name
    what = f"{name} x{scale}, {boundary} border: values that differ"
    for folder in (hr, lr):
        if not folder.is_dir():
            return Check(
                what=what, source=whose, expected=0, measured=None, bound=0, digits=0, note=missing(folder, reference)
            )
    differ = values = 0
    files = hr_files(hr)
    for image, file in files.items():
        matching = list(lr.rglob(f"X{scale}/{image}x{scale}.png"))
        if len(matching) != 1:
            raise SisrError(f"{lr} contains {len(matching)} images X{scale}/{image}x{scale}.png instead of one.")
        published, made = read_image(matching[0]), reduce(read_image(file), scale, boundary)
        if published.shape != made.shape:
            raise SisrError(f"{matching[0]} is {published.shape}, but the reduced {file} is {made.shape}.")
        differ += int((published != made).sum())
        values += made.size
    note = f"{len(files)} images, {values:,} values"
    return Check(what=what, source=whose, expected=0, measured=differ, bound=0, digits=0, note=note)


def matlab(reference: Path) -> Iterator[Check]:
    """Largest deviation from the per-image values of bicubic by Huang et al., from MATLAB (P2, older border)."""
    path = reference / "checks" / "matlab_bicubic.csv"
    source = "MATLAB, Huang et al. (CVPR 2015)"
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    places = list(dict.fromkeys((row["set"], int(row["scale"])) for row in rows))
    for name, scale in places or [("all sets", 0)]:
        part = [row for row in rows if (row["set"], int(row["scale"])) == (name, scale)]
        where = f"{name} x{scale}" if scale else name
        folder = reference / "benchmarks" / name / "HR"
        worst: dict[str, float | None] = {"psnr": None, "ssim": None}
        note = missing(path if not rows else folder, reference)
        if part and folder.is_dir():
            pairs = [_matlab(folder / f"{row['image']}.png", scale) for row in part]
            for quantity, function in (("psnr", psnr), ("ssim", ssim)):
                deviations = (
                    function(sr, hr, scale, "P2") - float(row[quantity])
                    for (sr, hr), row in zip(pairs, part, strict=True)
                )
                worst[quantity] = max(deviations, key=abs)
            note = f"{len(part)} images"
        for quantity, unit, bound in (("psnr", "dB", _ROUNDING), ("ssim", "", _ROUNDING)):
            yield Check(
                what=f"{where}: largest difference of an image's {quantity.upper()}", source=source, unit=unit,
                expected=0, measured=worst[quantity], bound=bound, digits=0, note=note,
            )  # fmt: skip


def _matlab(file: Path, scale: int) -> tuple[np.ndarray, np.ndarray]:
    hr = crop(read_image(file), scale)
    return imresize(imresize(hr, 1 / scale, "replicate"), scale, "replicate"), hr


def rcan(reference: Path) -> Iterator[Check]:
    """Published SR images of RCAN, compared with the authors' log."""
    for figure in figures("rcan"):
        scale, image = int(figure["scale"]), figure["what"]
        folder = reference / "checks" / "rcan_set5" / f"x{scale}"
        what = f"RCAN, Set5 x{scale}, {image}"
        if not folder.is_dir():
            yield against(figure, what, None, missing(folder, reference))
            continue
        values = _rcan(folder, scale)[figure["quantity"]]
        measured = values[image] if image in values else float(np.mean(list(values.values())))
        yield against(figure, what, measured)


@cache
def _rcan(folder: Path, scale: int) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {"psnr": {}, "ssim": {}}
    for path in list_images(folder / "HR"):
        sr, hr = read_image(folder / "SR" / path.name.replace("_HR_", "_RCAN_")), read_image(path)
        image = path.name.partition("_")[0]
        values["psnr"][image], values["ssim"][image] = psnr(sr, hr, scale), ssim(sr, hr, scale)
    return values


def copied(reference: Path) -> Iterator[Check]:
    """The bicubic row that papers copy: protocol P3."""
    yield from _bicubic(reference, "copied", "P3")


def bicubic(reference: Path) -> Iterator[Check]:
    """Bicubic by protocol P1, the greyscale image of Set14 once as it is and once as RGB."""
    yield from _bicubic(reference, "bicubic", "P1")


def _bicubic(reference: Path, group: str, protocol: str) -> Iterator[Check]:
    for figure in figures(group):
        name, scale = figure["set"], int(figure["scale"])
        folder = reference / "benchmarks" / name
        what = f"bicubic, {name} x{scale}"
        if name == "Set14" and protocol == "P1":
            what += ", bridge as grey" if figure["what"] == "as-is" else ", bridge as RGB"
        if not folder.is_dir():
            yield against(figure, what, None, missing(folder, reference))
            continue
        pairs = FolderPairs(folder, scale)
        function = psnr if figure["quantity"] == "psnr" else ssim
        values = [
            function(*_enlarged(pairs, i, scale, protocol, figure["what"]), scale, protocol)
            for i in range(len(pairs.names))
        ]
        yield against(figure, what, float(np.mean(values)), f"{len(values)} images")


def _enlarged(pairs: Pairs, i: int, scale: int, protocol: str, greyscale: str) -> tuple[np.ndarray, np.ndarray]:
    sr, _, _ = Bicubic(protocol).upscale(pairs, i, scale)
    return same_channels(sr, pairs.hr(i), "rgb" if greyscale == "rgb" else "as-is")


def scikit_image(reference: Path) -> Iterator[Check]:
    """SSIM of bicubic, compared with scikit-image with the same window and covariance."""
    from skimage.metrics import structural_similarity

    for scale in (2, 4):
        what = f"bicubic, Set5 x{scale}: largest difference of an image's SSIM"
        folder = reference / "benchmarks" / "Set5"
        source = "scikit-image (gaussian_weights, sigma 1.5, population covariance)"
        worst, note = None, missing(folder, reference)
        if folder.is_dir():
            pairs = FolderPairs(folder, scale)
            deviations = []
            for i in range(len(pairs.names)):
                sr, hr = _enlarged(pairs, i, scale, "P1", "as-is")
                a, b = (luminance(image)[scale:-scale, scale:-scale] for image in (sr, hr))
                other = structural_similarity(
                    a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
                )
                deviations.append(ssim(sr, hr, scale) - float(other))
            worst, note = max(deviations, key=abs), f"{len(deviations)} images"
        yield Check(what=what, source=source, expected=0, measured=worst, bound=1e-10, digits=0, note=note)
