"""Texts in WebP and JPEG files."""

from __future__ import annotations

from collections.abc import Iterator

from . import exif
from .source import MAX_TEXT, Damaged, Source, text_of

_EXIF, _COMMENT, _SCAN, _END = 0xE1, 0xFE, 0xDA, 0xD9
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})


def webp_texts(source: Source) -> Iterator[tuple[str, str]]:
    """What the EXIF chunk says."""
    at = 12
    if source.size < at + 8:
        raise Damaged("The picture breaks off.")
    while at + 8 <= source.size:
        head = source.read(at, 8)
        length = int.from_bytes(head[4:], "little")
        if at + 8 + length > source.size:
            raise Damaged("A chunk breaks off.")
        if head[:4] == b"EXIF" and length <= MAX_TEXT:
            yield from exif.texts(source.read(at + 8, length))
        at += 8 + length + length % 2


def jpeg_texts(source: Source) -> Iterator[tuple[str, str]]:
    """What the Exif data and the comments say; these stand before the picture itself."""
    at = 2
    while at + 4 <= source.size:
        mark = source.read(at, 2)
        if mark[0] != 0xFF:
            raise Damaged("A segment is missing.")
        if mark[1] == 0xFF or mark[1] in _ALONE:
            at += 1 if mark[1] == 0xFF else 2
            continue
        if mark[1] in (_SCAN, _END):
            return
        length = source.number(at + 2, 2)
        if length < 2:
            raise Damaged("A segment has no length.")
        data = source.read(at + 4, length - 2)
        if mark[1] == _EXIF and data.startswith(b"Exif\0\0"):
            yield from exif.texts(data)
        elif mark[1] == _COMMENT:
            yield "comment", text_of(data).rstrip("\0")
        at += 2 + length
    raise Damaged("The picture breaks off.")
