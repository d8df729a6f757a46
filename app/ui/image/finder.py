"""Searching all parts of the log as one: hits are counted through all panes, and opened where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Signal

from ..widgets.log_pane import MOST_HITS, LogPane

#: A pane, and what brings it in sight.
Place = tuple[LogPane, Callable[[], object]]


class Finder(QObject):
    """Signals: ``counted``: another number of hits, or another one is the present one.

    Args:
        places: all panes there are, in their order.
    """

    counted = Signal()

    def __init__(self, places: Callable[[], Sequence[Place]]) -> None:
        super().__init__()
        self._places = places
        self.words = ""

    def text(self) -> str:
        """``3 of 17``, ``No match``; empty without words."""
        if not self.words:
            return ""
        count = sum(pane.hit_count for pane, _ in self._places())
        number, before = 0, 0
        for pane, _ in self._places():
            if pane.hit_number:
                number = before + pane.hit_number
            before += pane.hit_count
        of = f"{MOST_HITS:,}+".replace(",", " ") if count >= MOST_HITS else str(count)
        return f"{number} of {of}" if count else "No match"

    def search_for(self, words: str, first: LogPane | None = None) -> None:
        """Find in all panes. The present hit is the first one of the pane ``first``, else of all."""
        self.words = words
        for pane, _ in self._places():
            pane.search_for(words, go=False)
        found = [place for place in self._places() if place[0].hit_count]
        if found:
            begin = next((place for place in found if place[0] is first), found[0])
            self._go(begin, 1)
        self.counted.emit()

    def take(self, pane: LogPane) -> None:
        """A pane that has come while words are searched for."""
        if self.words:
            pane.search_for(self.words, go=False)
        pane.found.connect(self.counted)
        pane.counted.connect(self._lines_came)

    def step(self, by: int) -> None:
        """To the next hit (1) or the one before (-1), through all panes, from the ends to the other end."""
        found = [place for place in self._places() if place[0].hit_count]
        if not found:
            return
        now = next((n for n, (pane, _) in enumerate(found) if pane.hit_number), None)
        if now is None:
            self._go(found[0 if by > 0 else -1], 1 if by > 0 else -1)
            return
        number = found[now][0].hit_number + by
        if 1 <= number <= found[now][0].hit_count:
            self._go(found[now], number)
        else:
            self._go(found[(now + by) % len(found)], 1 if by > 0 else -1)

    def _go(self, place: Place, number: int) -> None:
        """To a pane's hit by its number; -1: the last one."""
        pane, show = place
        for other, _ in self._places():
            if other is not pane:
                other.go_to_hit(0)
        show()
        pane.go_to_hit(pane.hit_count if number < 0 else number)
        self.counted.emit()

    def _lines_came(self) -> None:
        if self.words:
            self.counted.emit()
