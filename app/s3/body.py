"""A piece of a file on its way: counted as it is sent, held to a limit, ended when it is to end."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..threads import Stopped, go_on
from .errors import FileChanged

#: What one read gives at most, in bytes: more would make bars jump, less costs the processor.
PIECE = 256 << 10
_HASHED = 1 << 20
#: A sleep that holds the limit is at most so long, in seconds, so that an end is noticed.
_NAP_S = 0.1
#: How much may be sent at once after a rest, in seconds' worth of the limit.
_BURST_S = 0.2


class Limit:
    """Bytes per second for all transfers together; None: as fast as it goes. May be changed at any time."""

    def __init__(self, rate: float | None = None) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._left, self._at = 0.0, time.monotonic()

    @property
    def rate(self) -> float | None:
        return self._rate

    def set(self, rate: float | None) -> None:
        with self._lock:
            self._rate, self._left, self._at = rate, 0.0, time.monotonic()

    @property
    def piece(self) -> int:
        """How much to read at once so that the limit is held evenly."""
        rate = self._rate
        return PIECE if rate is None else max(1024, min(PIECE, int(rate * _NAP_S)))

    def take(self, size: int, stop: threading.Event) -> None:
        """Wait until ``size`` bytes may go. Raises Stopped."""
        while (wait := self._wait_s(size)) > 0:
            if stop.wait(min(wait, _NAP_S)):
                raise Stopped

    def _wait_s(self, size: int) -> float:
        """0 when they may go, and are taken; else when to ask again."""
        with self._lock:
            if self._rate is None:
                return 0
            now = time.monotonic()
            self._left = min(self._rate * _BURST_S, self._left + (now - self._at) * self._rate)
            self._at = now
            if self._left <= 0:
                return -self._left / self._rate + 0.001
            # Into debt rather than never: a piece may be larger than the burst.
            self._left -= size
            return 0


class Body(io.RawIOBase):
    """``size`` bytes of an open file from ``offset``, as the HTTP library reads them to send them.

    Args:
        count: told the bytes that left, and a negative number for those taken back.
    """

    def __init__(
        self,
        file: io.FileIO,
        offset: int,
        size: int,
        *,
        limit: Limit,
        stop: threading.Event,
        count: Callable[[int], None],
    ) -> None:
        super().__init__()
        self._file, self._offset, self._size = file, offset, size
        self._limit, self._stop, self._count = limit, stop, count
        self._at, self._counted = 0, 0

    def __len__(self) -> int:
        return self._size

    def take_back(self) -> None:
        """What was counted did not arrive."""
        if self._counted:
            self._count(-self._counted)
        self._counted = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        self._at = to + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if self._at == 0:
            self.take_back()
        return self._at

    def read_all(self) -> bytes:
        """The whole piece at once."""
        return b"".join(iter(self.read, b""))

    def read(self, _size: int | None = -1) -> bytes:
        """The next piece, however much is wanted: the HTTP library asks for small ones, and takes larger."""
        go_on(self._stop)
        wanted = min(self._limit.piece, self._size - self._at)
        if wanted <= 0:
            return b""
        self._limit.take(wanted, self._stop)
        try:
            self._file.seek(self._offset + self._at)
            piece = self._file.read(wanted)
        except OSError as error:
            raise FileChanged(
                f"{Path(str(self._file.name)).name} cannot be read: {error.strerror}."
            ) from error
        if not piece:
            raise FileChanged(f"{Path(str(self._file.name)).name} became shorter while it was sent.")
        self._at += len(piece)
        self._counted += len(piece)
        self._count(len(piece))
        return piece


def md5_of(file: io.FileIO, offset: int, size: int, stop: threading.Event, *also: hashlib._Hash) -> bytes:
    """The MD5 digest of ``size`` bytes from ``offset``; ``also`` are fed the same bytes. Raises Stopped."""
    digest = hashlib.md5(usedforsecurity=False)
    file.seek(offset)
    left, block = size, bytearray(min(_HASHED, size))
    view = memoryview(block)
    while left:
        go_on(stop)
        read = file.readinto(view[: min(left, len(block))])
        if not read:
            break
        for each in (digest, *also):
            each.update(view[:read])
        left -= read
    return digest.digest()


def hashes_of(
    path: Path, stop: threading.Event, count: Callable[[int], None] = lambda _: None
) -> tuple[str, str]:
    """SHA-256 and MD5 of a whole file, in hexadecimal, with one read. Raises OSError, Stopped."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    block = bytearray(_HASHED)
    view = memoryview(block)
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(view):
            go_on(stop)
            sha256.update(view[:read])
            md5.update(view[:read])
            count(read)
    return sha256.hexdigest(), md5.hexdigest()
