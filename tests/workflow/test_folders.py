"""One's own folders of images: a changed, added or removed image is prepared again."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from sisr.config.image_folders import store_sources
from sisr.data.prepare import prepare_hr, prepare_lr
from tests.helpers import checkout as checkouts
from tests.helpers.checkout import planned, snakemake


def save(file: Path, seed: int, side: int = 48, when: float = 0.0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file)
    if when:
        os.utime(file, (when, when))
    return file


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout whose preset trains on a folder of images, which are prepared."""
    folder = checkouts.copy(tmp_path_factory.mktemp("checkout"))
    for name in "ab":
        save(folder / "photos" / "HR" / f"{name}.png", ord(name), when=time.time() - 3600)
    preset = yaml.safe_load((folder / "config" / "tiny.yaml").read_text())
    preset["data"] |= {"train": ["mine"], "test_if_present": [], "validate": [], "folders": {"mine": "photos"}}
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(preset))
    made = snakemake(folder, "--cores", "1", *STORES, "--configfile", "config/tiny.yaml")
    assert made.returncode == 0, made.stderr
    yield folder
    shutil.rmtree(folder)


STORES = [f"data/prepared/mine/{store}/index.json" for store in ("hr", "x2")]


def prepared_again(checkout: Path) -> int:
    told = snakemake(checkout, "-n", *STORES, "--configfile", "config/tiny.yaml")
    assert told.returncode == 0, told.stderr
    return planned(told.stdout + told.stderr).get("prepare", 0)


def test_changed_images_are_prepared_again(checkout: Path) -> None:
    hr, backup = checkout / "photos" / "HR", checkout / "backup"
    assert prepared_again(checkout) == 0
    shutil.copytree(hr, backup)
    past = time.time() - 3600

    def restore() -> None:
        for file in hr.iterdir():
            file.unlink()
        for file in backup.iterdir():
            shutil.copy2(file, hr)

    save(hr / "a.png", 7)
    assert prepared_again(checkout) == 2  # overwritten
    restore()
    save(hr / "c.png", 8, when=past)
    assert prepared_again(checkout) == 2  # added, though it is older than the store
    restore()
    (hr / "b.png").unlink()
    assert prepared_again(checkout) == 2  # removed
    restore()
    assert prepared_again(checkout) == 0
    # LR for another scale is no input of these stores, LR for this scale is an input of one
    save(checkout / "photos" / "LR_bicubic" / "X3" / "ax3.png", 1, 16, past)
    assert prepared_again(checkout) == 0
    save(checkout / "photos" / "LR_bicubic" / "x2" / "ax2.png", 1, 24, past)
    assert prepared_again(checkout) == 1


def test_a_store_of_an_earlier_version_is_kept_until_an_image_changes(tmp_path: Path) -> None:
    """Its only recorded input is the folder; other inputs would train again after an upgrade."""
    folder = tmp_path / "photos"
    past = time.time() - 3600
    for name in "ab":
        save(folder / "HR" / f"{name}.png", ord(name), when=past)
    for store, made in (("hr", prepare_hr), ("x2", lambda source, output: prepare_lr(source, 2, output))):
        index = tmp_path / store / "index.json"
        files = [str(folder / "HR" / f"{name}.png") for name in "ab"]
        assert store_sources(str(folder), store, index) == files  # not prepared yet
        made(folder, tmp_path / store)
        assert store_sources(str(folder), store, index) == files
        content = json.loads(index.read_text())
        del content["files"]  # version 0.1 does not list them
        index.write_text(json.dumps(content))
        assert store_sources(str(folder), store, index) == [str(folder)]
        save(folder / "HR" / "c.png", 3, when=past)
        assert len(store_sources(str(folder), store, index)) == 3
        (folder / "HR" / "c.png").unlink()
        os.utime(folder / "HR" / "a.png")
        assert store_sources(str(folder), store, index) == files
        os.utime(folder / "HR" / "a.png", (past, past))
