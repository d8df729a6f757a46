"""The engine's pictures: 8-bit codes and what each code is worth.

ComfyUI computes with 32-bit floats and cuts off when it saves, so ``1 - x`` loses a level for many values
and a second inversion doesn't bring it back. Keeping a picture's codes as they are and computing on the 256
levels instead gives the same files, at the price of one table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image


def float32(value: float) -> float:
    """``value`` rounded to single precision."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


BYTE_LEVELS = tuple(float32(code / 255) for code in range(256))


@dataclass(frozen=True)
class Picture:
    """One image (mode RGB) or mask (mode L); code ``c`` stands for ``levels[c]``, 0 black to 1 white."""

    codes: Image.Image
    levels: tuple[float, ...] = BYTE_LEVELS

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.codes.size

    def bytes_image(self) -> Image.Image:
        """As it is saved: cut off to 0 … 255, not rounded."""
        if self.levels is BYTE_LEVELS:
            return self.codes
        table = [max(0, min(255, int(float32(255 * level)))) for level in self.levels]
        return self.codes.point(table * len(self.codes.getbands()))

    def with_codes(self, codes: Image.Image) -> Picture:
        return Picture(codes, self.levels)

    def inverted(self) -> Picture:
        return Picture(self.codes, tuple(float32(1 - level) for level in self.levels))

    def band(self, name: str) -> Picture:
        """The mask of one colour."""
        return self.with_codes(self.codes.getchannel(name))

    def grey(self) -> Picture:
        """A mask as an image."""
        return self.with_codes(Image.merge("RGB", [self.codes] * 3))


def plain(size: tuple[int, int], color: tuple[int, int, int]) -> Picture:
    return Picture(Image.new("RGB", size, color))


def same_size(pictures: Iterable[Picture]) -> None:
    """Raises ValueError unless all have one size: a batch is one block of memory in ComfyUI."""
    for first, second in pairwise(pictures):
        if first.size != second.size:
            raise ValueError(f"Pictures of one batch differ in size: {first.size} and {second.size}")
