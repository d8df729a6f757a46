"""Lines of workers' logs: taken from events, told once, gathered in one stream."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ..errors import ComfyRunPodError
from ..log_lines import Cleaner
from .account_model import text
from .events import Event

#: How many earlier lines RunPod sends at most.
MOST_TAIL: Final = 5_000
_LONGEST_ID = 200
#: So many lines wait for a slow reader; then the connection does.
_MOST_WAITING = 1_000
_LEFT_OUT = "(a line of more than 1 MB is left out)"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a worker's log.

    Attributes:
        source: ``container``: what its programs print; ``system``: what RunPod says of it.
        text: without control sequences, of a bounded length.
        at: seconds since 1970; None when RunPod does not say.
        replaces: it was written over the line before it, as progress bars are.
    """

    source: str
    text: str
    at: float | None = None
    worker: str = ""
    replaces: bool = False


@dataclass
class Cursor:
    """How far a log was read: what a new connection goes on from, and what that may send once more.

    Attributes:
        id: of the last event, for ``Last-Event-ID``.
        was_there: the worker had a log at least once.
        is_connected: the last connection was made.
        retry_s: how long RunPod wants a client to wait before it connects again.
    """

    id: str = ""
    was_there: bool = False
    is_connected: bool = False
    retry_s: float = 0.0
    _mark: str = ""
    _known: Counter[tuple[str, str]] = field(default_factory=Counter)
    _again: Counter[tuple[str, str]] = field(default_factory=Counter)
    _cleaner: Cleaner = field(default_factory=Cleaner)

    def reconnect(self) -> None:
        """A new connection begins: it may send what was said in the same moment as the last line again."""
        self.is_connected = False
        self._again = Counter(self._known)

    def take(self, event: Event) -> LogLine | None:
        """The line of an event; None when it was read before, or is none."""
        if event.is_cut:
            self._note_id(event.id)
            return LogLine("", _LEFT_OUT)
        data = _object(event)
        if data is None:
            return None
        source, said, ts = (text(data.get(name)) or "" for name in ("source", "line", "ts"))
        self._note_id(event.id or ts)
        if self._is_known(ts or event.id, (source, said)):
            return None
        cleaned = self._cleaner.clean(said)
        return LogLine(source, cleaned.text, _moment(ts), replaces=cleaned.replaces)

    def _is_known(self, mark: str, key: tuple[str, str]) -> bool:
        if mark == self._mark and self._again[key] > 0:
            self._again[key] -= 1
            return True
        if mark != self._mark or len(self._known) > MOST_TAIL:
            self._mark, self._known = mark, Counter()
            self._again.clear()
        self._known[key] += 1
        return False

    def _note_id(self, found: str) -> None:
        # It goes into a header: what does not fit there is not taken.
        if 0 < len(found) <= _LONGEST_ID and found.isascii() and found.isprintable():
            self.id = found


class LogStream:
    """The lines of one or several workers, as an async iterator. Ends when its workers have gone.

    Raises what ended it, while it is read. It owns the tasks that fill it, until :meth:`close`.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[LogLine | ComfyRunPodError | None] = asyncio.Queue(_MOST_WAITING)
        self._ended = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._mistake: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task that fills it. What it raises besides a typed error is raised to the reader."""
        task = asyncio.get_running_loop().create_task(self._run(work), name="worker-log")
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        # Cancelled before its first step the task never gets to it.
        task.add_done_callback(lambda _: work.close())
        return task

    async def close(self) -> None:
        """Cancel what fills it, and wait for its end."""
        for task in (tasks := tuple(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __aiter__(self) -> AsyncIterator[LogLine]:
        return self

    async def __anext__(self) -> LogLine:
        if self._mistake is not None:
            raise self._mistake
        if self._ended:
            raise StopAsyncIteration
        found = await self._waiting.get()
        if isinstance(found, LogLine):
            return found
        self._ended = True
        if found is None:
            return await anext(self)
        raise found

    async def backlog(self, quiet_s: float = 0.8, longest_s: float = 8.0) -> list[LogLine]:
        """The lines there are already, of all workers, by their time: until nothing came for ``quiet_s``.

        RunPod does not mark where they end.
        """
        lines: list[LogLine] = []
        ends = time.monotonic() + longest_s
        while (left_s := ends - time.monotonic()) > 0 and len(lines) < 2 * MOST_TAIL:
            try:
                # The first ones come after the connection is made.
                async with asyncio.timeout(min(quiet_s, left_s) if lines else left_s / 2):
                    lines.append(await anext(self))
            except (TimeoutError, StopAsyncIteration):
                break
        return _by_time(lines)

    async def put(self, line: LogLine) -> None:
        """Add a line; waits while nobody reads."""
        await self._waiting.put(line)

    async def end(self, error: ComfyRunPodError | None = None) -> None:
        """Nothing more comes after what was put."""
        await self._waiting.put(error)

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ComfyRunPodError as error:
            await self.end(error)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._mistake = error
            if not self._waiting.full():
                self._waiting.put_nowait(None)


def _by_time(lines: list[LogLine]) -> list[LogLine]:
    """In order of their times; one without a time stays behind the one that came before it."""
    at: dict[str, float] = {}
    keyed = []
    for line in lines:
        at[line.worker] = line.at if line.at is not None else at.get(line.worker, 0.0)
        keyed.append((at[line.worker], line))
    return [line for _, line in sorted(keyed, key=lambda pair: pair[0])]


def _object(event: Event) -> Mapping[str, Any] | None:
    with suppress(ValueError, RecursionError):
        data = json.loads(event.data)
        if isinstance(data, dict) and isinstance(data.get("line"), str):
            return data
    return None


def _moment(ts: str) -> float | None:
    """RFC 3339 in seconds since 1970."""
    with suppress(ValueError, OverflowError, OSError):
        found = datetime.fromisoformat(ts)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    return None
