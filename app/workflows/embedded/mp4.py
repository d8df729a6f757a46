"""Texts in MP4 and QuickTime files: ``moov/udta/meta`` and ``moov/meta`` with ``keys`` and ``ilst``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .source import MAX_TEXT, Damaged, Source, text_of

#: What ffmpeg and others call their comment and description.
_NAMES = {b"\xa9cmt": "comment", b"desc": "comment", b"\xa9des": "comment", b"ldes": "comment"}
_MAX_KEYS = 10_000
_UTF16 = 2


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    end: int


def texts(source: Source) -> Iterator[tuple[str, str]]:
    """Names and texts. The pictures themselves are passed over by their length."""
    for top in _boxes(source, 0, source.size):
        if top.kind != b"moov":
            continue
        for box in _boxes(source, top.start, top.end):
            if box.kind == b"meta":
                yield from _meta(source, box)
            elif box.kind == b"udta":
                for inner in _boxes(source, box.start, box.end, is_strict=False):
                    if inner.kind == b"meta":
                        yield from _meta(source, inner)
                    elif inner.kind in _NAMES:
                        yield from _old_text(source, inner)


def _boxes(source: Source, at: int, end: int, *, is_strict: bool = True) -> Iterator[_Box]:
    """Each box moves on by its header at least, so that this ends. User data may end with a zero word."""
    while at + 8 <= end:
        head = source.read(at, 8)
        size, kind, start = int.from_bytes(head[:4], "big"), head[4:], at + 8
        if size == 1:
            size, start = source.number(at + 8, 8), at + 16
        elif size == 0:
            if not is_strict:
                return
            size = end - at
        if at + size < start or at + size > end:
            raise Damaged("A box has a wrong length.")
        yield _Box(kind, start, at + size)
        at += size


def _meta(source: Source, box: _Box) -> Iterator[tuple[str, str]]:
    start = box.start
    # MP4 has four bytes of version here, QuickTime has not.
    if box.end - start >= 8 and source.read(start + 4, 4) != b"hdlr":
        start += 4
    keys: list[str] = []
    for inner in _boxes(source, start, box.end):
        if inner.kind == b"keys":
            keys = list(_keys(source, inner))
        elif inner.kind == b"ilst":
            for item in _boxes(source, inner.start, inner.end):
                yield from _item(source, item, keys)


def _keys(source: Source, box: _Box) -> Iterator[str]:
    at = box.start + 8
    for _ in range(min(source.number(box.start + 4, 4), _MAX_KEYS)):
        size = source.number(at, 4)
        if size < 8 or at + size > box.end:
            raise Damaged("A key has a wrong length.")
        yield text_of(source.read(at + 8, size - 8))
        at += size


def _item(source: Source, item: _Box, keys: list[str]) -> Iterator[tuple[str, str]]:
    index = int.from_bytes(item.kind, "big")
    name = keys[index - 1] if 1 <= index <= len(keys) else _NAMES.get(item.kind, "")
    for inner in _boxes(source, item.start, item.end):
        if inner.kind == b"name" and inner.end - inner.start > 4:
            name = text_of(source.read(inner.start + 4, inner.end - inner.start - 4))
        elif inner.kind == b"data" and 8 <= inner.end - inner.start <= MAX_TEXT and name:
            raw = source.read(inner.start, inner.end - inner.start)
            wide = int.from_bytes(raw[:4], "big") == _UTF16
            yield name, raw[8:].decode("utf-16-be", "replace") if wide else text_of(raw[8:])


def _old_text(source: Source, box: _Box) -> Iterator[tuple[str, str]]:
    """QuickTime's older texts: two bytes of length, two of language."""
    if box.end - box.start >= 4:
        length = source.number(box.start, 2)
        if length <= box.end - box.start - 4:
            yield _NAMES[box.kind], text_of(source.read(box.start + 4, length))
