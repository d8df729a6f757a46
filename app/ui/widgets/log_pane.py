"""The lines of a log as text: coloured where they are seen, filtered, searched, followed to their end.

Each line is one block of the document. Only blocks in sight get colours, so that ten thousand lines cost no
more than thirty, and a change of the scheme is drawn at once.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtGui import QFontMetricsF, QResizeEvent, QTextBlock, QTextCharFormat, QTextCursor, QTextLayout
from PySide6.QtWidgets import QFrame, QPlainTextEdit

from ...log_lines import Level, Line
from ..theme import Theme

#: The newest lines are kept, so many.
MOST_LINES: Final = 20_000
#: Hits beyond are not counted one by one.
MOST_HITS: Final = 9_999
_WORDS: Final[dict[Level, str]] = {
    "debug": "DEBUG", "info": "INFO", "step": "STEP", "warning": "WARN", "error": "ERROR",
}  # fmt: skip
_WORD_ROLES: Final[dict[Level, str]] = {
    "debug": "text3", "info": "text3", "step": "blue", "warning": "amber", "error": "red",
}  # fmt: skip
_TEXT_ROLES: Final[dict[Level, str]] = {"debug": "text3", "warning": "amber", "error": "red"}
_PLAIN_ROLES: Final[dict[Level, str]] = {**_TEXT_ROLES, "step": "blue"}
_LONGEST_PREFIX, _TIME_W = 14, 10
FILTERS: Final[dict[str, frozenset[Level]]] = {
    "all": frozenset(_WORDS),
    "info": frozenset({"debug", "info", "step"}),
    "warning": frozenset({"warning"}),
    "error": frozenset({"error"}),
}


@dataclass(frozen=True, slots=True)
class _Kept:
    """A line as it stands in the document: where its parts begin."""

    shown: str
    level: Level
    prefix: str
    prefix_at: int
    word_at: int
    text_at: int
    role: str


class LogPane(QPlainTextEdit):
    """Read-only; follows the end until the user scrolls away from it.

    Args:
        plain: no level's word, and no column of who speaks; a whole line has one colour.
        role_of: the colour of a plain line, where its level does not say it.

    Signals:
        counted: other numbers of lines, of warnings or errors.
        moved: the user has left the end, or more came below, or all is in sight again.
        found: another number of hits, or another one of them is the present one.
    """

    counted = Signal()
    moved = Signal()
    found = Signal()

    def __init__(
        self,
        theme: Theme,
        name: str,
        *,
        plain: bool = False,
        role_of: Callable[[Line], str] = lambda _: "",
    ) -> None:
        super().__init__()
        self._theme = theme
        self._plain, self._role_of = plain, role_of
        self._lines: deque[_Kept] = deque()
        self._first = 0  # the number of the oldest line there is, of all that ever came
        self._last_of: dict[str, int] = {}
        self._filter = FILTERS["all"]
        self._prefix_w = self._time_w = 0
        self._following = True
        self._moving = False
        self._words = ""
        self._hits: list[tuple[int, int]] = []
        self._hit: tuple[int, int] | None = None
        self._look = 1
        self.below = 0
        self.counts: Counter[Level] = Counter()
        self.setProperty("kind", "console")
        self.setReadOnly(True)
        self.setUndoRedoEnabled(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName(name)
        self.setTabChangesFocus(True)
        self.setMaximumBlockCount(MOST_LINES)
        self.set_wrapped(wrapped=False)
        bar = self.verticalScrollBar()
        bar.valueChanged.connect(self._scrolled)
        bar.rangeChanged.connect(self._range_changed)
        theme.changed.connect(self._restyle)
        self._restyle()

    @property
    def has_overflowed(self) -> bool:
        """Whether there were more lines than are kept."""
        return self._first > 0

    @property
    def is_following(self) -> bool:
        return self._following

    def line_count(self) -> int:
        return len(self._lines)

    def visible_text(self) -> str:
        """All lines that the filter lets through."""
        return "\n".join(kept.shown for kept in self._lines if kept.level in self._filter)

    # Lines that come.

    def add(self, lines: Sequence[Line]) -> None:
        """Append lines; one that replaces its forerunner takes its place."""
        new: list[Line] = []
        place: dict[str, int] = {}
        for line in lines:
            if line.replaces and line.prefix in place:
                new[place[line.prefix]] = line
            elif not (line.replaces and self._replace(line)):
                place[line.prefix] = len(new)
                new.append(line)
        self._append(new[-MOST_LINES:])
        self._update()

    def clear_lines(self) -> None:
        self._lines.clear()
        self._last_of.clear()
        self.counts.clear()
        self._first = self.below = self._prefix_w = self._time_w = 0
        self._following = True
        with QSignalBlocker(self.verticalScrollBar()):
            self.clear()
        self._search()
        self._update()

    def _append(self, lines: Sequence[Line]) -> None:
        if not lines:
            return
        bar = self.verticalScrollBar()
        value = bar.value()
        self._prefix_w = max(self._prefix_w, *(len(_shortened(line.prefix)) for line in lines))
        # Lines without a time stand below those that have one.
        self._time_w = self._time_w or (_TIME_W if any(line.at is not None for line in lines) else 0)
        kept = [self._kept(line) for line in lines]
        removed, start = self._make_room(len(kept)), len(self._lines)
        self._moving = True
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(("\n" if start or removed else "") + "\n".join(each.shown for each in kept))
        for number, (line, each) in enumerate(zip(lines, kept, strict=True), self._first + start):
            self._lines.append(each)
            self._last_of[line.prefix] = number
            self.counts[each.level] += 1
            self._hits += self._hits_in(number, each)
        self._hide(start, kept)
        if not self._following:
            bar.setValue(value - removed)
            self.below += sum(each.level in self._filter for each in kept)
        self._moving = False

    def _make_room(self, coming: int) -> int:
        """Let go of the oldest lines, as the document does by itself; how many rows of text these were."""
        over, rows = len(self._lines) + coming - MOST_LINES, 0
        block = self.document().firstBlock()
        for _ in range(max(over, 0)):
            rows += block.lineCount()
            block = block.next()
            self.counts[self._lines.popleft().level] -= 1
            self._first += 1
        if over > 0:
            del self._hits[: bisect_left(self._hits, (self._first, 0))]
        return rows

    def _replace(self, line: Line) -> bool:
        """Put a line where the last one of its speaker stands, if that is there."""
        number = self._last_of.get(line.prefix, -1)
        if number < self._first:
            return False
        index = number - self._first
        old, new = self._lines[index], self._kept(line)
        self._lines[index] = new
        self.counts[old.level] -= 1
        self.counts[new.level] += 1
        block = self.document().findBlockByNumber(index)
        self._moving = True
        cursor = QTextCursor(block)
        cursor.movePosition(QTextCursor.MoveOperation.EndOfBlock, QTextCursor.MoveMode.KeepAnchor)
        cursor.insertText(new.shown)
        block.setUserState(-1)
        self._hide(index, [new])
        self._moving = False
        if self._words:
            first, last = (bisect_left(self._hits, (each, 0)) for each in (number, number + 1))
            self._hits[first:last] = self._hits_in(number, new)
        return True

    def _kept(self, line: Line) -> _Kept:
        moment = _moment(line.at) if line.at is not None else " " * self._time_w
        at = len(moment)
        if self._plain:
            said = f"{line.prefix}  {line.text}" if line.prefix else line.text
            role = self._role_of(line) or _PLAIN_ROLES.get(line.level, "text2")
            return _Kept(f"{moment}{said}", line.level, line.prefix, at, at, at, role)
        prefix = f"{_shortened(line.prefix):<{self._prefix_w}}  " if self._prefix_w else ""
        word = f"{_WORDS[line.level]:<5}  "
        word_at = at + len(prefix)
        shown = f"{moment}{prefix}{word}{line.text}"
        role = _TEXT_ROLES.get(line.level, "text2")
        return _Kept(shown, line.level, line.prefix, at, word_at, word_at + len(word), role)

    # What is shown of them.

    def set_filter(self, key: str) -> None:
        """Show all lines, or those of some levels; keys are those of :data:`FILTERS`."""
        self._filter = FILTERS[key]
        self._hide(0, list(self._lines), all_anew=True)
        self.below = 0
        self._search()
        self.to_end()

    def set_wrapped(self, *, wrapped: bool) -> None:
        mode = QPlainTextEdit.LineWrapMode
        self.setLineWrapMode(mode.WidgetWidth if wrapped else mode.NoWrap)
        self._update()

    def to_end(self) -> None:
        """Show the newest line, and follow the end from now on."""
        self._following, self.below = True, 0
        self._update()

    def _hide(self, start: int, kept: Sequence[_Kept], *, all_anew: bool = False) -> None:
        if not all_anew and self._filter == FILTERS["all"]:
            return
        block = self.document().findBlockByNumber(start)
        begin = end = block.position()
        for each in kept:
            block.setVisible(each.level in self._filter)
            end = block.position() + block.length()
            block = block.next()
        self.document().markContentsDirty(begin, end - begin)

    def _update(self) -> None:
        if self._following:
            self._moving = True
            bar = self.verticalScrollBar()
            bar.setValue(bar.maximum())
            self._moving = False
        self._dress()
        self.counted.emit()
        self.moved.emit()

    def _scrolled(self, value: int) -> None:
        if not self._moving:
            self._following = value >= self.verticalScrollBar().maximum()
            if self._following:
                self.below = 0
            self.moved.emit()
        self._dress()

    def _range_changed(self, least: int, most: int) -> None:
        if self._following and not self._moving:
            self._moving = True
            self.verticalScrollBar().setValue(most)
            self._moving = False

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._update()

    # Colours.

    def _restyle(self) -> None:
        theme = self._theme
        self.setFont(theme.font("mono"))
        self.setTabStopDistance(4 * QFontMetricsF(theme.font("mono")).horizontalAdvance(" "))
        self._formats: dict[tuple[str, str], QTextCharFormat] = {}
        self._look += 1
        self._dress()

    def _format(self, role: str, ground: str = "") -> QTextCharFormat:
        if (role, ground) not in self._formats:
            made = QTextCharFormat()
            made.setForeground(self._theme.color(role))
            if ground:
                made.setBackground(self._theme.color(ground))
            self._formats[role, ground] = made
        return self._formats[role, ground]

    def _dress(self) -> None:
        """Colour the lines in sight that have not got their colours yet."""
        block, bottom = self.firstVisibleBlock(), self.viewport().height()
        offset = self.contentOffset()
        while block.isValid() and block.blockNumber() < len(self._lines):
            if block.isVisible():
                if self.blockBoundingGeometry(block).translated(offset).top() > bottom:
                    break
                if block.userState() != self._look:
                    block.layout().setFormats(self._ranges(block))
                    block.setUserState(self._look)
            block = block.next()
        self.viewport().update()

    def _ranges(self, block: QTextBlock) -> list[QTextLayout.FormatRange]:
        index = block.blockNumber()
        kept = self._lines[index]
        parts = [
            (0, kept.prefix_at, self._format("text3")),
            (kept.prefix_at, kept.word_at, self._format("violet")),
            (kept.word_at, kept.text_at, self._format(_WORD_ROLES[kept.level])),
            (kept.text_at, len(kept.shown), self._format(kept.role)),
        ]
        for hit in self._hits_in(index + self._first, kept):
            now = hit == self._hit
            form = self._format("on_accent", "accent") if now else self._format("text", "accent_soft")
            parts.append((hit[1], hit[1] + len(self._words), form))
        return [_range(start, end, form) for start, end, form in parts if end > start]

    # Search.

    @property
    def hit_count(self) -> int:
        return len(self._hits)

    @property
    def hit_number(self) -> int:
        """Which of the hits is the present one, from 1; 0: none."""
        return bisect_left(self._hits, self._hit) + 1 if self._hit in self._hits else 0

    def search_for(self, words: str, *, go: bool = True) -> None:
        """Find these words in the lines shown, in any case; with ``go`` the newest is the present one."""
        self._words = words.lower()
        self._search()
        if self._hits and go:
            self._go_to(self._hits[-1])
        self._dress()

    def step(self, by: int) -> None:
        """Go to the next hit (1) or the one before (-1), from the ends to the other end."""
        if self._hits:
            now = self.hit_number
            index = (now - 1 + by) if now else (0 if by > 0 else -1)
            self._go_to(self._hits[index % len(self._hits)])

    def go_to_hit(self, number: int) -> None:
        """Make the hit of this number, from 1, the present one; 0: none of them is."""
        if number:
            self._go_to(self._hits[number - 1])
        elif self._hit is not None:
            self._hit = None
            self._look += 1
            self._dress()

    def go_to_level(self, level: Level) -> bool:
        """Bring the first line of a level in sight; whether there is one."""
        index = next((n for n, kept in enumerate(self._lines) if kept.level == level), None)
        if index is None:
            return False
        self.setTextCursor(QTextCursor(self.document().findBlockByNumber(index)))
        self.centerCursor()
        return True

    def _search(self) -> None:
        self._hits, self._hit = [], None
        if self._words:
            for number, kept in enumerate(self._lines, self._first):
                self._hits += self._hits_in(number, kept)
                if len(self._hits) >= MOST_HITS:
                    break
        self._look += 1
        self.found.emit()

    def _hits_in(self, number: int, kept: _Kept) -> list[tuple[int, int]]:
        if not self._words or kept.level not in self._filter:
            return []
        # A letter that is longer in lower case would move what comes after it.
        text = kept.shown.lower() if kept.shown.isascii() else "".join(_low(sign) for sign in kept.shown)
        hits, at = [], text.find(self._words, kept.prefix_at)
        while at >= 0:
            hits.append((number, at))
            at = text.find(self._words, at + len(self._words))
        return hits

    def _go_to(self, hit: tuple[int, int]) -> None:
        self._hit = hit
        self._look += 1
        block = self.document().findBlockByNumber(hit[0] - self._first)
        cursor = QTextCursor(block)
        cursor.setPosition(block.position() + hit[1])
        self.setTextCursor(cursor)
        self.centerCursor()
        self._dress()
        self.found.emit()


def _range(start: int, end: int, form: QTextCharFormat) -> QTextLayout.FormatRange:
    made = QTextLayout.FormatRange()
    made.start, made.length, made.format = start, end - start, form
    return made


@lru_cache(maxsize=64)
def _moment(at: float) -> str:
    return time.strftime("%H:%M:%S  ", time.localtime(at))


def _shortened(prefix: str) -> str:
    """A long name by its beginning and its end."""
    if len(prefix) <= _LONGEST_PREFIX:
        return prefix
    half = (_LONGEST_PREFIX - 1) // 2
    return f"{prefix[:half]}…{prefix[-half:]}"


def _low(sign: str) -> str:
    low = sign.lower()
    return low if len(low) == 1 else sign
