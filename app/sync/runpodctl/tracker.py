"""One run of `runpodctl send`, put together from its events: how far it is, and whether to believe it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from ...errors import ProcessFailed
from .model import Batch, Commands, Phase, SendState, commands_for
from .parser import (
    CodeKnown,
    Connected,
    ErrorLine,
    Event,
    Hashing,
    Line,
    Parser,
    Progress,
    ReceiverMayConnect,
    Stream,
)
from .words import cause_of

_KEPT_LINES = 50


class Tracker:
    """Fed by the threads that read the two streams; asked by the loop.

    Args:
        before: names of files that an earlier run has sent: the receiver has them and does not ask again.
        stall_s: so many seconds without progress while sending are a stall.
    """

    def __init__(
        self,
        batch: Batch,
        *,
        before: frozenset[str] = frozenset(),
        stall_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._batch = batch
        self._before = before
        self._stall_s = stall_s
        self._clock = clock
        self._lock = threading.Lock()
        self._parser = Parser()
        self._sizes = {unit.name: unit.size for unit in batch.units}
        self._percent: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._phase = Phase.HASHING
        self._hashed = 0
        self._rate: float | None = None
        self._moved_at = clock()
        self._errors: list[ErrorLine] = []
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self.code: str | None = None
        self.commands: Commands | None = None

    def feed(self, stream: Stream, data: bytes) -> None:
        with self._lock:
            for event in self._parser.feed(stream, data):
                self._take(event)

    def finish(self) -> None:
        """Both streams have ended."""
        with self._lock:
            for event in self._parser.finish():
                self._take(event)

    def state(self) -> SendState:
        with self._lock:
            phase, message = self._phase, ""
            if phase is Phase.SENDING and self._clock() - self._moved_at >= self._stall_s:
                phase, message = Phase.STALLED, self._stalled()
            elif phase is Phase.WAITING:
                message = "Run the two commands on the pod."
            hashing = phase is Phase.HASHING
            return SendState(
                phase,
                batch=self._batch.number,
                batches=self._batch.of,
                code=self.code,
                commands=self.commands,
                done_bytes=min(self._hashed, self._batch.total_bytes) if hashing else self._sent_bytes(),
                total_bytes=self._batch.total_bytes,
                rate=self._rate if phase is Phase.SENDING else None,
                message=message,
            )

    @property
    def finished(self) -> frozenset[str]:
        """The names whose bar reached its end in this run."""
        with self._lock:
            return self._finished()

    def judge(self, exit_code: int) -> None:
        """Whether it has sent everything. That it exited with 0 says nothing: it does so when it fails too.

        Raises:
            ProcessFailed: with the last lines in ``details['log']``.
        """
        with self._lock:
            missing = [name for name in self._sizes if name not in self._finished() | self._before]
            if not (exit_code or self._errors or missing or self.commands is None):
                return
            summary, hint = cause_of(
                [(line.text, line.panic) for line in self._errors],
                exit_code=exit_code,
                could_connect=self.commands is not None,
                missing=len(missing),
                script=self._batch.script,
            )
            raise ProcessFailed(
                summary,
                hint=hint,
                log=list(self._tail),
                errors=[line.text for line in self._errors],
                exit_code=exit_code,
                missing=missing,
            )

    # -- with the lock held ------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        match event:
            case CodeKnown(code):
                self.code = code
            case Hashing(done):
                self._hashed = max(self._hashed, done)
            case ReceiverMayConnect(code):
                self.commands = commands_for(self._batch, code)
                self._phase = Phase.WAITING
                self._tail.append("The receiver may connect.")
            case Connected(peer):
                self._begin_sending()
                self._tail.append(f"sending (->{peer})")
            case Progress(name) if name in self._sizes:
                self._begin_sending()
                self._progress(event, self._sizes[name])
            case ErrorLine(text):
                # The first is the cause; the many lines of a stack come after it.
                if len(self._errors) < _KEPT_LINES:
                    self._errors.append(event)
                self._tail.append(text)
            case Line(text):
                self._tail.append(text)

    def _begin_sending(self) -> None:
        if self._phase is not Phase.SENDING:
            self._phase = Phase.SENDING
            self._moved_at = self._clock()

    def _progress(self, event: Progress, size: int) -> None:
        # Percent are rounded down and bytes have two digits: each bounds the other.
        low, high = size * event.percent // 100, min(size, size * (event.percent + 1) // 100)
        done = max(low, min(high, event.done_bytes if event.done_bytes is not None else low))
        if done > self._done.get(event.name, -1) or event.percent > self._percent.get(event.name, -1):
            self._moved_at = self._clock()
        self._done[event.name] = max(done, self._done.get(event.name, 0))
        self._percent[event.name] = max(event.percent, self._percent.get(event.name, 0))
        self._rate = event.rate if event.rate is not None else self._rate

    def _finished(self) -> frozenset[str]:
        return frozenset(name for name, percent in self._percent.items() if percent >= 100)

    def _sent_bytes(self) -> int:
        # Of those sent before, the ones of which nothing is shown now.
        kept = sum(
            self._sizes[name] for name in self._before if name in self._sizes and name not in self._done
        )
        return sum(self._done.values()) + (kept if self._done else 0)

    def _stalled(self) -> str:
        seconds = round(self._clock() - self._moved_at)
        if all(percent >= 100 for percent in self._percent.values()):
            return f"No progress for {seconds} s. The pod may be checking a large file; else start again."
        return f"No progress for {seconds} s. Start again: it goes on with what the pod has."
