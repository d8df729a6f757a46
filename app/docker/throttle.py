"""Telling of something that changes all the time, but not all the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_INTERVAL_S = 0.1


class Throttle(Generic[T]):
    """Asks for a value and passes it on when it is another, ten times a second at most.

    Its last state is always told.
    """

    def __init__(self, value: Callable[[], T], tell: Callable[[T], None] | None) -> None:
        self._value = value
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._due: asyncio.TimerHandle | None = None
        self._last = float("-inf")
        self._told: T | None = None

    def changed(self) -> None:
        """Something is new."""
        if self._tell is None or self._due is not None:
            return
        wait = self._last + _INTERVAL_S - self._loop.time()
        if wait <= 0:
            self._now()
        else:
            self._due = self._loop.call_later(wait, self._now)

    def close(self, *, tell: bool = True) -> None:
        """Tell what has not been told, and nothing after that."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if tell and self._tell is not None:
            self._now()
        self._tell = None

    def _now(self) -> None:
        self._due = None
        self._last = self._loop.time()
        if self._tell is not None and (value := self._value()) != self._told:
            self._told = value
            self._tell(value)
