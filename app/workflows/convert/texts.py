"""What a browser changes in texts while it converts: choices, comments and the tokens of file names.

Measured with frontend 1.58.1 and 1.27.10; see the reference page on workflow formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

#: A choice among n texts: a number from 0 to n - 1.
Choose = Callable[[int], int]
#: The value that ``%Node.widget%`` stands for as text, or None when there is no such widget.
Lookup = Callable[[str, str], str | None]

_Parts: TypeAlias = "list[str | _Parts]"

_COMMENT_START = re.compile(r"/[*/]")
_LINE_END = re.compile("[\n\r\u2028\u2029]")
_TOKEN = re.compile(r"%([^%]+)%")
_DATE_PART = re.compile(r"yyyy|yy|d{1,2}|M{1,2}|h{1,2}|m{1,2}|s{1,2}")
#: As much as tokens may add to a text; file names are short.
_MAX_ADDED = 100_000
_UNSAFE = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')
#: A backslash with what it escapes, a sign, or plain text.
_PART = re.compile(r"\\.|[{}|\\]|[^{}|\\]+", re.DOTALL)
_ESCAPED = re.compile(r"\\([{}|])")


def without_comments(text: str) -> str:
    """``/* … */`` and ``// …`` to the end of the line are gone; what is opened and not closed stays."""
    parts: list[str] = []
    at, closed = 0, True
    while (found := _COMMENT_START.search(text, at)) is not None:
        start = found.start()
        if found[0] == "//":
            line_end = _LINE_END.search(text, start)
            end = len(text) if line_end is None else line_end.start()
        else:
            end = text.find("*/", start + 2) + 2 if closed else 1
            closed = closed and end > 1
            if end == 1:
                # Only the star is passed over: `/*//` still has a comment to the end of the line.
                parts.append(text[at : start + 1])
                at = start + 1
                continue
        parts.append(text[at:start])
        at = end
    return "".join([*parts, text[at:]])


def chosen(text: str, choose: Choose) -> str:
    r"""One of each ``{a|b|c}``, nested; ``\{``, ``\}`` and ``\|`` are plain characters then.

    Work grows with the length of the text alone: each part is looked at once, and nesting is a list.
    """
    # Each open brace holds the options read so far; the last one is still being read.
    levels: list[list[_Parts]] = [[[]]]
    for part in _PART.findall(text):
        if part == "{":
            levels.append([[]])
        elif part == "}" and len(levels) > 1:
            _close(levels, choose)
        elif part == "|" and len(levels) > 1:
            levels[-1].append([])
        else:
            levels[-1][-1].append(part)
    while len(levels) > 1:
        _close(levels, choose)
    return _ESCAPED.sub(r"\1", _joined(levels[0][0]))


def _close(levels: list[list[_Parts]], choose: Choose) -> None:
    options = levels.pop()
    levels[-1][-1].append(options[choose(len(options)) % len(options)])


def _joined(parts: _Parts) -> str:
    """All texts in nested lists, from left to right."""
    texts: list[str] = []
    waiting: list[str | _Parts] = [parts]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            texts.append(part)
        else:
            waiting.extend(reversed(part))
    return "".join(texts)


def with_tokens(text: str, lookup: Lookup, now: datetime) -> str:
    """``%date:FORMAT%`` and ``%Node.widget%`` replaced; what is neither stays, for the server may know it."""

    added = 0

    def replaced(found: re.Match[str]) -> str:
        nonlocal added
        parts = found[1].split(".")
        if len(parts) != 2:
            token = parts[0]
            return _date(token[5:], now) if token.startswith("date:") else found[0]
        value = lookup(parts[0], parts[1])
        added += len(value or "")
        return found[0] if value is None or added > _MAX_ADDED else _UNSAFE.sub("_", value)

    return _TOKEN.sub(replaced, text)


def _date(form: str, now: datetime) -> str:
    numbers = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def part(found: re.Match[str]) -> str:
        if found[0] == "yyyy":
            return str(now.year)
        if found[0] == "yy":
            return str(now.year)[-2:]
        return str(numbers[found[0][0]]).zfill(len(found[0]))

    return _DATE_PART.sub(part, form)
