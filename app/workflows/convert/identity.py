"""Ids that are used once only, as frontend 1.58.1 gives them when it loads a workflow."""

from __future__ import annotations


class Ids:
    """Hands out node ids over all graphs of one workflow, in the order in which they are read."""

    def __init__(self, last: int) -> None:
        """``last`` is the highest id in use; new ones follow it."""
        self._last = last
        self._used: set[str] = set()

    def take(self, wanted: str) -> str:
        """``wanted`` when it is free, else a new id."""
        if wanted in self._used:
            return self.new()
        self._used.add(wanted)
        return wanted

    def new(self) -> str:
        self._last += 1
        while str(self._last) in self._used:
            self._last += 1
        self._used.add(str(self._last))
        return str(self._last)
