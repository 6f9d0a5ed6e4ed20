"""Reading MATLAB's MAT-files (level 5, also called versions 5 to 7.2) that contain nested arrays of numbers.

MathWorks: "MAT-File Format", level 5. A file may come from anywhere: nothing in it is executed, and nothing is
allocated that its bytes do not fill (scipy.io.loadmat allocates what a header claims).
"""

import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

_HEADER = 128
_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _STRUCT, _FIRST_NUMERIC, _LAST_NUMERIC = 1, 2, 6, 15
_COMPLEX = 0x08
_PART = 1 << 20  # bytes that are unpacked at a time
_DEPTH = 8  # arrays within one another


def read(path: Path, largest: int) -> dict[str, Tensor]:
    """All arrays of numbers of a file by their place: `model.weight.0` is the first cell of a field of a struct.

    Cells are counted from 0 in MATLAB's order. Axes are as in MATLAB.

    largest: number of bytes that the file may unpack to.
    Raises ValueError where the file is damaged, of another version, or contains anything else than numbers.
    """
    arrays: dict[str, Tensor] = {}
    with path.open("rb") as file:
        if file.read(_HEADER)[124:] != b"\x00\x01IM":
            raise ValueError("it is not a MAT-file of MATLAB 5 to 7.2 (save with '-v7' in MATLAB), or it is damaged")
        while start := file.read(8):
            kind, size = struct.unpack("<II", start.ljust(8, b"\xff"))
            if size > path.stat().st_size - file.tell():
                raise ValueError("it is incomplete")
            if kind == _COMPRESSED:
                ((kind, data),) = _elements(_unpacked(file, size, largest))
            else:
                data = memoryview(file.read(size))
                file.seek(-size % 8, os.SEEK_CUR)
            if kind != _MATRIX:
                raise ValueError(f"it contains an element of type {kind} where an array should be")
            largest -= len(data)
            arrays.update(_array(data, "", _DEPTH))
    return arrays


def _unpacked(file: IO[bytes], size: int, largest: int) -> memoryview:
    """The content of `size` compressed bytes, which are read in parts, to save memory."""
    unpacker, parts, left = zlib.decompressobj(), [], largest
    while packed := file.read(min(size, _PART)):
        size -= len(packed)
        parts.append(unpacker.decompress(packed, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise ValueError(f"it would unpack to more than {largest:,} bytes")
    if not unpacker.eof:
        raise ValueError("its compressed data is incomplete")
    return memoryview(b"".join(parts))


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and data of the elements that follow one another."""
    start = 0
    while start < len(data):
        if start + 8 > len(data):
            raise ValueError("it is incomplete")
        kind, size = struct.unpack_from("<II", data, start)
        start += 8
        if kind >> 16:  # up to 4 bytes of data in the place of their number
            kind, size, start, end = kind & 0xFFFF, kind >> 16, start - 4, start
            if size > 4:
                raise ValueError("it is damaged")
        else:
            end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(data):
            raise ValueError("it is incomplete")
        yield kind, data[start : start + size]
        start = end


def _array(data: memoryview, place: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """The arrays of numbers in one array."""
    if not len(data):  # an empty one
        return
    if depth == 0:
        raise ValueError(f"its arrays are nested more than {_DEPTH} deep")
    elements = _elements(data)
    (_, flags), (_, sizes), (_, name) = next(elements), next(elements), next(elements)
    kind, marks = flags[0], flags[1]
    shape = struct.unpack(f"<{len(sizes) // 4}i", sizes)
    place = place or _text(name)
    if min(shape, default=-1) < 0:
        raise ValueError(f"{place} has the shape {shape}")
    if kind == _CELL:
        parts = list(elements)
        for number, (_, part) in enumerate(parts):
            yield from _array(part, f"{place}.{number}", depth - 1)
    elif kind == _STRUCT:
        (_, width), (_, names) = next(elements), next(elements)
        length = struct.unpack("<i", width)[0]
        fields = [_text(names[i : i + length]) for i in range(0, len(names), max(length, 1))]
        parts = list(elements)
        if len(parts) != len(fields):
            raise ValueError(f"{place} is not a single struct")
        for field, (_, part) in zip(fields, parts, strict=True):
            yield from _array(part, f"{place}.{field}", depth - 1)
    elif _FIRST_NUMERIC <= kind <= _LAST_NUMERIC and not marks & _COMPLEX:
        stored, numbers = next(elements)
        if stored not in _NUMBERS:
            raise ValueError(f"{place} contains data of type {stored} instead of numbers")
        values = np.frombuffer(numbers, dtype=f"<{_NUMBERS[stored]}")
        if len(values) != math.prod(shape):
            raise ValueError(f"{place} has {len(values)} values for the shape {shape}")
        dtype = np.float32 if values.dtype.kind != "f" else values.dtype
        yield place, torch.from_numpy(values.reshape(shape, order="F").astype(dtype, order="C"))
    else:
        raise ValueError(f"{place} is not an array of real numbers, a cell array or a struct")


def _text(data: memoryview) -> str:
    return bytes(data).split(b"\0")[0].decode("ascii")
