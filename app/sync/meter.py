"""How fast it goes and how long it takes, in numbers that do not jump."""

from __future__ import annotations

import time
from collections import deque

#: Rates are means over so many seconds.
_WINDOW_S = 12.0
#: How long a rate must be known before a time is told from it, in seconds.
_STEADY_S = 5.0


class Meter:
    """Fed with the bytes so far, a few times a second; tells the rate. Time at rest does not count."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._began: float | None = None

    def note(self, done: int) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = now
        self._seen.append((now, done))
        while now - self._seen[0][0] > _WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()

    def rest(self) -> None:
        self._seen.clear()
        self._began = None

    @property
    def rate(self) -> float | None:
        """Bytes per second; None while it cannot be told."""
        if len(self._seen) < 2:
            return None
        (start, first), (end, last) = self._seen[0], self._seen[-1]
        return max(0.0, last - first) / (end - start) if end - start >= 0.5 else None

    def left_s(self, left: int) -> float | None:
        """Seconds for so many bytes more; None before it goes steadily."""
        rate = self.rate
        steady = self._began is not None and time.monotonic() - self._began >= _STEADY_S
        return left / rate if steady and rate else None
