"""How far each file of a sync is, and all of them together; fed from the threads that do the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import Problem
from ..s3.body import Limit
from ..s3.flow import Flow
from ..s3.patience import Waiting
from .manifest import Listed
from .meter import Meter
from .model import Act, FilePhase, FileProgress, Phase, Progress, Step

_UNDER_WAY = (FilePhase.RUNNING, FilePhase.CHECKING)


@dataclass(slots=True, eq=False)
class File:
    """A file of the plan on its way. Only its tally changes ``phase`` and the numbers.

    Attributes:
        done: bytes that went and arrived; ``shown`` is the most that this ever was, for bars never go back.
        sent: what the volume's list says of it, once it is there.
    """

    step: Step
    flow: Flow
    phase: FilePhase = FilePhase.WAITING
    done: int = 0
    shown: int = 0
    proof: str = ""
    problem: Problem | None = None
    sent: Listed | None = None
    meter: Meter | None = None


class Tally:
    """The files of a plan with a flow each, and the count of them. Any thread may call its methods."""

    def __init__(self, steps: Sequence[Step], stop: threading.Event, rest: threading.Event, limit: Limit):
        self._rest = rest
        self._lock = threading.Lock()
        self.files = tuple(File(step, Flow(stop, rest, limit)) for step in steps)
        for file in self.files:
            file.flow.count = self._counter(file, moves=True)
            file.flow.had = self._counter(file, moves=False)
            file.flow.tell = self.teller(file)
        self._moving = [each for each in self.files if each.step.act is not Act.DELETE]
        self._total = sum(each.step.size for each in self.files)
        self._is_down = bool(self._moving) and all(each.step.act is Act.DOWNLOAD for each in self._moving)
        self._moved = 0
        self._news = set(self.files)
        self._waits: dict[File | None, Waiting] = {}
        self._meter = Meter()
        self._phase = Phase.RUNNING
        self._problem: Problem | None = None

    def to(self, file: File, phase: FilePhase, *, proof: str = "", problem: Problem | None = None) -> None:
        """A file is further, or back in the queue. After the end only that it has arrived is news."""
        with self._lock:
            if self._phase is not Phase.RUNNING and phase is not FilePhase.DONE:
                return
            self._to(file, phase)
            file.proof = proof or file.proof
            file.problem = problem

    def end(self, phase: Phase, problem: Problem | None) -> None:
        """All is over. What is still under way hangs on the line; nobody waits for it."""
        with self._lock:
            for file in self.files:
                if file.phase in _UNDER_WAY:
                    self._to(file, FilePhase.WAITING)
            self._waits.clear()
            self._phase, self._problem = phase, problem

    def teller(self, file: File | None) -> Callable[[Waiting | None], None]:
        """Takes news of waits: of a file's, or of what is done for all."""

        def tell(waiting: Waiting | None) -> None:
            with self._lock:
                if waiting is None or self._phase is not Phase.RUNNING:
                    self._waits.pop(file, None)
                else:
                    self._waits[file] = waiting

        return tell

    def look(self) -> Progress:
        """How far it is. What is new since the last look is in ``changed``."""
        with self._lock:
            news, self._news = self._news, set()
            waits = min(self._waits.values(), key=lambda each: each.until, default=None)
            resting = self._rest.is_set() and self._phase is Phase.RUNNING
            if resting and not any(each.phase is FilePhase.RUNNING for each in self.files):
                self._meter.rest()
            else:
                self._meter.note(self._moved)
            done = sum(each.shown for each in self.files)
            return Progress(
                phase=Phase.PAUSED if resting else self._phase,
                done=done,
                total=self._total,
                files_done=sum(each.phase is FilePhase.DONE for each in self._moving),
                files=len(self._moving),
                failed=sum(each.phase is FilePhase.FAILED for each in self.files),
                rate=self._meter.rate,
                left_s=self._meter.left_s(self._total - done),
                waits=None if waits is None else (waits.why, max(0.0, waits.until - time.monotonic())),
                changed=tuple(_progress(each) for each in self.files if each in news),
                active=tuple(_progress(each) for each in self.files if each.phase in _UNDER_WAY),
                moved=self._moved,
                problem=self._problem,
                is_down=self._is_down,
            )

    def _to(self, file: File, phase: FilePhase) -> None:
        file.phase = phase
        if phase is FilePhase.RUNNING:
            file.meter = Meter()
        if phase is FilePhase.DONE:
            file.done = file.shown = file.step.size
        self._waits.pop(file, None)
        self._news.add(file)

    def _counter(self, file: File, *, moves: bool) -> Callable[[int], None]:
        def count(size: int) -> None:
            with self._lock:
                file.done = max(0, min(file.step.size, file.done + size))
                file.shown = max(file.shown, file.done)
                if moves and size > 0:
                    self._moved += size
                self._news.add(file)

        return count


def _progress(file: File) -> FileProgress:
    rate = left = None
    if file.meter is not None and file.phase is FilePhase.RUNNING:
        file.meter.note(file.done)
        rate, left = file.meter.rate, file.meter.left_s(file.step.size - file.done)
    step = file.step
    return FileProgress(
        step.path, step.act, step.size, file.shown, file.phase, rate, left, file.proof, file.problem
    )
