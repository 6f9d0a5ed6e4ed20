"""A checkout as a reader of the documentation has it after `make reproduce`, with small things in place of large ones.

The photographs and their preparation are real, the runs of the preset `quick` are its networks before training, with
the per-image rows that are committed; other image sets are pieces of the photographs under the names of theirs.
"""

import json
import shutil
from pathlib import Path

import torch
import yaml
from PIL import Image
from skimage import data as photographs

import models
from sisr import cli
from sisr.config.presets import plan
from sisr.data import store
from sisr.data.imresize import imresize
from sisr.training.train import create_network
from tests.helpers import checkout
from tests.models.test_models import released

SETS = {
    "Set5": ("baby", "bird", "butterfly", "head", "woman"),
    "Set14": ("baboon", "bridge"),
    "B100": ("3096",),
    "Urban100": ("img_004", "img_092"),
    "BSDS400": ("2092",),
    "T91": ("t1",),
    "DIV2K": ("0001",),
}


def make(folder: Path) -> Path:
    """Fill a folder; to be called with the folder as working directory."""
    checkout.copy(folder)
    for file in (folder / "results" / "reference" / "quick").rglob("*"):
        if file.is_file():
            target = folder / "results" / "quick" / file.relative_to(folder / "results" / "reference" / "quick")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
    planned = plan(yaml.safe_load((folder / "config" / "quick.yaml").read_text()), folder)
    for name, run in planned.runs.items():
        place = folder / "results" / "quick" / "runs" / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.json").write_text(json.dumps(run.as_dict()))
        models.save(create_network(run), place / "weights.safetensors")

    assert cli.main(["fetch", "photographs", "photographs-test"]) == 0
    for name in ("photographs", "photographs-test"):
        for scale in ("hr", "2", "4"):
            words = ["prepare", name, "--scale", scale, "--output"]
            words.append(f"data/prepared/{name}/{scale if scale == 'hr' else 'x' + scale}")
            assert cli.main(words) == 0, words
    pictures(folder)
    for name in ("ENLCAx4.pt", "model.pth"):
        torch.save(released(scale=4).state_dict(), folder / name)
    comparison(folder, list(planned.runs))
    return folder


def comparison(folder: Path, runs: list[str]) -> None:
    """A comparison of ENLCA and NLSA, of runs that the preset has."""
    words = ["tables", "compare", "--results", "results/quick"]
    for label, start in (("enlca", "enlcn-x4-k6-m128-s0"), ("nlsa", "nlsn-x4-r4-s0")):
        words += ["--method", f"{label}={next(run for run in runs if run.startswith(start))}"]
    assert cli.main(words) == 0
    for name in ("mini", "laptop"):
        shutil.copytree(folder / "results" / "quick", folder / "results" / name)
    shutil.copy2(folder / "config" / "mini.yaml", folder / "results" / "mini" / "preset.yaml")


def pictures(folder: Path) -> None:
    """The photographs of a reader, and stand-ins for the sets that would be downloaded."""
    photo = Image.fromarray(photographs.chelsea()[:96, :128])
    photo.save(folder / "photo.jpg")
    for holder in ("holidays", "my_photos"):
        (folder / holder).mkdir()
        for name in ("beach.jpg", "hill.png"):
            photo.save(folder / holder / name)
    for name, images in SETS.items():
        pieces = {
            image: photographs.astronaut()[40 * number :, 100:][:192, :192] for number, image in enumerate(images)
        }
        store.write(folder / "data" / "prepared" / name / "hr", pieces.items(), {})
        for scale in (2, 4):
            reduced = ((image, imresize(piece, 1 / scale)) for image, piece in pieces.items())
            store.write(folder / "data" / "prepared" / name / f"x{scale}", reduced, {})
