"""Training patches: which ones a step sees depends on the seed and the step alone, so a run can go on anywhere."""

import numpy as np
import torch
from numpy.typing import NDArray

from sisr.errors import SisrError
from sisr.store import PairedStore


class PatchSampler:
    """Random LR/HR patch pairs, flipped and rotated by multiples of 90°, from prepared image sets.

    Args:
        sets: prepared sets of one scale; every image of every set is equally likely.
        patch: side of the LR patch in pixels; the HR patch is `patch * scale`.
        batch: pairs a step.
        seed: seed of the choice.

    Raises:
        SisrError: when an image is smaller than a patch.
    """

    def __init__(self, sets: list[PairedStore], *, patch: int, batch: int, seed: int) -> None:
        self.images = [(images, index) for images in sets for index in range(len(images.names))]
        self.patch, self.batch, self.seed = patch, batch, seed
        for images, index in self.images:
            height, width = images.lr(index).shape[:2]
            if min(height, width) < patch:
                raise SisrError(
                    f"{images.names[index]} is {width}x{height} pixels at x{images.scale}, smaller than the training "
                    f"patch of {patch}; leave the image out or make the patch smaller."
                )

    def names(self, step: int) -> list[str]:
        """Names of the images that the patches of a step come from."""
        return [self.images[choice][0].names[self.images[choice][1]] for choice in self._choices(step)[0]]

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches of one step.

        Returns:
            LR (batch, 3, patch, patch) and HR (batch, 3, patch·scale, patch·scale), uint8 on the CPU.
        """
        lr, hr = [], []
        for choice, row, column, turn in zip(*self._choices(step), strict=True):
            images, index = self.images[choice]
            small, large, scale = images.lr(index), images.hr(index), images.scale
            top = int(row * (small.shape[0] - self.patch + 1))
            left = int(column * (small.shape[1] - self.patch + 1))
            lr.append(_turned(_crop(small, top, left, self.patch), turn))
            hr.append(_turned(_crop(large, top * scale, left * scale, self.patch * scale), turn))
        return torch.from_numpy(np.stack(lr)), torch.from_numpy(np.stack(hr))

    def _choices(
        self, step: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        random = np.random.default_rng([self.seed, step])
        return (
            random.integers(len(self.images), size=self.batch),
            random.random(self.batch),
            random.random(self.batch),
            random.integers(8, size=self.batch),
        )


def _crop(image: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    patch = image[top : top + side, left : left + side]
    if patch.ndim == 2:  # greyscale: the same value in all three channels
        patch = np.repeat(patch[:, :, None], 3, axis=2)
    return patch.transpose(2, 0, 1)


def _turned(patch: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """One of the eight symmetries of the square: `turn` % 4 quarter turns, mirrored from 4 on."""
    patch = np.rot90(patch, turn % 4, axes=(1, 2))
    return np.ascontiguousarray(patch[:, :, ::-1] if turn >= 4 else patch)
