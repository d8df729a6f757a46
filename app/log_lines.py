"""Lines of logs as a person reads them: without what terminals obey, each with its level. Knows no Qt.

Logs come from programs and servers that are not ours: whatever they hold ends as one harmless line of text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

Level = Literal["debug", "info", "step", "warning", "error"]
#: In characters; what is longer is cut.
LONGEST: Final = 8_000
_MOST_LINES = 200
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)"  # titles, links
    r"|\x1b[PX^_][^\x1b]{0,2000}\x1b\\"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
#: Control characters but the tab, line separators, and marks that turn the direction of what follows.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LEVELS: Final[dict[str, Level]] = {
    "TRACE": "debug",
    "DEBUG": "debug",
    "INFO": "info",
    "NOTICE": "info",
    "WARN": "warning",
    "WARNING": "warning",
    "ERROR": "error",
    "CRITICAL": "error",
    "FATAL": "error",
}
_NAMES = "|".join(sorted(_LEVELS, key=len, reverse=True))
_LEADING = re.compile(rf"\[?({_NAMES})\]?(?:\s*[|:]\s*|\s+|$)")
#: After a date, a time, a name in brackets.
_NEAR = re.compile(rf"[^a-z]{{0,48}}\b({_NAMES})\b")
_TRACEBACK = re.compile(r"\s*Traceback \(most recent call last\)")
_ERROR = re.compile(r"[\w.]*(?:Error|Exception)(?::|$)|!!!|(?:error|failed|fatal)\b", re.IGNORECASE)
_WARNING = re.compile(r"\b\w*warn(?:ing)?\b", re.IGNORECASE)
_STEP = re.compile(r"\d{1,3}%\|")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log.

    Attributes:
        at: seconds since 1970.
        prefix: who said it, where several speak.
        replaces: it was written over the line that ``prefix`` said before, as progress bars are.
    """

    text: str
    level: Level = "info"
    at: float | None = None
    prefix: str = ""
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A line without control sequences.

    Attributes:
        replaces: it was written over the line before it.
        is_open: the next one is written over it.
    """

    text: str
    replaces: bool = False
    is_open: bool = False


def clean(raw: str, longest: int = LONGEST) -> Cleaned:
    """What a terminal would show of a line in the end: the last of what was written over each other."""
    raw = raw.rstrip("\n")
    is_crlf = raw.endswith("\r") and raw.count("\r") == 1
    body = raw[:-1] if is_crlf else raw
    written = [part for part in body.split("\r") if part.strip()] or [""]
    text = _CONTROL.sub("", _SEQUENCE.sub("", written[-1][: longest * 4]))
    text = text.encode("utf-8", "replace").decode()
    if len(text) > longest:
        text = f"{text[:longest]}…"
    return Cleaned(text.rstrip(), body.startswith("\r"), is_open=raw.endswith("\r"))


class Cleaner:
    """Cleans the lines of one speaker, one after the other: one may be written over the one before."""

    def __init__(self) -> None:
        self._is_open = False

    def clean(self, raw: str) -> Cleaned:
        cleaned = clean(raw)
        replaces = cleaned.replaces or (self._is_open and bool(cleaned.text))
        self._is_open = cleaned.is_open
        return replace(cleaned, replaces=replaces)


class LineReader:
    """Reads the lines of one speaker, one after the other: some are understood by what came before."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._cleaner = Cleaner()
        self._in_traceback = False

    def read(self, raw: str, at: float | None = None, *, replaces: bool = False) -> list[Line]:
        """The line, or the lines that a structured one stands for."""
        cleaned = self._cleaner.clean(raw)
        replaces = replaces or cleaned.replaces
        said = _structured(cleaned.text)
        if said is None:
            return [self._line(cleaned.text, at, replaces)]
        level, message = said
        lines = [clean(part).text for part in message.split("\n")[:_MOST_LINES]]
        return [Line(text, level or self._level(text), at, self._prefix) for text in lines]

    def _line(self, text: str, at: float | None, replaces: bool) -> Line:
        leading = _LEADING.match(text)
        if leading is not None and leading.end() < len(text):
            self._in_traceback = False
            return Line(text[leading.end() :], _LEVELS[leading[1]], at, self._prefix, replaces)
        return Line(text, self._level(text), at, self._prefix, replaces)

    def _level(self, text: str) -> Level:
        if _TRACEBACK.match(text):
            self._in_traceback = True
            return "error"
        if self._in_traceback:
            self._in_traceback = text.startswith((" ", "\t")) or not text
            return "error"
        near = _NEAR.match(text)
        if near is not None:
            return _LEVELS[near[1]]
        if _STEP.search(text[:200]):
            return "step"
        if _ERROR.match(text):
            return "error"
        return "warning" if _WARNING.search(text[:400]) else "info"


def _structured(text: str) -> tuple[Level | None, str] | None:
    """Level and message of a line that is a JSON object, as our worker's on RunPod are."""
    if not text.startswith("{"):
        return None
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("message"), str):
        return None
    return _LEVELS.get(str(data.get("level")).upper()), data["message"]
