"""A file on its way to the volume: what it was when it was looked at, and one body sent until it arrived."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from .body import Body
from .errors import Damaged, FileChanged, PartTooLarge
from .flow import Flow, Slots
from .patience import Patience, proxy_gave_up
from .records import FileMark

_MD5 = re.compile(r"[0-9a-f]{32}")


def is_md5(etag: str) -> bool:
    """Whether an ETag is of the form that is the MD5 of what it stands for."""
    return _MD5.fullmatch(etag) is not None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A file of this computer, where it goes on the volume, and what holds its transfer."""

    key: str
    path: Path
    mark: FileMark
    flow: Flow

    @classmethod
    def of(cls, key: str, path: Path, flow: Flow) -> Outgoing:
        """Raises FileChanged when the file cannot be read."""
        try:
            return cls(key, path, FileMark.of(path), flow)
        except OSError as error:
            raise FileChanged(f"{path.name} cannot be read: {error.strerror}.") from error

    @property
    def size(self) -> int:
        """In bytes."""
        return self.mark.size

    def look(self) -> None:
        """Raises FileChanged unless it is what it was."""
        try:
            now = FileMark.of(self.path)
        except OSError as error:
            raise FileChanged(f"{self.path.name} went away while it was sent.") from error
        if (now.size, now.mtime_ns) != (self.mark.size, self.mark.mtime_ns):
            raise FileChanged(
                f"{self.path.name} changed while it was sent.",
                hint="It is sent again once nobody writes to it.",
            )

    @contextmanager
    def opened(self) -> Iterator[FileIO]:
        """A handle of one's own, of the file as it was."""
        try:
            file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise FileChanged(f"{self.path.name} cannot be read: {error.strerror}.") from error
        with file:
            self.look()
            yield file

    def body(self, file: FileIO, offset: int, size: int) -> Body:
        flow = self.flow
        return Body(file, offset, size, limit=flow.limit, stop=flow.stop, count=flow.count)

    def arrive(
        self, send: Callable[[], str], body: Body, digest: bytes, slots: Slots, patience: Patience
    ) -> str:
        """Send a body until its ETag says that it arrived; the ETag.

        Args:
            send: sends it once, from its beginning.
            digest: its MD5.

        Raises:
            PartTooLarge: when it must be smaller to get through.
            ComfyRunPodError, Stopped: when it does not get there.
        """
        slow = 0

        def once() -> str:
            nonlocal slow
            body.seek(0)
            try:
                etag = send()
                _is_what_was_sent(etag, digest)
            except Exception as error:
                body.take_back()
                if isinstance(error, Damaged):
                    self.look()
                if proxy_gave_up(error):
                    slow += 1
                    if slow > 1:
                        slots.narrow()
                        raise PartTooLarge("The volume is too slow for parts of this size.") from error
                raise
            return etag

        return patience.attempt(once, self.flow.stop, self.flow.tell)


def _is_what_was_sent(etag: str, digest: bytes) -> None:
    """An ETag of another form than an MD5 does not tell."""
    if is_md5(etag) and etag != digest.hex():
        raise Damaged("The volume got something else than what was sent.")
