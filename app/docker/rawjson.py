"""What ``docker buildx build --progress=rawjson`` prints: BuildKit's SolveStatus in JSON.

A status has the lists ``vertexes``, ``statuses``, ``logs`` and ``warnings``, each left out when it is empty.
It is on one line, or indented (buildx 0.13). Beside them come buildx's own lines as plain text, such as its
last error.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from .steps import Line, StepBook

#: Whoever reads a pipe cuts a line of this length.
_LONGEST_LINE = 64 * 1024
_LONGEST_STATUS = 8 << 20
_LONGEST_KEY = 200
_LONGEST_KEPT = 16 * 1024
_MOST_KEPT = 64


class RawJsonOutput:
    """The steps of a build from its status lines."""

    def __init__(self) -> None:
        self.book = StepBook()
        #: The pieces of a status that has not ended, and how long they are.
        self._pieces: list[str] = []
        self._length = 0
        #: Of each step what came after its last line's end.
        self._kept: dict[str, bytes] = {}

    def feed(self, line: str) -> list[Line]:
        line = line.rstrip("\r\n")
        if self._pieces and not self._goes_on(line):
            self._forget()
        if not self._pieces and not line.startswith("{"):
            return [self.book.log(None, line)] if line.strip() else []
        self._pieces.append(line)
        self._length += len(line)
        # Inside an indented status every other line begins with a space.
        if line.endswith("}") and not line.startswith(" "):
            try:
                status = json.loads("".join(self._pieces))
            except (ValueError, RecursionError):
                return self._not_yet(line)
            self._forget()
            return self._take(status) if isinstance(status, dict) else []
        return self._not_yet(line)

    def _goes_on(self, line: str) -> bool:
        """Whether a line continues the status that has begun: it is indented, or the rest of a long one."""
        return self._length < _LONGEST_STATUS and (line.startswith((" ", "}")) or _is_cut(self._pieces[-1]))

    def _not_yet(self, line: str) -> list[Line]:
        """No JSON so far: the beginning of a status, or no status at all."""
        if line == "{" or line.startswith(" ") or _is_cut(line):
            return []
        self._forget()
        return [self.book.log(None, line)]

    def _forget(self) -> None:
        self._pieces.clear()
        self._length = 0

    def _take(self, status: Mapping[str, Any]) -> list[Line]:
        lines: list[Line] = []
        for vertex in _dicts(status, "vertexes"):
            lines += self._vertex(vertex)
        for amount in _dicts(status, "statuses"):
            self._amount(amount)
        for log in _dicts(status, "logs"):
            lines += self._log(log)
        for warning in _dicts(status, "warnings"):
            if text := _decoded(warning.get("short")).decode("utf-8", "replace").strip():
                lines.append(self.book.log(self._key(warning.get("vertex")), f"Warning: {text}"))
        return lines

    def _vertex(self, vertex: Mapping[str, Any]) -> list[Line]:
        key, name = _text(vertex.get("digest")), _text(vertex.get("name"))
        if not 0 < len(key) <= _LONGEST_KEY:
            return []
        if name or not self.book.knows(key):
            self.book.name(key, name or key)
        begun, ended = _time(vertex.get("started")), _time(vertex.get("completed"))
        error = _text(vertex.get("error"))
        if ended is None and begun is None:
            return []
        if ended is None and not error:
            self.book.start(key)
            return []
        seconds = None if begun is None or ended is None else max(0.0, ended - begun)
        rest = self._rest(key)
        if error.endswith("context canceled"):
            self.book.cancel(key)
        elif error:
            self.book.fail(key, error, seconds)
        else:
            cached = vertex.get("cached") is True
            self.book.finish(key, None if cached else seconds, cached=cached)
        return rest

    def _amount(self, amount: Mapping[str, Any]) -> None:
        key, what = self._key(amount.get("vertex")), _text(amount.get("id"))
        done, total = _count(amount.get("current")), _count(amount.get("total"))
        if key is None or not what or not (done or total):
            return
        self.book.move(key, what, total if amount.get("completed") and total else done, total or None)

    def _log(self, log: Mapping[str, Any]) -> list[Line]:
        key = self._key(log.get("vertex"))
        owner = key or ""
        data = self._kept.pop(owner, b"") + _decoded(log.get("data"))
        *whole, rest = data.split(b"\n")
        if len(rest) > _LONGEST_KEPT or (rest and len(self._kept) >= _MOST_KEPT):
            whole, rest = [*whole, rest], b""
        if rest:
            self._kept[owner] = rest
        return [self.book.log(key, _drawn(line)) for line in whole]

    def _rest(self, key: str) -> list[Line]:
        rest = self._kept.pop(key, b"")
        return [self.book.log(key, _drawn(rest))] if rest else []

    def _key(self, digest: Any) -> str | None:
        return digest if isinstance(digest, str) and self.book.knows(digest) else None


def _is_cut(piece: str) -> bool:
    return len(piece) >= _LONGEST_LINE or len(piece.encode("utf-8", "replace")) >= _LONGEST_LINE


def _dicts(status: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    listed = status.get(name)
    return (each for each in (listed if isinstance(listed, list) else ()) if isinstance(each, dict))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return min(value, 1 << 60) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _time(value: Any) -> float | None:
    """Go's time, with nanoseconds, in seconds since 1970."""
    try:
        moment = datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment is not None and math.isfinite(moment) and moment > 0 else None


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(value) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        return b""


def _drawn(raw: bytes) -> str:
    # A progress bar returns to the start of its line: what it showed last is the line.
    return raw.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
