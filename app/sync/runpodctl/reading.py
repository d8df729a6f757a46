"""Reading large files in a thread that can be told to stop, and that tells how far it is."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ...errors import BadInput
from ...threads import go_on

_PIECE = 1 << 20
#: Seconds between two reports.
PAUSE_S = 0.1


class Watch:
    """Counts what a thread has read, reports it now and then, and raises Stopped when it is asked to end.

    Attributes:
        total: bytes that will be read, as far as that is known.
    """

    def __init__(self, report: Callable[[int, int], None], stop: threading.Event, total: int = 0) -> None:
        self._stop = stop
        self._report = report
        self._told = 0.0
        self.done = 0
        self.total = total

    def check(self) -> None:
        """Raises Stopped."""
        go_on(self._stop)

    def read(self, size: int) -> None:
        """``size`` more bytes were read."""
        self.check()
        self.done += size
        now = time.monotonic()
        if now - self._told >= PAUSE_S:
            self._told = now
            self._report(self.done, max(self.total, self.done))


def pieces(path: Path, size: int, watch: Watch) -> Iterator[bytes]:
    """A file in pieces.

    Raises:
        BadInput: when it cannot be read, or is not ``size`` bytes long.
    """
    length = 0
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                length += len(piece)
                watch.read(len(piece))
                yield piece
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    if length != size:
        raise changed(path)


def sha256_of(path: Path, size: int, watch: Watch) -> str:
    """The SHA-256 of a file's content, in hex. Blocks."""
    digest = hashlib.sha256()
    for piece in pieces(path, size, watch):
        digest.update(piece)
    return digest.hexdigest()


def changed(path: Path) -> BadInput:
    return BadInput(f"{path} has changed meanwhile.", hint="Scan the models folder again, then send.")
