"""Inference on one image: whole, in tiles, in the released code's four quadrants, with self-ensemble."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sisr.evaluation.metrics import Y_WEIGHTS
from sisr.utils import gpus, memory
from sisr.utils.errors import SisrError, UsageError

Forward = Callable[[Tensor], Tensor]
Tile = tuple[int, int]
Progress = Callable[[list[Tile]], Iterable[Tile]]
"""Wraps the list of tiles to show progress, like tqdm; `iter` shows nothing."""
SMALLEST_TILE = 16
OVERSHOOT = 0.5
"""How far floating-point pixels may lie outside of [0, 1]: bicubic interpolation exceeds the range at edges."""


@dataclass(frozen=True, kw_only=True)
class Mode:
    """Inference mode."""

    tile: int | None = None
    """Side of a tile in LR pixels; None: the whole image, if memory allows."""
    overlap: int = 32
    """LR pixels of context around each tile. Results of a convolutional network do not depend on tiles if the overlap
    is at least half its receptive field; those of global attention always do."""
    chop: bool = False
    """As in the released code: four overlapping quadrants, split again while they have 120,000 LR pixels or more."""
    self_ensemble: bool = False
    """Mean over the eight flips and rotations (EDSR+)."""

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < SMALLEST_TILE:
            raise UsageError(f"a tile must have at least {SMALLEST_TILE} LR pixels a side, not {self.tile}.")
        if self.overlap < 0:
            raise UsageError(f"the overlap must not be negative, it is {self.overlap}.")
        if self.chop and self.tile is not None:
            raise UsageError("tiles and chop are mutually exclusive; choose one.")

    def __str__(self) -> str:
        words = "chop" if self.chop else "whole" if self.tile is None else f"tile {self.tile} overlap {self.overlap}"
        return f"{words} self-ensemble" if self.self_ensemble else words


def device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" is a GPU that no other run uses (`sisr.utils.gpus`), or the CPU.

    Raises UsageError where there is no such device.
    """
    if torch.version.cuda:  # NVIDIA only; must precede the start of CUDA
        gpus.claim(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"device {name!r} does not exist on this machine.") from error
    return chosen


def upscale_array(model: nn.Module, lr: NDArray[Any], mode: Mode | None = None) -> NDArray[np.uint8]:
    """Upscale an image with a network, on the device of its weights.

    Args:
        model: from `models.create` or `models.load`; (1, 3, H, W) in [0, 1] to (1, 3, sH, sW).
        lr: uint8, or floating point in [0, 1]; (H, W) or (H, W, 3). A greyscale image is repeated to three channels;
            the result is its luma (`grey_of`), so that it can be compared with a greyscale HR.

    Returns uint8 (sH, sW[, 3]): clamped to [0, 1] and rounded.

    Raises:
        SisrError: another shape, type or range, or NaN; otherwise as `upscale_with_mode`.
    """
    return upscale_with_mode(model, lr, mode)[0]


def upscale_with_mode(
    model: nn.Module, lr: NDArray[Any], mode: Mode | None = None, progress: Progress = iter
) -> tuple[NDArray[np.uint8], Mode]:
    """`upscale_array`, and the mode that was used: tiles if the whole image is not expected to fit into memory.

    `lr` may also be floating point in [0, 1], not rounded to 256 levels.

    Raises:
        SisrError: not enough memory for the smallest tile, a wrong output size, or NaN or infinite values.
    """
    sr, mode = _upscale(model, to_tensor(lr), mode, progress)
    image = to_image(sr)
    return (grey_of(image) if lr.ndim == 2 else image), mode


def upscale_float(
    model: nn.Module, lr: NDArray[Any], mode: Mode | None = None, progress: Progress = iter
) -> tuple[NDArray[np.float32], Mode]:
    """Upscale an RGB image given as floating point in [0, 1], unrounded: (H, W, 3) to (sH, sW, 3) in [0, 1]."""
    sr, mode = _upscale(model, to_tensor(lr), mode, progress)
    return sr[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy(), mode


def upscale_luma(
    model: nn.Module, lr: NDArray[Any], mode: Mode | None = None, progress: Progress = iter
) -> tuple[NDArray[np.float64], Mode]:
    """Upscale the luma of an image with a luma-only network (`model.luma`), without converting through 8-bit RGB.

    Args:
        model: has `luma`: (1, 1, H, W) to (1, 1, sH, sW), Y of studio range divided by 255; and `luma_rounded`: whether
            its authors round Y of LR that has 8 bits first.
        lr: (H, W) or (H, W, 3), uint8 or floating point in [0, 1]. Greyscale is treated as RGB with equal channels.
        mode, progress: as in `upscale_with_mode`.

    Returns:
        (sH, sW), not rounded, clamped to 0 to 255; full range for greyscale.
    """
    y = to_tensor(lr).double() * 255.0
    y = 16.0 + torch.einsum("c,bchw->bhw", y.new_tensor(Y_WEIGHTS), y)[:, None] / 255.0
    if model.luma_rounded and lr.dtype == np.uint8:
        y = y.add(0.5).floor()
    sr, mode = _upscale(model, (y / 255.0).float(), mode, progress)
    plane = sr[0, 0].cpu().double().numpy() * 255.0
    return np.clip((plane - 16.0) * 255.0 / 219.0 if lr.ndim == 2 else plane, 0.0, 255.0), mode


def to_tensor(image: NDArray[Any]) -> Tensor:
    """(H, W) or (H, W, 3), uint8 or floating point in [0, 1], to (1, 3, H, W) float32 in [0, 1]; grey is repeated.

    Raises SisrError for another shape, type or range. The range of floating point may be exceeded by `OVERSHOOT`.
    """
    image = np.asarray(image)
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise SisrError(
            f"an image must be (H, W) or (H, W, 3), without alpha and not empty; this one is {image.shape}."
        )
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise SisrError(f"pixels must be uint8, or floating point in [0, 1], not {image.dtype}; convert the image.")
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())  # NaN if any value is
        if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
            raise SisrError(
                f"floating-point pixels must be in [0, 1], not from {low:g} to {high:g}; rescale the image."
            )
    rgb = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    tensor = torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None].float()
    return tensor / 255.0 if image.dtype == np.uint8 else tensor


def to_image(sr: Tensor) -> NDArray[np.uint8]:
    """(1, 3, H, W) in [0, 1] to uint8 (H, W, 3): clamped and rounded."""
    pixels = (sr[0].float() * 255.0).clamp(0, 255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().cpu().numpy()


def grey_of(image: NDArray[Any], largest: int = 1) -> NDArray[Any]:
    """Luma of an RGB image with the weights of Y but at full range, so that (v, v, v) gives v: (H, W, 3) to (H, W).

    uint8 gives uint8; floating point in [0, 1] is multiplied by `largest` (65535) and gives uint16.
    """
    red, green, blue = (image[..., i].astype(np.float64) for i in range(3))
    luma = (Y_WEIGHTS[0] * red + Y_WEIGHTS[1] * green + Y_WEIGHTS[2] * blue) / 219.0 * largest
    return np.floor(luma + 0.5).astype(np.uint8 if image.dtype == np.uint8 else np.uint16)


def synchronise(where: torch.device) -> None:
    """Wait until the device is idle, for timing."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    elif where.type == "mps":
        torch.mps.synchronize()


def _upscale(model: nn.Module, lr: Tensor, mode: Mode | None, progress: Progress) -> tuple[Tensor, Mode]:
    mode = mode or Mode()
    where = _device_of(model)
    height, width = lr.shape[2:]
    if mode.tile is None and not mode.chop:
        tile = memory.fitting_tile(model, height, width, mode.overlap, where)
        mode = replace(mode, tile=tile)
    while True:
        shortage = False
        try:
            with torch.inference_mode(), _full_precision(), _same_random_numbers(where):
                sr = _forward(model, mode, progress)(lr.to(where))
        except (RuntimeError, MemoryError) as error:
            if not memory.is_shortage(error):
                raise
            shortage = True
        if not shortage:
            break
        mode = _smaller(mode, height, width)  # outside of `except`: the traceback would keep the tensors alive
        if where.type == "cuda":
            torch.cuda.empty_cache()
    scale = int(model.scale)  # type: ignore[arg-type]
    if sr.shape[2:] != (height * scale, width * scale):
        raise SisrError(f"the network returned {tuple(sr.shape[2:])} for {(height, width)}, which is not x{scale}.")
    if not torch.isfinite(sr).all():
        raise SisrError("the network returned NaN or infinite values; its weights are damaged or training failed.")
    return sr, mode


@contextmanager
def _full_precision() -> Iterator[None]:
    """Disable TF32 in convolutions. PyTorch enables it on GPUs by default, and it changes PSNR."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def _same_random_numbers(where: torch.device) -> Iterator[None]:
    """Fixed random numbers for networks that use them in inference (NLSN); the caller's generators are not changed."""
    with torch.random.fork_rng([where] if where.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def _smaller(mode: Mode, height: int, width: int) -> Mode:
    """The next smaller tile."""
    tile = (mode.tile or max(height, width)) // 2
    if mode.chop or tile < SMALLEST_TILE:
        raise SisrError("not enough memory for this image, even tiled; use a smaller network or --device cpu.")
    return replace(mode, tile=tile)


def _device_of(model: nn.Module) -> torch.device:
    for tensor in chain(model.parameters(), model.buffers()):
        return tensor.device
    return torch.device("cpu")


def _forward(model: nn.Module, mode: Mode, progress: Progress) -> Forward:
    """The network as a function from (1, 3, h, w) to (1, 3, sh, sw) in this mode, or on luma with 1 for 3."""
    scale = int(model.scale)  # type: ignore[arg-type]

    def network(lr: Tensor) -> Tensor:
        return model(lr) if lr.shape[1] == 3 else model.luma(lr)  # type: ignore[operator]

    forward: Forward = network
    if mode.chop:
        forward = _chopped(network, scale)
    elif mode.tile is not None:
        forward = _tiled(network, scale, mode.tile, mode.overlap, progress)
    return _ensemble(forward) if mode.self_ensemble else forward


def _tiled(forward: Forward, scale: int, tile: int, overlap: int, progress: Progress) -> Forward:
    """Tile by tile; the result is collected in main memory, which is larger than the GPU's."""

    def run(lr: Tensor) -> Tensor:
        height, width = lr.shape[2:]
        sr = torch.empty(len(lr), lr.shape[1], height * scale, width * scale)
        for top, left in progress(list(product(range(0, height, tile), range(0, width, tile)))):
            bottom, right = min(top + tile, height), min(left + tile, width)
            y, x = max(top - overlap, 0), max(left - overlap, 0)
            part = forward(lr[..., y : bottom + overlap, x : right + overlap])
            inner = part[..., (top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale]
            sr[..., top * scale : bottom * scale, left * scale : right * scale] = inner
        return sr

    return run


def _chopped(forward: Forward, scale: int, overlap: int = 10, largest: int = 120_000) -> Forward:
    """Four quadrants as in the released code of EDSR and ENLCN: split at the middle, each 10 LR pixels larger."""

    def run(lr: Tensor) -> Tensor:
        height, width = lr.shape[2:]
        middle_y, middle_x = height // 2, width // 2
        tall, wide = min(middle_y + overlap, height), min(middle_x + overlap, width)
        whole = tall == height and wide == width  # too small to split further
        inner = forward if whole or tall * wide < largest else run
        rows = []
        for y, keep_y in ((0, slice(0, middle_y)), (height - tall, slice(middle_y, height))):
            parts = []
            for x, keep_x in ((0, slice(0, middle_x)), (width - wide, slice(middle_x, width))):
                part = inner(lr[..., y : y + tall, x : x + wide])
                parts.append(
                    part[
                        ...,
                        (keep_y.start - y) * scale : (keep_y.stop - y) * scale,
                        (keep_x.start - x) * scale : (keep_x.stop - x) * scale,
                    ]
                )
            rows.append(torch.cat(parts, dim=3))
        return torch.cat(rows, dim=2)

    return run


def _ensemble(forward: Forward) -> Forward:
    """Mean over the eight symmetries of the square, like EDSR's `x8`."""

    def run(lr: Tensor) -> Tensor:
        total = None
        for transposed in (False, True):
            for flips in ((), (2,), (3,), (2, 3)):
                view = lr.transpose(2, 3) if transposed else lr
                sr = forward(view.flip(flips) if flips else view)
                sr = sr.flip(flips) if flips else sr
                sr = sr.transpose(2, 3) if transposed else sr
                total = sr if total is None else total + sr
        assert total is not None
        return total / 8

    return run
