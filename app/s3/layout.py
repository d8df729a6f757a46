"""How a file is cut into parts. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .records import Layout

MIB = 1 << 20
#: Up to so many bytes a file goes in one request; and the size of a part.
PART = 64 * MIB
#: Parts are not made smaller than this, in bytes, unless they began so.
LEAST_PART = 8 * MIB
#: How many parts a file has at most, as the API was seen to fail with many thousands.
_MOST_PARTS = 1000


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a file: its number from 1, where it begins and how many bytes it has."""

    number: int
    offset: int
    size: int


def slices(size: int, layout: Layout) -> Iterator[Slice]:
    """The parts of a file of ``size`` bytes; see :data:`.records.Layout`."""
    number, offset = 1, 0
    for count, length in layout:
        left = count
        while offset < size and (left > 0 or count == 0):
            taken = min(length, size - offset)
            yield Slice(number, offset, taken)
            number, offset, left = number + 1, offset + taken, left - 1


def part_size(size: int, usual: int) -> int:
    """The usual one, or a multiple of it when there would be too many parts."""
    while -(-size // usual) > _MOST_PARTS:
        usual *= 2
    return usual


def smaller(layout: Layout, number: int, least: int) -> Layout | None:
    """The same parts below ``number``, and half as large ones from there on; None: they are small enough."""
    full = next(size for count, size in reversed(layout) if count == 0)
    halved = max(least, full // 2)
    if halved >= full:
        return None
    runs: list[tuple[int, int]] = []
    left = number - 1
    for count, size in layout:
        taken = left if count == 0 else min(count, left)
        if taken:
            runs.append((taken, size))
        left -= taken
    return (*runs, (0, halved))


def joined_etag(digests: Sequence[bytes]) -> str:
    """The ETag of a file that went in parts with these MD5s, in the form that most servers give."""
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{whole}-{len(digests)}"
