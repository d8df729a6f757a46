"""What the workers of the local endpoint print: the ends of their log files, followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..log_lines import Cleaner
from .log_stream import LogLine, LogStream

_LOOK_EVERY_S = 0.5
_MOST_AT_ONCE = 256_000
_LINE_AT_LEAST = 80


def local_workers(endpoint_dir: Path) -> list[str]:
    """The workers that have a log there, by their names. Reads the disk: for threads."""
    return sorted(path.stem for path in _files(endpoint_dir))


@asynccontextmanager
async def local_logs(
    endpoint_dir: Path, worker: str | None = None, *, tail: int = 200, look_every_s: float = _LOOK_EVERY_S
) -> AsyncIterator[LogStream]:
    """The last ``tail`` lines of the workers' logs, or of one's, and what comes to them. Ends when left."""
    stream = LogStream()

    async def read() -> None:
        files: dict[Path, _Followed] = {}
        while True:
            for line in await asyncio.to_thread(_news, endpoint_dir, worker, files, tail):
                await stream.put(line)
            await asyncio.sleep(look_every_s)

    stream.start(read())
    try:
        yield stream
    finally:
        await stream.close()


@dataclass
class _Followed:
    """A file and how far it was read."""

    at: int
    rest: bytes = b""
    cleaner: Cleaner = field(default_factory=Cleaner)


def _news(folder: Path, worker: str | None, files: dict[Path, _Followed], tail: int) -> list[LogLine]:
    lines: list[LogLine] = []
    for path in _files(folder):
        if worker in (None, path.stem):
            try:
                lines += _read(path, files, tail)
            except OSError:
                # Put aside or removed just now: the next look finds it, or its successor.
                files.pop(path, None)
    return lines


def _read(path: Path, files: dict[Path, _Followed], tail: int) -> list[LogLine]:
    size = path.stat().st_size
    followed, most = files.get(path), 0
    if followed is None or size < followed.at:
        # New, or another one under its name: the endpoint puts long ones aside.
        begin = max(size - max(tail * _LINE_AT_LEAST * 4, 1), 0) if followed is None else 0
        most = tail if followed is None else 0
        followed = files[path] = _Followed(begin)
        skip_first = begin > 0
    else:
        skip_first = False
    with path.open("rb") as file:
        file.seek(followed.at)
        raw = file.read(_MOST_AT_ONCE)
    followed.at += len(raw)
    *whole, followed.rest = (followed.rest + raw).split(b"\n")
    followed.rest = followed.rest[-_MOST_AT_ONCE:]
    whole = whole[1:] if skip_first else whole
    return [_line(followed, each, path.stem) for each in (whole[-most:] if most else whole)]


def _line(followed: _Followed, raw: bytes, worker: str) -> LogLine:
    cleaned = followed.cleaner.clean(raw.decode("utf-8", "replace"))
    return LogLine("container", cleaned.text, None, worker, cleaned.replaces)


def _files(folder: Path) -> list[Path]:
    logs = folder / "logs"
    return sorted(path for path in logs.glob("worker-*.log") if not path.name.endswith(".old.log"))
