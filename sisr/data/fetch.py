"""Fetching image sets: download or copy, verification, atomic placement."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from PIL import Image

from sisr.data import catalog
from sisr.data.archives import ENDINGS, check_space, is_archive, unpack
from sisr.data.catalog import Dataset, Source
from sisr.data.download import ATTEMPTS, download
from sisr.data.folder_layouts import Group, groups, key
from sisr.data.image_files import image_shape, list_images, plain_name, read_image
from sisr.data.store import replace_folder
from sisr.data.verify import LrOrigin, Report, check
from sisr.utils.errors import SisrError
from sisr.utils.files import temporary_folder

_LR_CHECKED = 5
"""Number of LR images a scale that are compared with reduced HR; `prepare` compares all."""


@dataclass
class Fetched:
    """A set on disk."""

    dataset: Dataset
    folder: Path
    report: Report
    came_from: str
    lr: dict[int, str] = field(default_factory=dict)
    """How the included LR images were made, by scale."""

    @property
    def notes(self) -> list[str]:
        """Known deviations of this copy."""
        return self.report.notes + [
            f"its LR images for x{scale} are {origin}" for scale, origin in self.lr.items() if "today's" not in origin
        ]


def fetch(
    dataset: Dataset,
    data: str | Path = "data",
    *,
    origin: str | Path | None = None,
    lr: Iterable[int] = (),
    again: bool = False,
    quiet: bool = False,
) -> Fetched:
    """Store a set below the data folder, as `<set>/HR/*.png` and `<set>/LR_bicubic/X4/*x4.png`.

    An existing set is verified and not changed.

    Args:
        data: folder of all sets; archives are kept in its `.downloads`.
        origin: a folder or archive in any common layout, instead of a download.
        lr: scales whose published LR images are downloaded as well, if the set has such archives.
        again: replace an existing set.

    Raises SisrError where the set is not available, or the images are not those of the set; nothing is stored then.
    """
    data = Path(data)
    target = dataset.folder(data)
    here = target / "HR"
    came_from = "there already"
    if origin is not None:
        _from_origin(Path(origin), dataset, target, quiet)
        came_from = str(origin)
    elif again or not here.is_dir() or not list_images(here):
        came_from = _get(dataset, data, target, quiet)
    report = check(list_images(here), dataset)
    if not report.complete:
        raise SisrError(f"{report} in {here}; `python -m sisr fetch {dataset.name} --again` replaces it.")
    for scale in lr:
        if not (target / "LR_bicubic" / f"X{scale}").is_dir():
            _get_lr(dataset, scale, data, target, quiet)
    return Fetched(dataset, target, report, came_from, lr_origins(target))


def lr_origins(folder: Path, checked: int = _LR_CHECKED) -> dict[int, str]:
    """How the included LR images of a set were made, by scale, determined from the first few."""
    result = {}
    hr = {path.stem: path for path in list_images(folder / "HR")}
    for inner in sorted((folder / "LR_bicubic").glob("X[0-9]*")):
        scale, origin = int(inner.name[1:]), LrOrigin()
        for path in list_images(inner)[:checked]:
            name = plain_name(path.stem, scale)
            if name in hr:
                origin.add(read_image(hr[name]), read_image(path), scale)
        result[scale] = str(origin)
    return result


@contextmanager
def _workspace(data: Path) -> Iterator[Path]:
    """A temporary folder on the same disk, removed at the end; errors of the disk are raised as SisrError."""
    try:
        with temporary_folder(data / "fetch") as folder:
            yield folder
    except OSError as error:
        raise SisrError(f"{data} cannot be written to ({error.strerror or error}).") from error


def _get(dataset: Dataset, data: Path, target: Path, quiet: bool) -> str:
    """Get a set from scikit-image or from the first working source; return the source."""
    if dataset.bundled:
        _bundled(dataset, target)
        return f"scikit-image {version('scikit-image')}"
    if dataset.apply:
        raise SisrError(dataset.apply.strip())
    reasons = []
    for source in dataset.sources:
        path = data / ".downloads" / source.archive
        try:
            attempts = 1 if source.dead else ATTEMPTS
            archive = download(source.addresses, path, source.md5, quiet=quiet, attempts=attempts)
            _from_archive(archive, dataset, target, quiet, source.folder)
            return source.archive
        except SisrError as error:
            reasons.append(str(error).rstrip(".") + (f", reported dead ({source.dead})" if source.dead else ""))
            if source.md5 is None:
                path.unlink(missing_ok=True)  # not kept: without a checksum it cannot be trusted
    raise SisrError(
        f"{dataset.name} could not be fetched: {'; '.join(reasons)}. If you have a copy, "
        f"use `python -m sisr fetch {dataset.name} --from FOLDER_OR_ARCHIVE`."
    )


def _get_lr(dataset: Dataset, scale: int, data: Path, target: Path, quiet: bool) -> None:
    source: Source | None = dataset.lr_sources.get(scale)
    if source is None:
        raise SisrError(
            f"there is no archive of LR images of {dataset.name} at x{scale}; "
            f"`python -m sisr prepare {dataset.name} --scale {scale}` creates them from HR."
        )
    archive = download(source.addresses, data / ".downloads" / source.archive, source.md5, quiet=quiet)
    with _workspace(data) as work:
        unpack(archive, work, quiet=quiet)
        hr = {path.stem: path for path in list_images(target / "HR")}
        for group in groups(work, dataset):
            files = _lr_of(group, {name.lower(): name for name in hr}, hr) if group.scale == scale else None
            if files is not None:
                new = work / "new"
                _place(files, new, f"x{scale}", move=True)
                (target / "LR_bicubic").mkdir(exist_ok=True)
                replace_folder(new, target / "LR_bicubic" / f"X{scale}")
                return
    raise SisrError(f"{archive} does not contain LR images of all of {dataset.name} at x{scale}.")


def _from_origin(origin: Path, dataset: Dataset, target: Path, quiet: bool) -> None:
    if origin.is_dir():
        if origin.resolve() == target.resolve():
            raise SisrError(f"{origin} is the target folder of {dataset.name}; --from needs another folder.")
        _ingest(origin, dataset, target, move=False)
    elif origin.is_file() and is_archive(origin):
        _from_archive(origin, dataset, target, quiet)
    elif origin.exists():
        raise SisrError(f"{origin} is neither a folder nor an archive ({', '.join(ENDINGS)}).")
    else:
        raise SisrError(f"{origin} does not exist.")


def _from_archive(archive: Path, dataset: Dataset, target: Path, quiet: bool, folder: str = "") -> None:
    """Store a set from an archive, of which only one folder is unpacked if it is named."""
    others = {call for other in catalog.known().values() for call in other.calls} - set(dataset.calls)

    def wanted(path: PurePosixPath) -> bool:
        if folder:
            return f"/{folder}/" in f"/{path}"
        parts = {part.lower() for part in path.parts[:-1]}
        return bool(parts & set(dataset.calls)) or not parts & others

    with _workspace(target.parent) as work:
        if not unpack(archive, work, wanted, quiet):
            raise SisrError(f"{archive} contains no images of {dataset.name}.")
        _ingest(work, dataset, target, move=True)


def _ingest(root: Path, dataset: Dataset, target: Path, move: bool) -> None:
    """Find the set below a folder, verify it, and store it under the catalogue's names."""
    all_groups = groups(root, dataset)
    whole = [group.files for group in all_groups if group.scale is None]
    if not whole:
        raise SisrError(f"there are no HR images of {dataset.name} in {root}.")
    reports = [check(files, dataset) for files in whole]
    if not any(report.complete for report in reports):
        together = check([file for files in whole for file in files], dataset)  # BSDS500's train and test folders
        reports += [together] if together.complete else []
    best = max(reports, key=lambda report: (report.complete, _whole(report), len(report.found), -len(report.extra)))
    if not best.complete:
        raise SisrError(f"these images are not {dataset.name}: {best}.")
    names = {key(image.path): name for name, image in best.found.items()}
    hr = {name: image.path for name, image in best.found.items()}
    with _workspace(target.parent) as work:
        new = work / dataset.name
        grey = {name for name, image in best.found.items() if image.grey_as_rgb}
        for group in all_groups:
            if group.scale is not None and not (folder := new / "LR_bicubic" / f"X{group.scale}").exists():
                files = _lr_of(group, names, hr)
                if files is not None:
                    _place(files, folder, f"x{group.scale}", grey, move)
        _place(hr, new / "HR", "", grey, move)
        replace_folder(new, target)


def _whole(report: Report) -> int:
    return sum(image.crop == 1 for image in report.found.values())


def _lr_of(group: Group, names: dict[str, str], hr: dict[str, Path]) -> dict[str, Path] | None:
    """LR files by HR name, or None unless every HR image has one of the right size."""
    assert group.scale is not None
    files = {names[key(path)]: path for path in group.files if key(path) in names}
    if set(files) != set(hr):
        return None
    for name, path in files.items():
        lr, full = image_shape(path)[:2], image_shape(hr[name])[:2]
        if any(small != side // group.scale for small, side in zip(lr, full, strict=True)):
            return None
    return files


def _place(files: dict[str, Path], folder: Path, mark: str = "", grey: Iterable[str] = (), move: bool = False) -> None:
    """Copy or move images into a folder as PNG; those in `grey` are stored with one channel."""
    folder.mkdir(parents=True)
    if not move:
        check_space(folder, 2 * sum(path.stat().st_size for path in files.values()), "to copy the images")
    grey = set(grey)
    for name, path in files.items():
        target = folder / f"{name}{mark}.png"
        if path.suffix.lower() != ".png" or name in grey:
            image = read_image(path)
            Image.fromarray(image[..., 0] if name in grey and image.ndim == 3 else image).save(target)
        elif move:
            path.replace(target)
        else:
            shutil.copyfile(path, target)


def _bundled(dataset: Dataset, target: Path) -> None:
    """Copy a set from the installed scikit-image, as PNG."""
    import skimage

    source = Path(skimage.__file__).parent / "data"
    files = {Path(file).stem: source / file for file in dataset.bundled}
    for path in files.values():
        if not path.is_file():
            raise SisrError(
                f"scikit-image {version('scikit-image')} does not include {path.name}; install 0.25 or 0.26."
            )
    with _workspace(target.parent) as work:
        _place(files, work / dataset.name / "HR")
        replace_folder(work / dataset.name, target)
