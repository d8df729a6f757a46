"""What a build prints with ``--progress=plain``: BuildKit from 0.8 (Docker 20.10) on."""

from __future__ import annotations

import re

from .sizes import SIZE, bytes_of
from .steps import Line, StepBook

#: Of a name, in letters.
_COMPARED = 1_000
_LINE = re.compile(r"#(\d{1,6}) (.*)", re.DOTALL)
_DONE = re.compile(r"DONE(?: (\d{1,9}(?:\.\d{1,6})?)s)?")
_LOG = re.compile(r"\d{1,9}\.\d{1,6}(?: (.*))?", re.DOTALL)
#: ``sha256:… 3.1MB / 40MB 1.2s done``, ``transferring context: 30B done``.
_AMOUNT = re.compile(
    rf"(?P<what>\S.*?) (?P<done>{SIZE})(?: / (?P<total>{SIZE}))?(?: \d{{1,9}}\.\d{{1,6}}s)?(?P<end> done)?"
)
#: Docker 20.10 ends no line that a program left open, before it tells how the step ended.
_GLUED = re.compile(r"(.*)#(\d{1,6}) ((?:DONE \d{1,9}\.\d{1,6}s|CANCELED|ERROR: .*))", re.DOTALL)
_VERTEX = re.compile(r"sha256:[0-9a-f]{64}")


class PlainOutput:
    """The steps of a build from its plain output."""

    def __init__(self) -> None:
        self.book = StepBook()
        self._names: dict[str, str] = {}

    def feed(self, line: str) -> list[Line]:
        line = line.rstrip("\r\n")
        match = _LINE.fullmatch(line)
        if match is None:
            return [self.book.log(None, line)] if line.strip() else []
        key, text = match[1].lstrip("0"), match[2]
        if not key:  # buildx tells which builder it takes
            return [self.book.log(None, text)]
        if not self.book.knows(key):
            self.book.name(key, text)
            self.book.start(key)
            if self.book.knows(key):
                self._names[key] = text[:_COMPARED]
            return []
        return self._told(key, text)

    def _told(self, key: str, text: str) -> list[Line]:
        # The name comes again when BuildKit's report returns to a step, after ``...`` told that it leaves it.
        if text in ("", "...") or text[:_COMPARED] == self._names[key] or _VERTEX.fullmatch(text):
            return []
        if done := _DONE.fullmatch(text):
            self.book.finish(key, None if done[1] is None else float(done[1]))
        elif text == "CACHED":
            self.book.finish(key, None, cached=True)
        elif text == "CANCELED":
            self.book.cancel(key)
        elif text.startswith("ERROR:"):
            self.book.fail(key, text[6:].strip())
        elif log := _LOG.fullmatch(text):
            glued = _GLUED.fullmatch(log[1] or "")
            if glued and glued[2] == key:
                return [self.book.log(key, _last_drawn(glued[1])), *self._told(key, glued[3])]
            return [self.book.log(key, _last_drawn(log[1] or ""))]
        elif amount := _AMOUNT.fullmatch(text):
            done_, total = bytes_of(amount["done"]) or 0, bytes_of(amount["total"] or "")
            self.book.move(key, amount["what"], total if amount["end"] and total else done_, total)
        else:
            return [self.book.log(key, _last_drawn(text))]
        return []


def _last_drawn(text: str) -> str:
    return text.rpartition("\r")[2]
