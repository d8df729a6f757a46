"""What `runpodctl send` prints, as events. Follows the source of runpodctl 2.7 with croc 9.6.16.

The code comes first and alone on stdout; any further line there is an error, except those of croc's log. All
else is on stderr, where a bar is drawn over itself with ``\\r``. Bytes may come in any pieces: the events are
the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Stream = Literal["stdout", "stderr"]

#: In bytes. What is longer is no line of runpodctl; its beginning is kept, the rest dropped.
_LONGEST_LINE = 4096
_ENDS = re.compile(rb"[\r\n]")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

#: Four digits, three words, the number of the relay. Shown to the user as a command: nothing else passes.
_CODE = r"[A-Za-z0-9]{1,64}(?:-[A-Za-z0-9]{1,64}){1,12}"
_CODE_ALONE = re.compile(_CODE.replace("{1,12}", "{2,12}"))
_READY = re.compile(rf"(?i)runpodctl\s+receive\s+({_CODE})")
_CODE_IS = re.compile(rf"(?i)code is:\s*({_CODE})")
_CONNECTED = re.compile(r"(?i)sending\s*\(->([^)]*)\)")
_HASHING = re.compile(
    r"(?i)sending (?:\d{1,9} files?|'[^']{0,300}')(?: and [^(]{1,99})? \((\d[\d.]{0,19}) ([kMGTPE]?)B\)"
)
#: Our names hold no space.
_BAR = re.compile(r"(?:(?P<name>\S{1,300})\s+)?(?P<percent>\d{1,3})%\s*\|[^|]*\|(?P<rest>.*)")
_NUMBER = r"\s{0,4}([\d.]{1,20})\s?"
_UNIT = r"([kMGTPE]?B)"
_COUNTS = re.compile(rf"\({_NUMBER}{_UNIT}?/{_NUMBER}{_UNIT}(?:,{_NUMBER}{_UNIT}/s)?")
_PANIC = re.compile(r"panic: |fatal error: |runtime error: |\[signal |goroutine \d+ \[")
_LOG = re.compile(r"\[(trace|debug|info|warn)\]")
_ERROR = re.compile(r"(?i)(runpod-send: |error: |\[error\]|\{\s*\"error\"|unknown (command|flag))")
#: croc tells that it removes a zip of its own.
_HARMLESS = re.compile(r"removing .*\.zip")

_PREFIXES = "kMGTPE"


@dataclass(frozen=True, slots=True)
class CodeKnown:
    """The receiver cannot connect yet."""

    code: str


@dataclass(frozen=True, slots=True)
class Hashing:
    """runpodctl has read so many bytes (two digits are right); it reads all files before it can send."""

    done_bytes: int


@dataclass(frozen=True, slots=True)
class ReceiverMayConnect:
    code: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The receiver is there; ``peer`` is its address as runpodctl shows it, and may be empty."""

    peer: str


@dataclass(frozen=True, slots=True)
class Progress:
    """One drawing of a file's bar.

    Attributes:
        percent: whole ones, rounded down, at most 100.
        done_bytes: as shown, with two digits; None when it is not shown.
        rate: bytes per second; None when it is not shown.
    """

    name: str
    percent: int
    done_bytes: int | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorLine:
    text: str
    panic: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line that tells nothing; kept for diagnostics."""

    text: str


Event = CodeKnown | Hashing | ReceiverMayConnect | Connected | Progress | ErrorLine | Line


class _Lines:
    """Cuts one stream at ``\\r`` and ``\\n``; holds at most one line of bounded length."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[str]:
        *ended, rest = _ENDS.split(data)
        lines = []
        for piece in ended:
            self._keep(piece)
            lines.append(self.take())
        self._keep(rest)
        return [line for line in lines if line]

    def take(self) -> str:
        text = self._kept.decode("utf-8", "replace")
        self._kept.clear()
        return _ESCAPES.sub("", text).strip()

    def _keep(self, piece: bytes) -> None:
        self._kept += piece[: _LONGEST_LINE - len(self._kept)]


class Parser:
    """Of one run of ``runpodctl send``. Never raises, whatever it is fed."""

    def __init__(self) -> None:
        self._lines: dict[Stream, _Lines] = {"stdout": _Lines(), "stderr": _Lines()}
        self._code: str | None = None
        self._alone = False
        self._ready = False

    def feed(self, stream: Stream, data: bytes) -> list[Event]:
        """The events of the lines that end in ``data``."""
        return [event for line in self._lines[stream].feed(data) for event in self._events(stream, line)]

    def finish(self) -> list[Event]:
        """The events of what stands without an end at the end of the streams."""
        events: list[Event] = []
        for stream, lines in self._lines.items():
            if line := lines.take():
                events += self._events(stream, line)
        return events

    def _events(self, stream: Stream, line: str) -> list[Event]:
        if stream == "stdout" and not self._alone and _CODE_ALONE.fullmatch(line):
            # The other stream may have told it before: nobody knows which is read first.
            self._alone = True
            return self._new_code(line)
        if _PANIC.match(line):
            return [ErrorLine(line, panic=True)]
        if _LOG.match(line) or _HARMLESS.fullmatch(line):
            return [Line(line)]
        if stream == "stdout" or _ERROR.match(line):
            return [ErrorLine(line)]
        return self._told(line)

    def _told(self, line: str) -> list[Event]:
        if match := _BAR.match(line):
            return [_progress(match)]
        if match := _CONNECTED.match(line):
            return [Connected(match[1].strip())]
        if match := _HASHING.match(line):
            return [Hashing(_bytes(match[1], match[2], 1024))]
        if match := _READY.match(line):
            events = self._new_code(match[1])
            if not self._ready:
                self._ready = True
                events.append(ReceiverMayConnect(match[1]))
            return events
        if match := _CODE_IS.match(line):
            return self._new_code(match[1])
        return [Line(line)]

    def _new_code(self, code: str) -> list[Event]:
        if self._code is not None:
            return []
        self._code = code
        return [CodeKnown(code)]


def _progress(match: re.Match[str]) -> Progress:
    done: int | None = None
    rate: float | None = None
    if counts := _COUNTS.search(match["rest"]):
        # Where both have the same unit it is written once.
        done = _bytes(counts[1], (counts[2] or counts[4])[:-1], 1000)
        if counts[5]:
            rate = float(_bytes(counts[5], counts[6][:-1], 1000))
    return Progress(match["name"] or "", min(int(match["percent"]), 100), done, rate)


def _bytes(number: str, prefix: str, base: int) -> int:
    try:
        value = float(number)
    except ValueError:
        return 0
    power = _PREFIXES.index(prefix) + 1 if prefix else 0
    return round(value * float(base) ** power)
