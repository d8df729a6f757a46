"""Texts in PNG files: tEXt, zTXt, iTXt, Exif, and ComfyUI's own chunk in animated ones."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from . import exif
from .source import MAX_TEXT, Damaged, Source, text_of

MAGIC = b"\x89PNG\r\n\x1a\n"
_WANTED = frozenset({b"tEXt", b"zTXt", b"iTXt", b"comf", b"eXIf"})


def texts(source: Source) -> Iterator[tuple[str, str]]:
    """Names and texts, in the order of the file. A chunk with a wrong check sum is passed over."""
    if source.read(0, 8) != MAGIC:
        raise Damaged("This is no PNG file.")
    at, broken = 8, False
    while at < source.size:
        head = source.read(at, 8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if at + 12 + length > source.size:
            raise Damaged("A chunk breaks off.")
        if kind in _WANTED and length <= MAX_TEXT:
            data = source.read(at + 8, length)
            if zlib.crc32(data, zlib.crc32(kind)) == source.number(at + 8 + length, 4):
                yield from _chunk(source, kind, data)
            else:
                broken = True
        if kind == b"IEND":
            break
        at += 12 + length
    else:
        raise Damaged("The picture has no end.")
    if broken:
        raise Damaged("A text is damaged.")


def _chunk(source: Source, kind: bytes, data: bytes) -> Iterator[tuple[str, str]]:
    if kind == b"eXIf":
        yield from exif.texts(data)
        return
    name, _, rest = data.partition(b"\0")
    if kind == b"zTXt":
        rest = source.unpacked(rest[1:])
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        _, _, rest = rest[2:].partition(b"\0")  # the language
        _, _, rest = rest.partition(b"\0")  # the name in that language
        rest = source.unpacked(rest) if packed else rest
    yield text_of(name), text_of(rest)
