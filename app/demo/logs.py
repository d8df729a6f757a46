"""The engine's log: to Python's logging, and the last entries for ``/internal/logs``."""

from __future__ import annotations

import logging
from collections import deque
from datetime import datetime

_logger = logging.getLogger("app.demo")
KEPT = 300


class LogRing:
    """The last entries. May be written from any thread."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, str]] = deque(maxlen=KEPT)

    def write(self, message: str, *, level: int = logging.INFO) -> None:
        # ComfyUI's entries carry local time without a zone.
        self._entries.append({"t": datetime.now().isoformat(), "m": message + "\n"})
        _logger.log(level, "%s", message)

    def entries(self) -> list[dict[str, str]]:
        return list(self._entries)

    def text(self) -> str:
        return "".join(f"{entry['t']} - {entry['m']}" for entry in self.entries())
