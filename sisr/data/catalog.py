"""The catalogue of image sets: `data/datasets.yaml` with `data/hashes/`."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from sisr.config.layout import CATALOGUE
from sisr.data.image_files import list_images
from sisr.utils import yaml_files
from sisr.utils.errors import SisrError, UsageError

SCHEMA = 2
CROPS = (2, 3, 4, 12)
"""Published copies of test sets are cropped to a multiple of these."""


@dataclass(frozen=True)
class Source:
    """An archive with one or several equivalent addresses."""

    archive: str
    """File name."""
    addresses: tuple[str, ...]
    holds: str
    """Description of its content: HR, LR_bicubic …"""
    md5: str | None = None
    bytes: int | None = None
    """Size of the archive, if known."""
    folder: str = ""
    """The only folder that is unpacked, where an archive holds much else; verified by its images' pixels."""
    dead: str = ""
    """Since when it is reported not to answer; empty for all others."""


@dataclass(frozen=True)
class Fingerprint:
    """Size and hashes of one image of a set."""

    height: int
    width: int
    channels: int
    sha256: str
    """Of the pixels, as `sisr.data.image_files.pixel_hash`."""
    crops: Mapping[int, str]
    """Of the image cropped to a multiple of 2, 3, 4, 12, if cropping changes it."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One image set of the catalogue."""

    name: str
    title: str
    role: str
    """"train" or "test"."""
    licence: str
    terms: str
    homepage: str
    cite: str
    images: int
    """Number of HR images."""
    scales: tuple[int, ...]
    """Scales of the LR images that the sources include."""
    names: tuple[str, ...] = ()
    """Names of the images, if known without hashes."""
    aliases: tuple[str, ...] = ()
    """Other names of the set."""
    megabytes: int = 0
    """Approximate size of the download."""
    sources: tuple[Source, ...] = ()
    """HR (some with LR), tried from the first to the last."""
    lr_sources: Mapping[int, Source] = field(default_factory=dict)
    bundled: tuple[str, ...] = ()
    """File names within scikit-image's data folder, for sets that need no download."""
    apply: str = ""
    """How to request a set that cannot be downloaded automatically; empty for all others."""
    traps: tuple[str, ...] = ()
    fingerprints: Mapping[str, Fingerprint] = field(default_factory=dict, repr=False)
    """By image name; empty or incomplete if the images were not available or depend on a decoder."""

    def folder(self, data: str | Path) -> Path:
        """Folder of the set below the data folder."""
        return Path(data) / self.name

    @property
    def layout(self) -> str:
        """Paths of its images below its folder."""
        lr = ", LR_bicubic/X<scale>/<name>x<scale>.png" if self.scales else ""
        return f"HR/<name>.png{lr}"

    @property
    def calls(self) -> tuple[str, ...]:
        """All names of the set, lower case."""
        return tuple(name.lower() for name in (self.name, *self.aliases))


@lru_cache(maxsize=8)
def known(catalogue: Path = CATALOGUE) -> dict[str, Dataset]:
    """All sets of a catalogue by name, in its order. Raises SisrError where it is missing or malformed."""
    try:
        document = yaml_files.read(catalogue)
        if document["schema"] != SCHEMA:
            raise SisrError(f"{catalogue} has format {document['schema']}, expected {SCHEMA}.")
        return {name: _dataset(name, entry, catalogue.parent) for name, entry in document["sets"].items()}
    except FileNotFoundError as error:
        raise SisrError(f"the catalogue of image sets lacks {error.filename}.") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SisrError(f"{catalogue} is not a catalogue of image sets ({error}).") from error


def _dataset(name: str, entry: dict[str, Any], folder: Path) -> Dataset:
    entry = dict(entry)
    names: tuple[str, ...] = ()
    if numbered := entry.pop("names", None):
        first, last = numbered.split("-")
        names = tuple(str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
    sources = tuple(_source(source) for source in entry.pop("sources", ()))
    lr_sources = {int(scale): _source(source) for scale, source in entry.pop("lr_sources", {}).items()}
    hashed = entry.pop("hashes", True)
    listed, fingerprints = _hashes(folder / "hashes" / f"{name}.csv") if hashed else ((), {})
    lists: dict[str, Any] = {key: tuple(entry.pop(key, ())) for key in ("scales", "aliases", "bundled", "traps")}
    if not names:
        names = tuple(Path(file).stem for file in lists["bundled"]) or listed
    return Dataset(
        name=name,
        names=names,
        sources=sources,
        lr_sources=lr_sources,
        fingerprints=fingerprints,
        **lists,
        **entry,
    )


def _source(entry: dict[str, Any]) -> Source:
    return Source(**{**entry, "addresses": tuple(entry["addresses"])})


def _hashes(path: Path) -> tuple[tuple[str, ...], dict[str, Fingerprint]]:
    """Names of all images, and fingerprints of those with a hash; pixels of a JPEG depend on its decoder."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return tuple(row["image"] for row in rows), {
        row["image"]: Fingerprint(
            int(row["height"]),
            int(row["width"]),
            int(row["channels"]),
            row["sha256"],
            {multiple: value for multiple in CROPS if (value := row[f"sha256_mod{multiple}"])},
        )
        for row in rows
        if row["sha256"]
    }


def find(name: str, catalogue: Path = CATALOGUE) -> Dataset:
    """The set of this name. Raises UsageError, with the closest name, where it is unknown."""
    sets = known(catalogue)
    if name in sets:
        return sets[name]
    calls: dict[str, str] = {}
    for dataset in sets.values():
        for call in dataset.calls:
            calls.setdefault(call, dataset.name)
    close = get_close_matches(name.lower(), calls, n=1)
    hint = f"did you mean {calls[close[0]]}?" if close else f"there are {', '.join(sets)}."
    raise UsageError(f"no image set is called {name!r}; {hint}")


def present(data: str | Path = "data", role: str = "test") -> list[str]:
    """Names of the sets of this role whose HR images are below the data folder, in the catalogue's order."""
    return [
        name
        for name, dataset in known().items()
        if dataset.role == role and (folder := dataset.folder(data) / "HR").is_dir() and list_images(folder)
    ]
