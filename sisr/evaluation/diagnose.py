"""Which convention of an evaluation gives an expected PSNR."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sisr.data.image_files import read_image
from sisr.data.pairs import Pairs
from sisr.evaluation.conventions import PROTOCOL, Convention, scores
from sisr.evaluation.upscalers import Folder, Method, Network
from sisr.utils.errors import SisrError, UsageError

_SAME = 5e-5
"""Differences in dB between machines that compute the same network."""
_PLAUSIBLE = 0.05
"""A departure more is accepted for a value that is nearer by so many dB."""


class AnySize(Folder):
    """SR images that may have been made from an uncropped HR."""

    def read(self, pairs: Pairs, i: int, scale: int) -> NDArray[np.uint8]:
        """SR of image i as in its file. Raises SisrError where its size differs from HR by the scale or more."""
        path = self._files[pairs.names[i]]
        sr, hr = read_image(path), pairs.whole_hr(i)
        if any(abs(a - b) >= scale for a, b in zip(sr.shape[:2], hr.shape[:2], strict=True)):
            raise SisrError(
                f"{path} is {sr.shape[0]} x {sr.shape[1]} but HR is {hr.shape[0]} x {hr.shape[1]}; "
                f"they differ by more than cropping to x{scale} does."
            )
        return sr


@dataclass(frozen=True)
class Diagnosis:
    """The mean PSNR of a set by each convention, and the one that gives the expected value."""

    expected: Decimal
    """Value to explain; its decimals decide how close a value must be."""
    values: dict[Convention, float]

    @property
    def digits(self) -> int:
        """Decimals of the expected value."""
        return max(0, -int(self.expected.as_tuple().exponent))

    @property
    def protocol(self) -> float:
        """PSNR by the protocol of the paper, dB."""
        return self.values[PROTOCOL]

    @property
    def ranked(self) -> list[Convention]:
        """All conventions: those that give the expected value by their departures, then the others by distance."""
        reproducing = self.reproducing

        def key(each: Convention) -> tuple[bool, float, float]:
            distance = abs(self.values[each] - float(self.expected))
            if each in reproducing:
                return False, each.changes, distance
            return True, distance + _PLAUSIBLE * each.changes, distance

        return sorted(self.values, key=key)

    @property
    def reproducing(self) -> set[Convention]:
        """Conventions whose value rounds to the expected one."""
        bound = max(0.5 * 10.0**-self.digits + 1e-9, _SAME)
        return {each for each, value in self.values.items() if abs(value - float(self.expected)) <= bound}

    @property
    def best(self) -> Convention:
        """The convention that gives the expected value, with the fewest departures, or else the nearest one."""
        return self.ranked[0]

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        digits = max(2, self.digits)
        by_protocol = "" if self.best == PROTOCOL else f"; {PROTOCOL} gives {self.protocol:.{digits}f}"
        if self.best in self.reproducing:
            equal = sum(each.changes == self.best.changes for each in self.reproducing) - 1
            others = f", as {'does another convention' if equal == 1 else f'do {equal} others'}" if equal else ""
            return f"{self.expected} dB is what {self.best} gives{others}{by_protocol}."
        value = self.values[self.best]
        return (
            f"No convention that was tried gives {self.expected} dB; the nearest is {self.best} with "
            f"{value:.{digits}f} ({value - float(self.expected):+.{digits}f}){by_protocol}."
        )

    def shown(self, most: int = 5) -> list[Convention]:
        """The protocol, all single departures, and the combinations that come first in the ranking."""
        singles = [each for each in self.values if each.changes < 2]
        combined = [each for each in self.ranked if each.changes > 1 and each in self.reproducing][:most]
        return [*singles, *(each for each in dict.fromkeys([*combined, self.best]) if each.changes > 1)]


def expectation(text: str) -> Decimal:
    """An expected PSNR in dB as written. Raises UsageError unless it is a number from −100 to 150."""
    try:
        value = Decimal(text)
        if -100 <= value <= 150 and len(text) < 20:
            return value
    except ArithmeticError:
        pass
    raise UsageError(f"the expected PSNR must be a number of dB, such as 32.63, not {text[:40]!r}.")


def diagnose(
    what: Method,
    pairs: Pairs,
    scale: int,
    expected: Decimal,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Diagnosis:
    """PSNR of a set by all conventions.

    Args:
        what: SR images (`AnySize`), or a network, whose LR and inference mode are varied as well.
        scale: upscaling factor.
        expected: PSNR in dB that is to be explained.
        progress: wraps the images' numbers, like tqdm.

    Raises SisrError where an image is missing, cannot be read, is too small or does not fit.
    """
    what.check(pairs, scale)
    if not pairs.names:
        raise SisrError("there is no image to evaluate.")
    images = []
    for i in progress(range(len(pairs.names))):
        try:
            hr = pairs.whole_hr(i)
            each = _sr(what, pairs, i, scale)
            images.append({key: value for origin, sr in each for key, value in scores(sr, hr, scale, origin)})
        except SisrError as error:
            raise SisrError(f"{pairs.names[i]}: {error}") from error
    return Diagnosis(expected, _means(images))


def _sr(what: Method, pairs: Pairs, i: int, scale: int) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(what, AnySize):
        yield "", what.read(pairs, i, scale)
    elif isinstance(what, Network):
        from sisr.evaluation.variants import variants

        yield from variants(what, pairs, i, scale)
    else:
        yield "", what.upscale(pairs, i, scale)[0]


def _means(images: list[dict[Convention, float]]) -> dict[Convention, float]:
    """Means over the images. A departure that does not concern an image leaves its value as it is."""
    means = {}
    for convention in dict.fromkeys(key for values in images for key in values):
        values = [each.get(convention, each.get(convention._replace(other=""))) for each in images]
        if None not in values:  # a border that an image is too small for
            means[convention] = float(np.mean([value for value in values if value is not None]))
    return means
