"""Training patches. The patches of a step depend on the seed and the step only, so a run can resume at any step.

The decoded pixels of all images are consecutive, on the device if they fit there, else in a memory-mapped file. On a
GPU, patches are gathered by the index of each pixel, including flip and rotation. On a CPU, where such an index is
slower than the copy itself, they are read by strides. Both give the same patches, without decoding or copying whole
images.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sisr.data.store import ImageStore, PairedStore
from sisr.utils.errors import SisrError


@dataclass(frozen=True)
class Pixels:
    """All images of one store: flat uint8 pixels, with start and size of each image."""

    flat: Tensor  # (bytes,) uint8
    start: Tensor  # (images,) int64, as the following
    width: Tensor
    channels: Tensor

    @classmethod
    def of(cls, store: ImageStore, device: torch.device) -> "Pixels":
        """The pixels of a store, mapped into memory, or copied to a GPU."""
        flat = torch.from_numpy(np.memmap(store.path / "pixels.bin", dtype=np.uint8, mode="c"))
        sizes = torch.tensor(store.shapes)  # (images, 3)
        start = sizes.prod(dim=1).cumsum(dim=0) - sizes.prod(dim=1)
        return cls(*(tensor.to(device) for tensor in (flat, start, sizes[:, 1], sizes[:, 2])))

    def patches(self, image: Tensor, top: Tensor, left: Tensor, turn: Tensor, side: int) -> Tensor:
        """Square patches, each turned by one of the eight symmetries of the square.

        Args:
            image, top, left: (batch,) int64: number of the image, and the patch's upper left pixel in it.
            turn: (batch,) 0 to 7: `turn` % 4 quarter turns counter-clockwise, then mirrored left to right from 4 on.
            side: of the patches, in pixels.

        Returns:
            (batch, 3, side, side) uint8; a greyscale image has the same value in all three channels.
        """
        read = self.gathered if self.flat.is_cuda else self.strided
        return read(image, top, left, turn, side)

    def strided(self, image: Tensor, top: Tensor, left: Tensor, turn: Tensor, side: int) -> Tensor:
        """`patches` on a CPU: each one is a view of the file, copied once."""
        patches = torch.empty((len(image), 3, side, side), dtype=torch.uint8)
        width, channels = self.width[image].tolist(), self.channels[image].tolist()
        first = (self.start[image] + (top * self.width[image] + left) * self.channels[image]).tolist()
        for number, quarters in enumerate(turn.tolist()):
            strides = (int(channels[number] > 1), width[number] * channels[number], channels[number])
            view = self.flat.as_strided((3, side, side), strides, first[number])
            # torch has no negative strides, NumPy has
            patch = np.rot90(view.numpy(), quarters % 4, (1, 2))
            np.copyto(patches[number].numpy(), patch[:, :, ::-1] if quarters > 3 else patch)
        return patches

    def gathered(self, image: Tensor, top: Tensor, left: Tensor, turn: Tensor, side: int) -> Tensor:
        """`patches` on any device, without a loop over the batch."""
        rows, columns = _turned_grid(turn, side)  # (batch, side, side) each: which pixel of the patch comes there
        channels = self.channels[image].view(-1, 1, 1)
        row = rows + top.view(-1, 1, 1)
        column = columns + left.view(-1, 1, 1)
        first = self.start[image].view(-1, 1, 1) + (row * self.width[image].view(-1, 1, 1) + column) * channels
        channel = torch.arange(3, device=first.device).view(1, 3, 1, 1) * (channels > 1).long().unsqueeze(1)
        return self.flat[first.unsqueeze(1) + channel]


def _turned_grid(turn: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Row and column, within the unturned patch, of each pixel of the turned one: (batch, side, side) each."""
    y, x = torch.meshgrid(*[torch.arange(side, device=turn.device)] * 2, indexing="ij")
    last = side - 1
    # np.rot90 by 0, 1, 2, 3 quarter turns
    rows = torch.stack([y, x, last - y, last - x])
    columns = torch.stack([x, last - y, last - x, y])
    rows, columns = torch.cat([rows, rows.flip(2)]), torch.cat([columns, columns.flip(2)])
    return rows[turn], columns[turn]


class PatchSampler:
    """Random LR/HR patch pairs, flipped and rotated by multiples of 90°, from prepared image sets.

    Args:
        sets: prepared sets of one scale; every image of every set is equally likely. Images smaller than a patch are
            excluded, and their number is printed.
        patch: side of the LR patch in pixels; the HR patch is `patch * scale`.
        device: of the patches. On a GPU the images are kept there if they need at most half of its free memory.
        quiet: do not print the number of excluded images.

    Raises SisrError where all images of a set are smaller than a patch.
    """

    left_out: dict[str, int]
    """Number of images of each set that are smaller than a patch; sets without such images are omitted."""

    def __init__(
        self,
        sets: list[PairedStore],
        *,
        patch: int,
        batch: int,
        seed: int,
        device: torch.device | str = "cpu",
        quiet: bool = False,
    ) -> None:
        self.patch, self.batch, self.seed, self.scale = patch, batch, seed, sets[0].scale
        self.device = torch.device(device)
        stores = [(ImageStore(pair.root / f"x{pair.scale}"), ImageStore(pair.root / "hr")) for pair in sets]
        needed = sum(math.prod(shape) for pair in stores for store in pair for shape in store.shapes)
        fits = self.device.type == "cuda" and needed <= torch.cuda.mem_get_info(self.device)[0] // 2
        self.where = self.device if fits else torch.device("cpu")
        self.sets = [(Pixels.of(lr, self.where), Pixels.of(hr, self.where)) for lr, hr in stores]
        names = [name for pair in sets for name in pair.names]
        number_of = np.repeat(np.arange(len(sets)), [len(pair) for pair in sets])
        sizes = np.array([shape[:2] for lr, _ in stores for shape in lr.shapes])  # (images, 2)
        fitting = sizes.min(axis=1) >= patch
        self._leave_out(sets, fitting, number_of, quiet=quiet)
        index_of = np.concatenate([np.arange(len(pair)) for pair in sets])
        # (images, 2): which set, and which image within it
        self.images = np.column_stack([number_of, index_of])[fitting]
        self.image_names = [name for name, fits in zip(names, fitting, strict=True) if fits]
        self._sizes = sizes[fitting]

    def _leave_out(
        self, sets: list[PairedStore], fitting: NDArray[np.bool_], number_of: NDArray[np.int64], *, quiet: bool
    ) -> None:
        """Count and report the images that are smaller than a patch."""
        self.left_out = {}
        for number, pair in enumerate(sets):
            small = int((~fitting[number_of == number]).sum())
            what = f"smaller than the training patch of {self.patch} pixels at x{self.scale}"
            if small == len(pair):
                raise SisrError(f"all images of {pair.name} are {what}; use a smaller patch or another set.")
            if small:
                self.left_out[pair.name] = small
                if quiet:
                    continue
                print(f"{small} of {len(pair)} images of {pair.name} are {what}; they are excluded.", file=sys.stderr)

    def names(self, step: int) -> list[str]:
        """Names of the images that the patches of a step come from."""
        return [self.image_names[choice] for choice in self._choices(step)[:, 0]]

    def __call__(self, step: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Patches of one step, or of a part of its batch.

        Returns:
            LR (batch, 3, patch, patch) and HR (batch, 3, patch·scale, patch·scale), uint8 on the device.
        """
        choices = self._choices(step)[part]
        lr, hr = [], []
        # patches of one set are cropped together, then restored to the order of the batch
        number_of, index_of = self.images[choices[:, 0]].T
        order = np.argsort(number_of, kind="stable")
        for number in np.unique(number_of):
            in_set = number_of == number
            # all four at once: one copy to a GPU
            image, top, left, turn = torch.from_numpy(np.stack([index_of, *choices.T[1:]])[:, in_set]).to(self.where)
            images = self.sets[number]
            lr.append(images[0].patches(image, top, left, turn, self.patch))
            hr.append(images[1].patches(image, top * self.scale, left * self.scale, turn, self.patch * self.scale))
        back = torch.from_numpy(np.argsort(order)).to(self.where)
        small, large = (torch.cat(parts).index_select(0, back).to(self.device) for parts in (lr, hr))
        return small, large

    def _choices(self, step: int) -> np.ndarray:
        """(batch, 4) int64: image, top, left and turn of every patch of a step."""
        random = np.random.default_rng([self.seed, step])
        image = random.integers(len(self.images), size=self.batch)
        position = random.random((self.batch, 2))
        corner = (position * (self._sizes[image] - self.patch + 1)).astype(np.int64)
        turn = random.integers(8, size=self.batch)
        return np.column_stack([image, corner, turn])
