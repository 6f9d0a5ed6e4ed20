"""The catalogue of image sets, `data/datasets.yaml`, and what of it is on disk."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import yaml

from sisr.errors import SisrError, UsageError
from sisr.images import list_images

CATALOGUE = Path(__file__).parent.parent / "data" / "datasets.yaml"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One image set."""

    name: str
    title: str
    role: str
    """"train" or "test"."""
    licence: str
    terms: str
    homepage: str
    images: int
    """How many HR images it has."""
    bundled: tuple[str, ...] = field(default=())
    """File names within scikit-image's data folder, for sets that need no download."""

    def folder(self, data: str | Path) -> Path:
        """Where the set lives below the data folder."""
        return Path(data) / self.name


@lru_cache(maxsize=8)
def known(catalogue: Path = CATALOGUE) -> dict[str, Dataset]:
    """All sets of the catalogue by name, in its order.

    Raises:
        SisrError: the catalogue is missing or does not have the expected form.
    """
    try:
        document = yaml.safe_load(catalogue.read_text())
        return {
            name: Dataset(name=name, **{**entry, "bundled": tuple(entry.get("bundled", ()))})
            for name, entry in document["sets"].items()
        }
    except FileNotFoundError as error:
        raise SisrError(f"the catalogue of image sets is missing: {catalogue}.") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise SisrError(f"{catalogue} is not a catalogue of image sets ({error}).") from error


def find(name: str, catalogue: Path = CATALOGUE) -> Dataset:
    """The set of this name.

    Raises:
        UsageError: there is none; the closest name is suggested.
    """
    sets = known(catalogue)
    if name not in sets:
        lowered = {known_name.lower(): known_name for known_name in sets}
        close = get_close_matches(name.lower(), lowered, n=1)
        hint = f"did you mean {lowered[close[0]]}?" if close else f"there are {', '.join(sets)}."
        raise UsageError(f"no image set is called {name!r}; {hint}")
    return sets[name]


def present(data: str | Path = "data", role: str = "test") -> list[str]:
    """Names of the sets of this role whose HR images are below the data folder, in the catalogue's order."""
    return [
        name
        for name, dataset in known().items()
        if dataset.role == role and (folder := dataset.folder(data) / "HR").is_dir() and list_images(folder)
    ]
