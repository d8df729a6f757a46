"""Texts in FLAC, Ogg (Opus, Vorbis, FLAC) and MP3 files."""

from __future__ import annotations

from collections.abc import Iterator

from .source import MAX_TEXT, Damaged, Source, text_of

_COMMENTS = 4
_MAX_COMMENTS = _MAX_FRAMES = 10_000
#: The comments are the second packet of a stream.
_MAX_PACKETS = 4
_MAX_STREAMS = 64


def flac_texts(source: Source) -> Iterator[tuple[str, str]]:
    """The Vorbis comments among the blocks before the sound."""
    at = _behind_id3(source)
    if source.read(at, 4) != b"fLaC":
        raise Damaged("This is no FLAC file.")
    at += 4
    while True:
        head = source.number(at, 4)
        is_last, kind, length = head >> 31, head >> 24 & 0x7F, head & 0xFFFFFF
        if kind == _COMMENTS:
            yield from comments(source.read(at + 4, length))
        if is_last:
            return
        at += 4 + length


def comments(data: bytes) -> Iterator[tuple[str, str]]:
    """Vorbis comments, ``NAME=text`` each; what is behind a wrong length is passed over."""
    at = 4 + int.from_bytes(data[:4], "little")
    count = int.from_bytes(data[at : at + 4], "little")
    at += 4
    for _ in range(min(count, _MAX_COMMENTS)):
        length = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + length > len(data):
            return
        name, mark, text = data[at + 4 : at + 4 + length].partition(b"=")
        if mark:
            yield text_of(name), text_of(text)
        at += 4 + length


def ogg_texts(source: Source) -> Iterator[tuple[str, str]]:
    """The comments at the beginning of each stream in the file."""
    packets: dict[int, bytearray] = {}
    counts: dict[int, int] = {}
    at, held = 0, 0
    while at + 27 <= source.size:
        head = source.read(at, 27)
        if head[:4] != b"OggS":
            raise Damaged("A page is missing.")
        serial = int.from_bytes(head[14:18], "little")
        sizes = source.read(at + 27, head[26])
        at += 27 + len(sizes)
        if len(counts) > _MAX_STREAMS:
            raise Damaged("The file has too many streams.")
        if counts and all(count >= _MAX_PACKETS for count in counts.values()):
            return
        for size in sizes:
            if counts.setdefault(serial, 0) < _MAX_PACKETS:
                held += size
                if held > MAX_TEXT:
                    raise Damaged("A text is too large.")
                packets.setdefault(serial, bytearray()).extend(source.read(at, size))
                if size < 255:
                    counts[serial] += 1
                    yield from _packet(bytes(packets.pop(serial)))
            at += size


def _packet(packet: bytes) -> Iterator[tuple[str, str]]:
    if packet.startswith(b"OpusTags"):
        yield from comments(packet[8:])
    elif packet.startswith(b"\x03vorbis"):
        yield from comments(packet[7:])
    elif packet[:1] in (b"\x04", b"\x84"):
        yield from comments(packet[4:])


def mp3_texts(source: Source) -> Iterator[tuple[str, str]]:
    """The user's texts and comments of the ID3 tag at the beginning."""
    if source.size < 10 or source.read(0, 3) != b"ID3":
        return
    head = source.read(0, 10)
    version, flags, length = head[3], head[5], _synchsafe(head[6:10])
    if length > min(MAX_TEXT, source.size - 10) or version not in (2, 3, 4):
        raise Damaged("The ID3 tag has a wrong length.")
    body = source.read(10, length)
    if flags & 0x80 and version < 4:
        body = body.replace(b"\xff\0", b"\xff")
    at = 0
    if flags & 0x40 and version > 2:
        at = _synchsafe(body[:4]) if version == 4 else 4 + int.from_bytes(body[:4], "big")
    wide = 6 if version == 2 else 10
    for _ in range(_MAX_FRAMES):
        if at + wide > len(body) or not body[at]:
            return
        kind, size = _frame_head(body, at, version)
        data = body[at + wide : at + wide + size]
        plain = version == 2 or not body[at + 9] & (0x0E if version == 4 else 0xE0)
        if kind in (b"TXXX", b"TXX") and plain and data:
            yield _pair(data[0], data[1:])
        elif kind in (b"COMM", b"COM") and plain and data:
            yield "comment", _pair(data[0], data[4:])[1]
        at += wide + size


def _frame_head(body: bytes, at: int, version: int) -> tuple[bytes, int]:
    if version == 2:
        return body[at : at + 3], int.from_bytes(body[at + 3 : at + 6], "big")
    raw = body[at + 4 : at + 8]
    return body[at : at + 4], _synchsafe(raw) if version == 4 else int.from_bytes(raw, "big")


def _pair(encoding: int, data: bytes) -> tuple[str, str]:
    """A name and a text, with one or two zero bytes between them."""
    if encoding in (1, 2):
        end = data.find(b"\0\0")
        while end % 2 and end >= 0:
            end = data.find(b"\0\0", end + 1)
        end = len(data) if end < 0 else end
        codec = "utf-16" if encoding == 1 else "utf-16-be"
        name, text = (part.decode(codec, "replace").strip("\0") for part in (data[:end], data[end + 2 :]))
        return name, text
    first, _, rest = data.partition(b"\0")
    return text_of(first), text_of(rest.rstrip(b"\0"))


def _synchsafe(raw: bytes) -> int:
    value = 0
    for byte in raw:
        value = value << 7 | byte & 0x7F
    return value


def _behind_id3(source: Source) -> int:
    return 10 + _synchsafe(source.read(6, 4)) if source.read(0, 3) == b"ID3" else 0
