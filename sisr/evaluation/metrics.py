"""PSNR and SSIM on luminance, with the protocols of super-resolution papers.

Common to all: a border of `scale` pixels is removed, peak 255, float64; an RGB image is converted to
Y = 16 + (65.481 R + 128.553 G + 24.966 B)/255 (BT.601, studio range), a greyscale image is not converted.

- P1: Y not rounded. RCAN, EDSR, NLSN and ENLCN code, BasicSR, KAIR; the rows of the paper's tables. The default.
- P2: Y rounded. SelfExSR, LapSRN, CARN; 0.02 to 0.07 dB below P1. Computed as in MATLAB's `rgb2ycbcr`, which multiplies
  the coefficients by 1/255 first, so that the same values are rounded up at .5.
- P3: the "Bicubic" row that papers copy from one another: Y is rounded as in P2, then reduced and upscaled in double
  precision (in `sisr.evaluation.upscalers`) and rounded only at the end. For a given image it equals P2.

Functions without "batch" take NumPy arrays, the others tensors on any device.
"""

from functools import lru_cache
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sisr.utils.errors import SisrError

if TYPE_CHECKING:
    import torch

PROTOCOLS = ("P1", "P2", "P3")
_WINDOW = 11
_SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
Y_WEIGHTS = (65.481, 128.553, 24.966)
"""Red, green and blue in Y, over 255 (BT.601, as in MATLAB's rgb2ycbcr)."""
_SCALED = tuple(weight * (1 / 255) for weight in Y_WEIGHTS)
_Y_RANGE = (-128.0, 384.0)  # 0 to 255, and the overshoot of interpolation
_UNIT_RANGE = (-1.0, 2.0)  # [0, 1], and the overshoot of a network
_ROUNDED_TO_UNIT = (-1 / 512, 1 + 1 / 512)  # [0, 1], and what rounding to 8 bits removes
_TO_UINT8 = "np.clip(np.rint(255 * image), 0, 255).astype(np.uint8) converts an image with values in [0, 1]"


def luminance(image: NDArray[Any], protocol: str = "P1") -> NDArray[np.float64]:
    """Y of an image according to the protocol.

    Args:
        image: uint8 (H, W) or (H, W, 1), greyscale, used unchanged; or uint8 (H, W, 3), RGB. A floating-point (H, W)
            is an unrounded Y (range 0 to 255, with overshoot); P2 and P3 round it.
        protocol: "P1", "P2" or "P3".

    Returns:
        (H, W) float64, 0 to 255.

    Raises:
        SisrError: another shape or type, a floating-point image whose values are not those of a Y, or NaN.
    """
    _check_protocol(protocol)
    image = _array(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        red, green, blue = (image[..., i].astype(np.float64) for i in range(3))
        plane = _y(red, green, blue, protocol)
    elif image.ndim == 2 and image.dtype == np.uint8:
        plane = image.astype(np.float64)
    elif image.ndim == 2 and np.issubdtype(image.dtype, np.floating):
        plane = image.astype(np.float64)
        _check_y(plane)
    else:
        raise SisrError(
            f"an image must be uint8 (H, W) or (H, W, 3), or a floating-point Y (H, W); "
            f"this one is {image.dtype} {image.shape}; {_how_to_convert(image)}."
        )
    return plane if protocol == "P1" else np.clip(np.floor(plane + 0.5), 0, 255)


def psnr(sr: NDArray[Any], hr: NDArray[Any], scale: int, protocol: str = "P1") -> float:
    """Peak signal-to-noise ratio on Y in dB; `inf` if the compared pixels are identical.

    Args:
        sr, hr: images of one size, both uint8 (H, W, 3), RGB, or both uint8 (H, W), greyscale. Each can also be a
            floating-point (H, W), an unrounded Y (range 0 to 255).
        scale: width of the border that is removed on all sides.
        protocol: "P1" (Y not rounded), "P2" or "P3" (Y rounded).

    Raises:
        SisrError: the sizes differ, one image is greyscale and the other RGB, nothing is left within the border, a
            floating-point image has other values than a Y (as in [0, 1], or NaN), or the type, the number of channels
            or the protocol is unknown.
    """
    a, b = _inside(sr, hr, scale, protocol)
    return _decibel(float(np.mean((a - b) ** 2)))


def ssim(sr: NDArray[Any], hr: NDArray[Any], scale: int, protocol: str = "P1") -> float:
    """Structural similarity on Y (Wang et al. 2004): 11x11 Gaussian window with sigma 1.5, K = (0.01, 0.03), L = 255.

    Only windows inside the image (MATLAB's "valid"), population covariance, no downsampling. Arguments and errors as in
    `psnr`; the image without its border must contain at least one window.
    """
    a, b = _inside(sr, hr, scale, protocol)
    _check_window(a.shape, scale)
    # a constant offset does not change the covariance but improves the precision
    offset = 128.0
    a, b = a - offset, b - offset
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a**2
    var_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    mean_a += offset
    mean_b += offset
    similarity = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    similarity /= (mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)
    return float(similarity.mean())


def psnr_batch(sr: "torch.Tensor", hr: "torch.Tensor", scale: int, protocol: str = "P1") -> "torch.Tensor":
    """`psnr` of each pair of a batch, on the tensors' device.

    Args:
        sr, hr: (B, 3, H, W) or (B, 1, H, W); uint8, or floating point in [0, 1], which is clamped and rounded to uint8
            values first. SR may exceed [0, 1] by as much as a network overshoots.
        scale, protocol: as in `psnr`.

    Returns:
        (B,) float64 in dB.

    Raises:
        SisrError: as `psnr`, or floating-point values of another range than [0, 1].
    """
    a, b = _inside_batch(sr, hr, scale, protocol)
    error = (a - b).square().mean(dim=(1, 2, 3))
    return 10.0 * (255.0**2 / error).log10()


def ssim_batch(sr: "torch.Tensor", hr: "torch.Tensor", scale: int, protocol: str = "P1") -> "torch.Tensor":
    """`ssim` of each pair of a batch, on the tensors' device; arguments as in `psnr_batch`, (B,) float64."""
    import torch
    from torch.nn.functional import conv2d

    a, b = _inside_batch(sr, hr, scale, protocol)
    _check_window(tuple(a.shape[2:]), scale)
    offset = 128.0
    a, b = a - offset, b - offset
    taps = torch.from_numpy(_gaussian()).to(a)
    maps = torch.cat([a, b, a * a, b * b, a * b])
    maps = conv2d(conv2d(maps, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))
    mean_a, mean_b, square_a, square_b, product = maps.chunk(5)
    var_a, var_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    mean_a, mean_b = mean_a + offset, mean_b + offset
    similarity = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    similarity = similarity / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))
    return similarity.mean(dim=(1, 2, 3))


def check_size(height: int, width: int, scale: int) -> None:
    """Raise SisrError if an image of this size is too small for PSNR and SSIM with a border of `scale`."""
    _check_sizes((height, width), (height, width), scale)
    _check_window((height - 2 * scale, width - 2 * scale), scale)


def _check_window(left: tuple[int, ...], scale: int) -> None:
    if min(left) < _WINDOW:
        raise SisrError(
            f"SSIM needs {_WINDOW} pixels within the border of {scale}, but {left[0]} x {left[1]} are left."
        )


def _check_protocol(protocol: str) -> None:
    if protocol not in PROTOCOLS:
        raise SisrError(f"unknown protocol {protocol!r}; there are {', '.join(PROTOCOLS)}.")


def _array(image: Any) -> NDArray[Any]:
    try:
        return np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a GPU or with a gradient, a ragged list
        raise SisrError(f"an image must be an array ({' '.join(str(error).split())}).") from error


def _y(red: Any, green: Any, blue: Any, protocol: str) -> Any:
    """Y of float64 planes, arrays or tensors; the order of the operations decides what is rounded up at .5."""
    if protocol == "P1":
        return 16.0 + (Y_WEIGHTS[0] * red + Y_WEIGHTS[1] * green + Y_WEIGHTS[2] * blue) / 255.0
    return _SCALED[0] * red + _SCALED[1] * green + _SCALED[2] * blue + 16.0


def _check_y(plane: NDArray[np.float64]) -> None:
    """Refuse floating-point images that are not a Y from 0 to 255; an all-black image is the same in any range."""
    low, high = (float(plane.min()), float(plane.max())) if plane.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise SisrError("the image contains NaN or infinite values.")
    if low < _Y_RANGE[0] or high > _Y_RANGE[1] or 0 < max(high, -low) <= _UNIT_RANGE[1]:
        raise SisrError(
            f"a floating-point image must be a Y from 0 to 255, but this one is {low:.4g} to {high:.4g}; {_TO_UINT8}."
        )


def _how_to_convert(image: NDArray[Any]) -> str:
    if image.ndim == 3 and image.shape[2] != 3 and image.shape[0] in (1, 3):
        return "image.transpose(1, 2, 0) puts the channels last"
    if image.ndim == 3 and image.shape[2] in (2, 4):
        return "remove the alpha channel, or blend it with a background"
    if np.issubdtype(image.dtype, np.floating) and image.ndim == 3:
        return _TO_UINT8
    if image.dtype == np.uint16:
        return "np.rint(image / 257).astype(np.uint8) converts an image with values from 0 to 65535"
    if image.dtype == np.bool_:
        return "255 * image.astype(np.uint8) converts it"
    if np.issubdtype(image.dtype, np.integer) and image.ndim in (2, 3):
        return "image.astype(np.uint8) converts an image with values from 0 to 255"
    return "convert it first"


def _inside(
    sr: NDArray[Any], hr: NDArray[Any], scale: int, protocol: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both Y planes without their border."""
    sr, hr = _array(sr), _array(hr)
    a, b = luminance(sr, protocol), luminance(hr, protocol)
    colour = [image.ndim == 3 and image.shape[2] == 3 for image in (sr, hr)]
    if sr.dtype == hr.dtype == np.uint8 and colour[0] != colour[1]:
        raise SisrError(
            f"SR is {'RGB' if colour[0] else 'greyscale'} but HR is {'RGB' if colour[1] else 'greyscale'}, whose Y "
            "have different ranges; np.repeat(image[..., None], 3, axis=2) makes a greyscale image RGB."
        )
    scale = _check_sizes(a.shape, b.shape, scale)
    cut = (slice(scale, a.shape[0] - scale), slice(scale, a.shape[1] - scale))
    return a[cut], b[cut]


def _inside_batch(
    sr: "torch.Tensor", hr: "torch.Tensor", scale: int, protocol: str
) -> tuple["torch.Tensor", "torch.Tensor"]:
    import torch

    _check_protocol(protocol)
    if not (isinstance(sr, torch.Tensor) and isinstance(hr, torch.Tensor)):
        raise SisrError("batches must be tensors; sisr.psnr and sisr.ssim take arrays.")
    if sr.ndim != 4 or sr.shape[:2] != hr.shape[:2] or not len(sr) or sr.shape[1] not in (1, 3):
        raise SisrError(
            f"batches must be (B, C, H, W) of equal length with 1 or 3 channels, "
            f"not {tuple(sr.shape)} and {tuple(hr.shape)}."
        )
    if sr.device != hr.device:
        raise SisrError(f"SR is on {sr.device} but HR is on {hr.device}; move one of them.")
    scale = _check_sizes(tuple(sr.shape[2:]), tuple(hr.shape[2:]), scale)
    planes = []
    for name, batch, (lowest, highest) in (("SR", sr, _UNIT_RANGE), ("HR", hr, _ROUNDED_TO_UNIT)):
        values = batch.detach()
        values = (values.cpu() if values.device.type == "mps" else values).double()  # Apple's GPUs have no float64
        if batch.is_floating_point():
            low, high = values.min().item(), values.max().item()
            if not lowest <= low <= high <= highest:  # also where one of them is NaN
                raise SisrError(
                    f"{name} has values from {low:.4g} to {high:.4g}, but a floating-point batch must be in [0, 1]; "
                    "divide values from 0 to 255 by 255."
                )
            values = (values * 255.0).clamp(0, 255).round()
        elif batch.dtype != torch.uint8:
            raise SisrError(f"a batch must be uint8, or floating point in [0, 1]; {name} is {batch.dtype}.")
        if batch.shape[1] == 3:
            values = _y(values[:, :1], values[:, 1:2], values[:, 2:], protocol)
        if protocol != "P1":
            values = (values + 0.5).floor()
        height, width = values.shape[2:]
        planes.append(values[..., scale : height - scale, scale : width - scale])
    return planes[0], planes[1]


def _check_sizes(sr: tuple[int, ...], hr: tuple[int, ...], scale: int) -> int:
    """The scale as an int. Raises SisrError where it is not one, the sizes differ, or the border leaves nothing."""
    try:
        border = index(scale)
    except TypeError as error:
        raise SisrError(f"the scale must be a whole number, not {scale!r}.") from error
    if sr != hr:
        raise SisrError(
            f"SR is {sr[0]} x {sr[1]} but HR is {hr[0]} x {hr[1]}: sizes must be equal (HR cropped to LR * scale)."
        )
    if border < 0 or min(hr) <= 2 * border:
        raise SisrError(f"an image of {hr[0]} x {hr[1]} has no pixels within a border of {border}.")
    return border


def _decibel(error: float) -> float:
    return float("inf") if error == 0 else float(10.0 * np.log10(255.0**2 / error))


@lru_cache(maxsize=1)
def _gaussian() -> NDArray[np.float64]:
    x = np.arange(_WINDOW) - _WINDOW // 2
    taps = np.exp(-(x**2) / (2 * _SIGMA**2))
    return taps / taps.sum()


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian mean of every window inside the image: (H, W) to (H - 10, W - 10)."""
    from scipy.ndimage import correlate1d

    half = _WINDOW // 2
    taps = _gaussian()
    rows = correlate1d(plane, taps, axis=0)[half:-half]
    return correlate1d(rows, taps, axis=1)[:, half:-half]
