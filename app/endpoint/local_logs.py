"""What the workers of the local endpoint print: the ends of their log files, followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..file_tail import FileTail
from .log_stream import LogLine, LogStream

_LOOK_EVERY_S = 0.5


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
        files: dict[Path, FileTail] = {}
        while True:
            for line in await asyncio.to_thread(_news, endpoint_dir, worker, files, tail):
                await stream.put(line)
            await asyncio.sleep(look_every_s)

    stream.start(read())
    try:
        yield stream
    finally:
        await stream.close()


def _news(folder: Path, worker: str | None, files: dict[Path, FileTail], tail: int) -> list[LogLine]:
    lines: list[LogLine] = []
    for path in _files(folder):
        if worker in (None, path.stem):
            followed = files.setdefault(path, FileTail(path, tail))
            try:
                lines += [
                    LogLine("container", line.text, None, path.stem, line.replaces)
                    for line in followed.news()
                ]
            except OSError:
                # Put aside or removed just now: the next look finds it, or its successor.
                files.pop(path, None)
    return lines


def _files(folder: Path) -> list[Path]:
    logs = folder / "logs"
    return sorted(path for path in logs.glob("worker-*.log") if not path.name.endswith(".old.log"))
