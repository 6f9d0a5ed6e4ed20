"""MATLAB's `imresize(image, factor, "bicubic")`, bit-exact.

The kernel is Keys' cubic convolution with a = -0.5, widened by 1/factor for reduction (antialiasing); output pixel x
(counted from 1) has its centre at u = x/factor + (1 - 1/factor)/2. Rows are resized first, then columns, and integer
images are rounded (half away from zero) and clamped after *each* of the two passes. Most Python ports omit the rounding
in between; one pixel in nine of their x4 images therefore differs from the published images.

Current MATLAB mirrors the image at its border ("symmetric"), older releases repeat the last pixel ("replicate").
"""

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sisr.utils.errors import SisrError

BOUNDARIES = ("symmetric", "replicate")
_LARGEST = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
_BLOCK = 1 << 18  # values converted to floating point at a time, limited by the processor's cache


def imresize(image: NDArray[Any], factor: float | Fraction, boundary: str = "symmetric") -> NDArray[Any]:
    """Resize an image with MATLAB's antialiased bicubic interpolation.

    Args:
        image: (H, W) or (H, W, C); uint8, uint16, or floating point of any range.
        factor: size of the result over size of the image: 4, 0.25, 1.5, Fraction(1, 3). A float is converted to the
            nearest fraction with a denominator of at most 10,000, so that 1/3 and 0.1 are exact.
        boundary: "symmetric" (current MATLAB) or "replicate" (older releases; all of Huang et al. 2015 and RCAN's LR).

    Returns:
        (ceil(H * factor), ceil(W * factor)[, C]) of the same type. uint8 and uint16 are rounded and clamped after each
        pass as in MATLAB, floating point is neither rounded nor clamped (it is computed in float64).

    Raises:
        SisrError: the image is empty or of another shape or type, the factor is not positive, the boundary is unknown.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.size == 0:
        raise SisrError(f"an image must be (H, W) or (H, W, C) and not empty, this one is {image.shape}.")
    if image.dtype not in _LARGEST and not np.issubdtype(image.dtype, np.floating):
        raise SisrError(f"imresize takes uint8, uint16 or floating point, not {image.dtype}.")
    if boundary not in BOUNDARIES:
        raise SisrError(f"unknown boundary {boundary!r}; there are {' and '.join(BOUNDARIES)}.")
    ratio = _fraction(factor)
    once = _resize_first_axis(image, ratio, boundary)
    twice = _resize_first_axis(np.ascontiguousarray(once.swapaxes(0, 1)), ratio, boundary)
    return np.ascontiguousarray(twice.swapaxes(0, 1))


def contributions(
    length: int, factor: float | Fraction, boundary: str = "symmetric"
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weights and source positions of every output position along one axis.

    Returns:
        Two arrays (ceil(length * factor), taps): weights, each row summing to 1, and 0-based positions in the input.
    """
    ratio = _fraction(factor)
    size = -((-length * ratio.numerator) // ratio.denominator)
    stretch = max(1.0, ratio.denominator / ratio.numerator)  # the kernel is widened only for reduction
    width = 4.0 * stretch
    x = np.arange(1, size + 1, dtype=np.float64)
    inverse = ratio.denominator / ratio.numerator
    centre = x * ratio.denominator / ratio.numerator + 0.5 * (1.0 - inverse)
    left = np.floor(centre - width / 2)
    positions = left[:, None] + np.arange(int(np.ceil(width)) + 2)
    weights = _cubic((centre[:, None] - positions) / stretch) / stretch
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    weights, source = weights[:, used], positions[:, used].astype(np.intp) - 1
    if boundary == "symmetric":
        source = np.mod(source, 2 * length)
        source = np.where(source < length, source, 2 * length - 1 - source)
    else:
        source = np.clip(source, 0, length - 1)
    return weights, source


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel, a = -0.5."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _fraction(factor: float | Fraction) -> Fraction:
    try:
        ratio = Fraction(factor).limit_denominator(10_000)
    except (ValueError, OverflowError, TypeError) as error:
        raise SisrError(f"the factor must be a positive number, not {factor!r}.") from error
    if ratio <= 0:
        raise SisrError(f"the factor must be a positive number, not {factor!r}.")
    return ratio


@lru_cache(maxsize=256)
def _operator(length: int, ratio: Fraction, boundary: str, whole: bool) -> tuple[csr_array, NDArray, NDArray]:
    """The axis' sparse matrix (size, length), and the first and last+1 input position that each of its rows needs.

    Sums run over the taps in MATLAB's order. For integer images at factors such as 1/2, 1/4, 2, 4 all products
    and sums are small multiples of a power of two, thus exact in float32 as well, which is twice as fast.
    """
    weights, source = contributions(length, ratio, boundary)
    size, taps = source.shape
    scaled = weights * 4096
    exact = whole and bool(np.all(scaled == np.rint(scaled))) and np.abs(scaled).sum(axis=1).max() * 255 < 2**23
    matrix = csr_array(
        (
            weights.astype(np.float32 if exact else np.float64).ravel(),
            source.astype(np.int32).ravel(),
            np.arange(0, size * taps + 1, taps, dtype=np.int32),
        ),
        shape=(size, length),
    )
    return matrix, source.min(axis=1), source.max(axis=1) + 1


def _resize_first_axis(image: NDArray[Any], ratio: Fraction, boundary: str) -> NDArray[Any]:
    """Resize axis 0 of a contiguous array, block by block of output rows."""
    flat = image.reshape(image.shape[0], -1)
    largest = _LARGEST.get(image.dtype)
    matrix, first, last = _operator(len(flat), ratio, boundary, image.dtype == np.uint8)
    size = matrix.shape[0]
    result = np.empty((size, flat.shape[1]), dtype=image.dtype)
    block = max(1, int(_BLOCK / flat.shape[1] * ratio))
    for start in range(0, size, block):
        stop = min(start + block, size)
        low, high = int(first[start:stop].min()), int(last[start:stop].max())
        part = matrix[start:stop, low:high] @ flat[low:high].astype(matrix.dtype)
        if largest is not None:
            part += 0.5  # truncation then rounds half away from zero, since nothing is negative
            np.clip(part, 0, largest + 0.5, out=part)
        result[start:stop] = part
    return result.reshape(size, *image.shape[1:])
