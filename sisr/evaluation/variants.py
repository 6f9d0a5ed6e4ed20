"""SR of one image in the ways in which evaluations differ: origin of LR, inference mode, channels, rounding."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sisr.data.imresize import imresize
from sisr.data.pairs import Pairs
from sisr.data.prepare import crop
from sisr.evaluation.upscalers import Network

TILE = 64
"""Side of the tiles that are tried, in LR pixels."""


class _GivenLr:
    """One image of a set with another LR."""

    def __init__(self, pairs: Pairs, lr: NDArray[Any]) -> None:
        self._pairs, self._lr = pairs, lr

    def lr(self, i: int) -> NDArray[Any]:
        return self._lr

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pairs, name)


def variants(network: Network, pairs: Pairs, i: int, scale: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """SR of image i with its words: first as in the protocol (blank), then with one departure each.

    LR of which every pixel equals the usual one gives the usual SR, without computing it again.
    """
    from sisr.evaluation.inference import Mode, upscale_array, upscale_float

    def upscaled(lr: NDArray[Any], mode: Mode = Mode()) -> NDArray[Any]:  # noqa: B008  (frozen)
        network.mode = mode
        sr: NDArray[Any] = network.upscale(_GivenLr(pairs, lr), i, scale)[0]
        return sr

    lr = np.array(pairs.lr(i))
    usual = upscaled(lr)
    yield "", usual
    for words, other in other_lr(np.array(pairs.whole_hr(i)), scale):
        same = other.shape == lr.shape and other.dtype == lr.dtype and np.array_equal(other, lr)
        yield words, usual if same else upscaled(other)
    if max(lr.shape[:2]) > TILE:
        yield f"in tiles of {TILE} LR pixels without overlap", upscaled(lr, Mode(tile=TILE, overlap=0))
    yield "in four quadrants, as in the code of EDSR", upscaled(lr, Mode(chop=True))
    yield "with self-ensemble", upscaled(lr, Mode(self_ensemble=True))
    if lr.ndim == 3:
        swapped = upscaled(lr[..., ::-1])
        if not network.luma_only:
            yield "from LR in BGR", swapped[..., ::-1]
    if network.luma_only:
        yield "of the network's RGB, rounded to 8 bits", upscale_array(network.model, lr)
        return
    if lr.ndim == 3:
        exact = upscale_float(network.model, lr)[0].astype(np.float64) * 255.0
        yield "with SR truncated to 8 bits", exact.astype(np.uint8)
        yield "with SR not rounded to 8 bits", _luma(exact)


def other_lr(hr: NDArray[np.uint8], scale: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """LR of an uncropped HR by other reductions: uint8, or floating point in [0, 1]."""
    whole, hr = hr, crop(hr, scale)
    for words, boundary in (("mirrored", "symmetric"), ("replicated", "replicate")):
        yield f"from LR by MATLAB's bicubic with a {words} border", imresize(hr, 1 / scale, boundary)
    exact = imresize(hr / 255.0, 1 / scale)
    yield "from LR that is not rounded to 8 bits", exact
    yield "from LR rounded once, as by ports of MATLAB's bicubic", _to_uint8(exact * 255.0)
    height, width = (side // scale for side in hr.shape[:2])
    small = Image.fromarray(hr).resize((width, height), Image.Resampling.BICUBIC)
    yield "from LR by Pillow's bicubic", np.asarray(small)
    for words, antialias in (
        ("OpenCV's bicubic, or PyTorch's without antialiasing", False),
        ("PyTorch's antialiased bicubic", True),
    ):
        yield f"from LR by {words}", _by_torch(hr, (height, width), antialias)
    if whole.shape != hr.shape:
        yield "from LR of the uncropped HR", imresize(whole, 1 / scale)


def _by_torch(hr: NDArray[np.uint8], size: tuple[int, int], antialias: bool) -> NDArray[np.uint8]:
    """Without antialiasing it is OpenCV's INTER_CUBIC: a kernel with a = −3/4, not widened; edges are replicated."""
    import torch

    planes = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(hr).transpose(2, 0, 1)))[None].double()
    small = torch.nn.functional.interpolate(planes, size, mode="bicubic", align_corners=False, antialias=antialias)
    image = _to_uint8(small[0].permute(1, 2, 0).numpy())
    return image if hr.ndim == 3 else image[..., 0]


def _to_uint8(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)


def _luma(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    from sisr.evaluation.metrics import Y_WEIGHTS

    return 16.0 + rgb @ np.array(Y_WEIGHTS) / 255.0
