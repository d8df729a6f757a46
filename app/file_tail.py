"""The end of a text file that grows, read on: a log that another process writes."""

from __future__ import annotations

from pathlib import Path

from .log_lines import Cleaned, Cleaner

_MOST_AT_ONCE = 256_000
_LINE_AT_LEAST = 80


class FileTail:
    """Args:
    tail: of what is there at the first look, so many of the last lines.
    """

    def __init__(self, path: Path, tail: int) -> None:
        self._path, self._tail = path, tail
        self._at: int | None = None
        self._rest = b""
        self._cleaner = Cleaner()

    def news(self) -> list[Cleaned]:
        """The whole lines since the last look, at most some thousand. Blocks.

        A file that became shorter is another one under the same name, and is read from its beginning.

        Raises:
            OSError: when it is not there.
        """
        size, most, skip_first = self._path.stat().st_size, 0, False
        if self._at is None:
            self._at = max(size - max(self._tail * _LINE_AT_LEAST * 4, 1), 0)
            most, skip_first = self._tail, self._at > 0
        elif size < self._at:
            self._at, self._rest = 0, b""
        with self._path.open("rb") as file:
            file.seek(self._at)
            raw = file.read(_MOST_AT_ONCE)
        self._at += len(raw)
        *whole, rest = (self._rest + raw).split(b"\n")
        self._rest = rest[-_MOST_AT_ONCE:]
        whole = whole[1:] if skip_first else whole
        lines = whole[-most:] if most else whole
        return [self._cleaner.clean(line.decode("utf-8", "replace")) for line in lines]
