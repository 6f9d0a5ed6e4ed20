"""The smallest training that has everything: photographs at x2, ENLCN with two modules, the contrastive loss."""

from pathlib import Path

import torch
from skimage import data as photographs

import models
from sisr.config.run import Network, Run, Training
from sisr.data.imresize import imresize
from sisr.data.store import write

SETTINGS = Training(
    steps=12,
    batch=2,
    patch=16,
    learning_rate=1e-3,
    halve_every=4,
    contrastive_weight=1e-3,
    contrastive_start=5,
    redraw_every=3,
)
NETWORK = Network(
    name="enlcn",
    scale=2,
    blocks=2,
    channels=8,
    attention="enlca",
    attention_options={"k": 6.0, "m": 16},
    slots=(0, 2),
    initialisation="interpolation",
)
RUN = Run(network=NETWORK, training=SETTINGS, train=("photos",))


def prepare(folder: Path) -> Path:
    """Two photographs, one of them greyscale, at x2, prepared as the set `photos`."""
    images = {"cat": photographs.chelsea()[:120, :140], "camera": photographs.camera()[200:296, 200:300]}
    write(folder / "photos" / "hr", images.items(), {})
    write(folder / "photos" / "x2", ((name, imresize(image, 0.5)) for name, image in images.items()), {})
    return folder


def state(folder: Path) -> dict[str, torch.Tensor]:
    """Weights and buffers that a run ended with."""
    return models.load(folder / "weights.safetensors").state_dict()


def same_weights(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same weights, to the bit."""
    first, second = state(one), state(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
