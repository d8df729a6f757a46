"""How fast files were last sent to a volume: what a sync may take goes by it."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

#: Smaller files tell more of the way there than of its width.
_LEAST = 1_000_000


class Pace:
    """Kept in a small file of the data folder; losing it costs nothing. All methods block."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "upload-pace.json"

    def note(self, size: int, seconds: float) -> None:
        """``size`` bytes were sent in so many seconds."""
        if size >= _LEAST and seconds > 0:
            with contextlib.suppress(OSError):
                self._file.write_text(json.dumps({"bytes_per_s": size / seconds}), "utf-8")

    def last(self) -> float | None:
        """Bytes per second; None when nothing was sent yet."""
        try:
            pace = json.loads(self._file.read_text("utf-8"))["bytes_per_s"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        good = isinstance(pace, int | float) and math.isfinite(pace) and pace > 0
        return float(pace) if good else None
