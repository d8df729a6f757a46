"""The steps of a build as they become known, in the same way whatever the build's output looks like."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from ..comfyui.programs import masked
from .model import BuildProgress, Step, StepState

#: A line of output, and the key of its step; None for what belongs to none.
Line = tuple[str | None, str]

_MOST_STEPS = 2_000
_MOST_AMOUNTS = 500
_LONGEST_TITLE = 300
_LONGEST_LINE = 4_000
_KEPT_LINES = 1_000
_ENDED = (StepState.DONE, StepState.FAILED, StepState.CANCELLED)

#: ``[linux/amd64 stage-1  3/12] RUN make``: platform and stage are not always there.
_PREFIX = re.compile(r"\[([^\]]*)\] (.*)", re.DOTALL)
_PLACE = re.compile(r"(?:(.*) )? *(\d{1,4})/(\d{1,4})")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")
_EXPORT = ("exporting to", "importing to", "sending tarball")


class BuildOutput(Protocol):
    """Reads what a build prints, line by line, whatever it is."""

    @property
    def book(self) -> StepBook: ...

    def feed(self, line: str) -> list[Line]:
        """Take a line; the lines that the build's programs or BuildKit wrote with it."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """The step that ended a build: what BuildKit says, and the last lines of the step."""

    title: str
    error: str
    lines: tuple[str, ...]


@dataclass(slots=True)
class _Record:
    stage: str
    what: str
    at: int
    of: int
    state: StepState = StepState.WAITING
    cached: bool = False
    seconds: float | None = None
    error: str = ""
    #: Bytes done and in all, for each thing that the step moves.
    amounts: dict[str, tuple[int, int | None]] = field(default_factory=dict)

    @property
    def part(self) -> float:
        done, total = self.moved
        if self.state is StepState.DONE:
            return 1.0
        return done / total if done is not None and total else 0.0

    @property
    def moved(self) -> tuple[int | None, int | None]:
        if not self.amounts:
            return None, None
        total = sum(of for _, of in self.amounts.values() if of is not None) or None
        done = sum(so_far for so_far, of in self.amounts.values() if of is not None or total is None)
        return (done if total is None else min(done, total)), total


class StepBook:
    """What is known of each step. Bounded: what comes beyond a bound is left out."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._lines: deque[tuple[str | None, str]] = deque(maxlen=_KEPT_LINES)
        self._failed: str | None = None
        self._part: float | None = None

    def name(self, key: str, name: str) -> None:
        """Enter a step, or give it another name."""
        stage, what, at, of = _read(name)
        record = self._records.get(key)
        if record is not None:
            record.stage, record.what, record.at, record.of = stage, what, at, of
        elif len(self._records) < _MOST_STEPS:
            self._records[key] = _Record(stage, what, at, of)

    def knows(self, key: str) -> bool:
        return key in self._records

    def start(self, key: str) -> None:
        if record := self._records.get(key):
            record.state = StepState.RUNNING

    def finish(self, key: str, seconds: float | None, *, cached: bool = False) -> None:
        if record := self._records.get(key):
            record.state, record.cached = StepState.DONE, cached
            record.seconds = None if seconds is None else max(0.0, seconds)

    def fail(self, key: str, error: str, seconds: float | None = None) -> None:
        if record := self._records.get(key):
            record.state, record.seconds = StepState.FAILED, seconds
            record.error = masked(error[:_LONGEST_LINE])
            self._failed = self._failed or key

    def cancel(self, key: str) -> None:
        if record := self._records.get(key):
            record.state = StepState.CANCELLED

    def move(self, key: str, what: str, done: int, total: int | None) -> None:
        """So many bytes of something are moved."""
        record, what = self._records.get(key), what[:_LONGEST_TITLE]
        if record is None or (what not in record.amounts and len(record.amounts) >= _MOST_AMOUNTS):
            return
        total = total if total and total > 0 else None
        done = max(0, done)
        record.amounts[what] = (done if total is None else min(done, total), total)

    def log(self, key: str | None, text: str) -> Line:
        # What came encoded nobody has looked at yet.
        line = (key, masked(text[:_LONGEST_LINE]))
        self._lines.append(line)
        return line

    def close(self, *, succeeded: bool) -> None:
        """The build has ended: nothing runs any more."""
        for record in self._records.values():
            if record.state is StepState.RUNNING:
                record.state = StepState.DONE if succeeded else StepState.CANCELLED
        if succeeded:
            self._part = 1.0

    @property
    def failure(self) -> Failure | None:
        if self._failed is None:
            return None
        record = self._records[self._failed]
        lines = tuple(text for key, text in self._lines if key == self._failed)
        return Failure(self._title(record, self._stages()), record.error, lines)

    def lines(self, key: str | None) -> list[str]:
        """The last lines of a step, or of none."""
        return [text for whose, text in self._lines if whose == key]

    def progress(self) -> BuildProgress:
        stages = self._stages()
        steps = tuple(
            Step(key, self._title(record, stages), record.state, record.cached, record.seconds, *record.moved)
            for key, record in self._records.items()
        )
        part = self._reckoned()
        if part is not None:
            self._part = max(self._part or 0.0, part)
        return BuildProgress(steps, self._part)

    def _stages(self) -> int:
        return len({record.stage for record in self._records.values() if record.of})

    def _title(self, record: _Record, stages: int) -> str:
        return f"{record.stage}: {record.what}" if record.stage and stages > 1 else record.what

    def _reckoned(self) -> float | None:
        """The part of the Dockerfile's steps that are done, with one more for the export of the image."""
        of: dict[str, int] = {}
        done: dict[str, float] = {}
        export = 0.0
        for record in self._records.values():
            if record.of:
                of[record.stage] = max(of.get(record.stage, 0), record.of)
                # What came before in its stage is done, also when BuildKit shows it only in another stage.
                here = record.at - 1 + record.part if record.state is not StepState.WAITING else 0.0
                done[record.stage] = max(done.get(record.stage, 0.0), here)
            elif record.what.lower().startswith(_EXPORT):
                export = max(export, record.part)
        if not of:
            return None
        return min(1.0, (sum(done.values()) + export) / (sum(of.values()) + 1))


def _read(name: str) -> tuple[str, str, int, int]:
    """The stage, what is done there, and which step of how many it is; zero for none of a Dockerfile."""
    name = _DIGEST.sub("", " ".join(name[: 2 * _LONGEST_TITLE].split(" ")))
    prefix = _PREFIX.fullmatch(name)
    where, what = (prefix[1], prefix[2]) if prefix else ("", name)
    what = what.replace("\n", " ").strip()
    what = what if len(what) <= _LONGEST_TITLE else what[:_LONGEST_TITLE] + "…"
    place = _PLACE.fullmatch(where)
    if place is None:
        return "", what[:1].upper() + what[1:], 0, 0
    # A platform is no stage.
    stage = next((word for word in reversed((place[1] or "").split()) if "/" not in word), "")
    at, of = int(place[2]), int(place[3])
    return stage, what, min(at, of), of
