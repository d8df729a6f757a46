"""Server-sent events, taken apart as they come: pieces of any size, lines and events of a bounded one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: More than this of an event's data is not kept.
MOST_BYTES = 1_000_000
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        id: what a new connection goes on from; that of an earlier event when this one names none.
        is_cut: its data was too long, and is not whole.
    """

    data: str
    id: str = ""
    is_cut: bool = False


class EventReader:
    """Feed it what arrives, in order; never more than about ``most_bytes`` are kept.

    Attributes:
        retry_ms: how long the server wants a client to wait before it connects again; None: not said.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._line = bytearray()
        self._first = True
        self._after_cr = False
        self._is_cut = False
        self._data: list[str] = []
        self._size = 0
        self._id = ""
        self.retry_ms: int | None = None

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that ``piece`` completes."""
        for part in piece.splitlines(keepends=True):
            end = part[-1:]
            if part == b"\n" and self._after_cr:
                self._after_cr = False  # the other half of a line's end
                continue
            ended = end in (b"\n", b"\r")
            self._after_cr = end == b"\r"
            text = part.rstrip(b"\r\n") if ended else part
            room = self._most - len(self._line)
            self._is_cut = self._is_cut or len(text) > room
            self._line += text[:room]
            if ended:
                line, self._line = bytes(self._line), bytearray()
                yield from self._take(line)

    def _take(self, line: bytes) -> Iterator[Event]:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data or self._is_cut:
                yield Event("\n".join(self._data), self._id, self._is_cut)
            self._data, self._size, self._is_cut = [], 0, False
            return
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(line)
            if self._size <= self._most:
                self._data.append(value)
            else:
                self._is_cut = True
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) < 9:
            self.retry_ms = int(value)
