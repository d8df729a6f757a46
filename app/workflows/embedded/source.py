"""Reading pieces of a file that may say anything about itself: every piece is checked and counted."""

from __future__ import annotations

import zlib
from typing import BinaryIO

#: The largest text that is taken for a workflow, and the largest piece that is read for one.
MAX_TEXT = 16 * 1024 * 1024
#: Over the whole file, so that texts that name each other cannot be read for ever.
_MAX_READ = 4 * MAX_TEXT
_MAX_PIECES = 300_000


class Damaged(ValueError):
    """The file is not what its beginning says, or breaks off."""


class Source:
    """A file of which pieces are read by their place. Positions and lengths are in bytes."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self._read = self._pieces = self._unpacked = 0

    def read(self, at: int, length: int) -> bytes:
        """Exactly this piece.

        Raises:
            Damaged: when the file does not have it, or more was read than any workflow needs.
        """
        if at < 0 or length < 0 or at + length > self.size or length > MAX_TEXT:
            raise Damaged("A piece lies outside the file.")
        self._read += length
        self._pieces += 1
        if self._read > _MAX_READ or self._pieces > _MAX_PIECES:
            raise Damaged("The file has too many pieces.")
        self._file.seek(at)
        piece = self._file.read(length)
        if len(piece) != length:
            raise Damaged("The file breaks off.")
        return piece

    def number(self, at: int, length: int, *, little: bool = False) -> int:
        return int.from_bytes(self.read(at, length), "little" if little else "big")

    def unpacked(self, packed: bytes) -> bytes:
        """What a zlib stream holds, as long as it is no larger than a workflow.

        Raises:
            Damaged: when it is larger, or no such stream.
        """
        unpacker = zlib.decompressobj()
        left = MAX_TEXT - self._unpacked
        try:
            result = unpacker.decompress(packed, left + 1)
        except zlib.error as error:
            raise Damaged("A packed text is damaged.") from error
        self._unpacked += len(result)
        if len(result) > left or not unpacker.eof:
            raise Damaged("A packed text is too large, or breaks off.")
        return result


def text_of(raw: bytes) -> str:
    """UTF-8, which JSON is written in; else the Latin-1 that old formats prescribe."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
