"""PSNR and SSIM on luminance, with the protocols of super-resolution papers.

Common to all: a border of `scale` pixels is removed, peak 255, float64; an RGB image is converted to
Y = 16 + (65.481 R + 128.553 G + 24.966 B)/255 (BT.601, studio range), a greyscale image is not converted.

- P1: Y not rounded. RCAN, EDSR, NLSN and ENLCN code, BasicSR, KAIR; the rows of the paper's tables. The default.
- P2: Y rounded. SelfExSR, LapSRN, CARN; 0.02 to 0.07 dB below P1.
- P3: the "Bicubic" row that papers copy from one another: Y is rounded, then reduced and upscaled in double precision
  (in `sisr.evaluation.upscalers`) and rounded only at the end. For a given image it equals P2.

Functions without "batch" take NumPy arrays, the others tensors on any device.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sisr.utils.errors import SisrError

if TYPE_CHECKING:
    import torch

PROTOCOLS = ("P1", "P2", "P3")
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
Y_WEIGHTS = (65.481, 128.553, 24.966)
"""Red, green and blue in Y, over 255 (BT.601, as in MATLAB's rgb2ycbcr)."""


def luminance(image: NDArray[Any], protocol: str = "P1") -> NDArray[np.float64]:
    """Y of an image according to the protocol.

    Args:
        image: uint8 (H, W), greyscale, used unchanged; or uint8 (H, W, 3), RGB. A floating-point (H, W) is an
            unrounded Y (range 0 to 255); P2 and P3 round it.
        protocol: "P1", "P2" or "P3".

    Returns:
        (H, W) float64, 0 to 255.
    """
    _check_protocol(protocol)
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        red, green, blue = (image[..., i].astype(np.float64) for i in range(3))
        plane = 16.0 + (Y_WEIGHTS[0] * red + Y_WEIGHTS[1] * green + Y_WEIGHTS[2] * blue) / 255.0
    elif image.ndim == 2 and (image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating)):
        plane = image.astype(np.float64)
    else:
        raise SisrError(
            f"an image must be uint8 (H, W) or (H, W, 3), or a floating-point Y (H, W); "
            f"this one is {image.dtype} {image.shape}."
        )
    return plane if protocol == "P1" else np.clip(np.floor(plane + 0.5), 0, 255)


def psnr(sr: NDArray[Any], hr: NDArray[Any], scale: int, protocol: str = "P1") -> float:
    """Peak signal-to-noise ratio on Y in dB; `inf` if the compared pixels are identical.

    Args:
        sr, hr: images of one size, as for `luminance`; one may be RGB and the other greyscale.
        scale: width of the border that is removed on all sides.
        protocol: "P1" (Y not rounded), "P2" or "P3" (Y rounded).

    Raises:
        SisrError: the sizes differ, nothing is left within the border, or the type or protocol is unknown.
    """
    a, b = _inside(sr, hr, scale, protocol)
    return _decibel(float(np.mean((a - b) ** 2)))


def ssim(sr: NDArray[Any], hr: NDArray[Any], scale: int, protocol: str = "P1") -> float:
    """Structural similarity on Y (Wang et al. 2004): 11x11 Gaussian window with sigma 1.5, K = (0.01, 0.03), L = 255.

    Only windows inside the image (MATLAB's "valid"), population covariance, no downsampling. Arguments and errors as in
    `psnr`; the image without its border must contain at least one window.
    """
    a, b = _inside(sr, hr, scale, protocol)
    if min(a.shape) < _WINDOW:
        raise SisrError(
            f"SSIM needs {_WINDOW} pixels within the border of {scale}, but {a.shape[0]} x {a.shape[1]} are left."
        )
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
            values first.
        scale, protocol: as in `psnr`.

    Returns:
        (B,) float64 in dB.
    """
    a, b = _inside_batch(sr, hr, scale, protocol)
    error = (a - b).square().mean(dim=(1, 2, 3))
    return 10.0 * (255.0**2 / error).log10()


def ssim_batch(sr: "torch.Tensor", hr: "torch.Tensor", scale: int, protocol: str = "P1") -> "torch.Tensor":
    """`ssim` of each pair of a batch, on the tensors' device; arguments as in `psnr_batch`, (B,) float64."""
    import torch
    from torch.nn.functional import conv2d

    a, b = _inside_batch(sr, hr, scale, protocol)
    if min(a.shape[2:]) < _WINDOW:
        raise SisrError(
            f"SSIM needs {_WINDOW} pixels within the border of {scale}, but {a.shape[2]} x {a.shape[3]} are left."
        )
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


def _check_protocol(protocol: str) -> None:
    if protocol not in PROTOCOLS:
        raise SisrError(f"unknown protocol {protocol!r}; there are {', '.join(PROTOCOLS)}.")


def _inside(
    sr: NDArray[Any], hr: NDArray[Any], scale: int, protocol: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both Y planes without their border."""
    a, b = luminance(sr, protocol), luminance(hr, protocol)
    _check_sizes(a.shape, b.shape, scale)
    cut = (slice(scale, a.shape[0] - scale), slice(scale, a.shape[1] - scale))
    return a[cut], b[cut]


def _inside_batch(
    sr: "torch.Tensor", hr: "torch.Tensor", scale: int, protocol: str
) -> tuple["torch.Tensor", "torch.Tensor"]:
    _check_protocol(protocol)
    if sr.ndim != 4 or hr.ndim != 4 or len(sr) != len(hr):
        raise SisrError(f"batches must be (B, C, H, W) of equal length, not {tuple(sr.shape)} and {tuple(hr.shape)}.")
    _check_sizes(tuple(sr.shape[2:]), tuple(hr.shape[2:]), scale)
    planes = []
    for batch in (sr, hr):
        values = batch.double()
        if batch.is_floating_point():
            values = (values * 255.0).clamp(0, 255).round()
        if batch.shape[1] == 3:
            values = (
                16.0
                + (Y_WEIGHTS[0] * values[:, :1] + Y_WEIGHTS[1] * values[:, 1:2] + Y_WEIGHTS[2] * values[:, 2:]) / 255.0
            )
        elif batch.shape[1] != 1:
            raise SisrError(f"a batch must have 1 or 3 channels, not {batch.shape[1]}.")
        if protocol != "P1":
            values = (values + 0.5).floor()
        height, width = values.shape[2:]
        planes.append(values[..., scale : height - scale, scale : width - scale])
    return planes[0], planes[1]


def _check_sizes(sr: tuple[int, ...], hr: tuple[int, ...], scale: int) -> None:
    if sr != hr:
        raise SisrError(
            f"SR is {sr[0]} x {sr[1]} but HR is {hr[0]} x {hr[1]}: sizes must be equal (HR cropped to LR * scale)."
        )
    if scale < 0 or min(hr) <= 2 * scale:
        raise SisrError(f"an image of {hr[0]} x {hr[1]} has no pixels within a border of {scale}.")


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
