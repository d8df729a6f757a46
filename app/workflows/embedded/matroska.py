"""Texts in WebM and Matroska files: ``Segment/Tags/Tag/SimpleTag``."""

from __future__ import annotations

from collections.abc import Iterator

from .source import MAX_TEXT, Source, text_of

MAGIC = b"\x1a\x45\xdf\xa3"
_SEGMENT, _CLUSTER, _TAGS, _TAG, _SIMPLE_TAG = 0x18538067, 0x1F43B675, 0x1254C367, 0x7373, 0x67C8
_NAME, _STRING = 0x45A3, 0x4487
_GO_INTO = frozenset({_SEGMENT, _TAGS, _TAG, _SIMPLE_TAG})


def texts(source: Source) -> Iterator[tuple[str, str]]:
    """Names and texts of all tags, nested ones too.

    Elements are read one after another: going into one is reading on behind its head, passing it over is
    a step by its length. Each moves on by two bytes at least, so that this ends.
    """
    at, name = 0, ""
    while at + 2 <= source.size:
        kind, at = _identity(source, at)
        length, at = _length(source, at)
        if kind in _GO_INTO:
            if kind == _SIMPLE_TAG:
                name = ""
            continue
        if length is None:
            # A cluster of a live recording: its parts stand in the row like all else.
            continue
        if kind in (_NAME, _STRING) and length <= MAX_TEXT:
            raw = text_of(source.read(at, length).rstrip(b"\0"))
            if kind == _NAME:
                name = raw
            elif name:
                yield name, raw
        at += length


def _identity(source: Source, at: int) -> tuple[int, int]:
    first = source.number(at, 1)
    size = 9 - first.bit_length() if first else 8
    if size > 4:
        # No element begins so: look one byte further.
        return 0, at + 1
    return source.number(at, size), at + size


def _length(source: Source, at: int) -> tuple[int | None, int]:
    """The length of an element's content; None when it is not known."""
    first = source.number(at, 1)
    size = 9 - first.bit_length() if first else 8
    value = source.number(at, size) & ((1 << 7 * size) - 1)
    return (None if value == (1 << 7 * size) - 1 else value), at + size
