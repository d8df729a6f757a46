"""Texts in Exif data, which PNG, WebP and JPEG files carry. The tag does not matter, the text does."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .source import MAX_TEXT, text_of

_ASCII, _BYTES, _UNDEFINED = 2, 1, 7
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
#: Texts that Windows writes, in UTF-16.
_WIDE = range(0x9C9B, 0x9CA0)
_MAX_ENTRIES = 2_000


def texts(data: bytes) -> Iterator[tuple[str, str]]:
    """Texts with an empty name, or ``comment`` for the user's comment. What is damaged is passed over."""
    data = data.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return
    waiting = [struct.unpack_from(f"{order}I", data, 4)[0]]
    seen: set[int] = set()
    left = MAX_TEXT  # entries can all point at the same place
    while waiting:
        at = waiting.pop()
        if at in seen or at + 2 > len(data) or len(seen) > 8:
            continue
        seen.add(at)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            if entry + 12 > len(data):
                break
            tag, kind, length, place = struct.unpack_from(f"{order}HHII", data, entry)
            if tag == _EXIF_IFD:
                waiting.append(place)
            elif kind in (_ASCII, _BYTES, _UNDEFINED):
                start = entry + 8 if length <= 4 else place
                raw = data[start : start + min(length, left)]
                left -= len(raw)
                yield from _text(tag, kind, raw, order)


def _text(tag: int, kind: int, raw: bytes, order: str) -> Iterator[tuple[str, str]]:
    if tag == _USER_COMMENT:
        yield "comment", _comment(raw, order)
    elif tag in _WIDE:
        yield "comment", raw.decode("utf-16-le", "replace").rstrip("\0")
    elif kind == _ASCII:
        yield "", text_of(raw).rstrip("\0")


def _comment(raw: bytes, order: str) -> str:
    """A user's comment: eight bytes that say how it is written, and not all writers mean it."""
    how, text = raw[:8], raw[8:]
    if how.rstrip(b"\0") != b"UNICODE":
        known = how.rstrip(b"\0 ") in (b"", b"ASCII", b"JIS")
        return text_of(text if known else raw).strip("\0")
    # Plain letters have one zero byte: where it is tells the order.
    zeros_first, zeros_second = text[::2].count(0), text[1::2].count(0)
    big = zeros_first > zeros_second if zeros_first != zeros_second else order == ">"
    return text.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\0\ufeff")
