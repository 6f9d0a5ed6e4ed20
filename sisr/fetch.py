"""Getting image sets onto the disk."""

import shutil
import tempfile
from pathlib import Path

from PIL import Image

from sisr.datasets import Dataset
from sisr.errors import SisrError
from sisr.files import atomic_write
from sisr.images import list_images, read_image


def fetch(dataset: Dataset, data: str | Path) -> Path:
    """Put a set below the data folder as `<set>/HR/*.png`; a set that is there already is left as it is.

    Raises:
        SisrError: the set cannot be had.
    """
    target = dataset.folder(data)
    if (target / "HR").is_dir() and len(list_images(target / "HR")) == dataset.images:
        return target
    return _bundled(dataset, target)


def _bundled(dataset: Dataset, target: Path) -> Path:
    """Copy a set out of the installed scikit-image, as PNG."""
    from importlib.metadata import version

    import skimage

    source = Path(skimage.__file__).parent / "data"
    target.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".HR.", dir=target))
    try:
        for file in dataset.bundled:
            if not (source / file).is_file():
                raise SisrError(
                    f"scikit-image {version('scikit-image')} does not bring {file} along; install 0.25 to 0.26."
                )
            with atomic_write(temporary / f"{Path(file).stem}.png") as path:
                Image.fromarray(read_image(source / file)).save(path)
        temporary.chmod(0o755)
        if (target / "HR").exists():
            shutil.rmtree(target / "HR")
        temporary.rename(target / "HR")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
