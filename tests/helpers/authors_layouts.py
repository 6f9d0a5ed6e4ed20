"""State dicts in the layout of the authors' code, filled from names, and what the authors' code computed with them.

A file `tests/models/authors_layouts/<network>.json` was written with the authors' code, which is named in it:

    range       of the RGB values that this code expects
    unused      pattern of the names of parameters that it has and does not use
    gain        factor on the weights: deep networks without it are chaotic, and no comparison would be exact
    cases       for a scale and sizes: the state dict's layout, the output for `image` with the weights of `state_dict`
                and the norms of the gradients of `loss`, in float64; `learned`: training has moved the shift of colours
    full        for a scale: layout and number of parameters at full size

and where they are needed:

    any_scale   true for weights that serve all scales
    positive    pattern of the names of factors and variances
    shared      {pattern: replacement}, which give names that share their weights one name
    no_parameter  pattern of the names of statistics, and of copies of shared weights
    folded      pattern of the names, here, of weights that the range becomes part of: their gradient is another one
    size        of the image of a case, where it is not `SIZE`

A layout is {names: shape}; `body.{0-9}.conv.{0,2}.weight` are twenty names, and so are `conv{01-10}_{a,b}`.
"""

import itertools
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "models" / "authors_layouts"
NETWORKS = sorted(file.stem for file in FOLDER.glob("*.json"))
MEAN = np.array([0.4488, 0.4371, 0.4040])
SIZE = (10, 12)


def read(network: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{network}.json").read_text())
    return content


def expand(layout: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """{name: shape} of a layout."""
    shapes: dict[str, tuple[int, ...]] = {}
    for names, shape in layout.items():
        parts = re.split(r"\{(.*?)\}", names)
        choices = [_numbers(part) if odd % 2 else [part] for odd, part in enumerate(parts)]
        shapes |= {"".join(name): tuple(shape) for name in itertools.product(*choices)}
    return shapes


def _numbers(text: str) -> list[str]:
    choices = []
    for part in text.split(","):
        first, *last = part.split("-")
        choices += (
            [str(n).zfill(len(first)) for n in range(int(first), int((last or [first])[0]) + 1)]
            if first.isdigit()
            else [part]
        )
    return choices


def noise(name: str, shape: Sequence[int]) -> NDArray[np.float64]:
    """Numbers in [-1, 1) that a name and a shape determine on every machine (the hash of SplitMix64)."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(zlib.crc32(name.encode()) << 32)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) / 2**52 - 1).reshape(shape)


def state_dict(
    shapes: Mapping[str, Sequence[int]],
    value_range: float,
    learned: bool = False,
    gain: float = 1.0,
    positive: str = "(?!)",
    shared: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """Weights of variance gain² / inputs, and small biases. learned: the shift of colours is only near the authors'.

    positive: pattern of the names of numbers that are from 0.5 to 1.5. shared: see above.
    """
    state = {}
    for name, shape in shapes.items():
        source = name
        for pattern, replacement in (shared or {}).items():
            source = re.sub(pattern, replacement, source)
        values = noise(source, shape)
        if name.startswith(("sub_mean.", "add_mean.")):
            moved = values * learned
            if name.endswith("weight"):
                values = np.eye(3).reshape(3, 3, 1, 1) + 0.01 * moved
            else:
                values = value_range * ((1 if name.startswith("add") else -1) * MEAN + 0.01 * moved)
        elif re.search(positive, name):
            values = 1 + values / 2
        elif len(shape) > 1:
            values = gain * values * (3 / np.prod(shape[1:])) ** 0.5
            if re.search(r"(theta|phi)\.", name):
                values *= 0.01  # else a softmax of their products would be a maximum, and its gradient noise
        else:
            values = 0.1 * values
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state


def released(network: str, case: int = 0) -> dict[str, Tensor]:
    """The state dict of a case of a network's file."""
    record = read(network)
    sizes = record["cases"][case]
    special = {key: record[key] for key in ("positive", "shared") if key in record}
    return state_dict(expand(sizes["layout"]), record["range"], sizes["learned"], record["gain"], **special)


def scale_to_give(network: str, case: int = 0) -> int | None:
    """The scale for `models.load`, which weights that serve all scales need."""
    record = read(network)
    return int(record["cases"][case]["scale"]) if record.get("any_scale") else None


def image(size: Sequence[int] = SIZE) -> Tensor:
    """(1, 3, *size), RGB in [0, 1]."""
    return torch.from_numpy((noise("image", (1, 3, *size)) / 2 + 0.5).astype(np.float32))


def loss(output: Tensor) -> Tensor:
    """A product with fixed numbers; `output` for RGB in [0, 1]."""
    return (output * torch.from_numpy(noise("loss", output.shape)).to(output)).sum()


def statistics(output: Tensor) -> dict[str, Any]:
    """Mean and standard deviation of an output, and sixteen of its values."""
    flat = output.detach().double().flatten()
    chosen = torch.linspace(0, len(flat) - 1, 16).long()
    return {"mean": flat.mean().item(), "deviation": flat.std().item(), "values": flat[chosen].tolist()}
