"""What turns and travels: one shared clock that runs only while something needs it."""

from __future__ import annotations

import math
import time

from PySide6.QtCore import QObject, QTimer, Signal

_EVERY_MS = 100
_TURN_S, _TRAVEL_S = 1.2, 1.4


class Motion(QObject):
    """Ticks ten times a second while anyone wants it.

    Signals:
        ticked: time to draw what moves.
    """

    ticked = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wanted_by: set[int] = set()
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self.ticked)

    def want(self, who: object, wanted: bool) -> None:
        """Say whether ``who`` shows something that moves."""
        (self._wanted_by.add if wanted else self._wanted_by.discard)(id(who))
        if bool(self._wanted_by) != self._timer.isActive():
            (self._timer.start if self._wanted_by else self._timer.stop)()


def turn() -> float:
    """The angle of a turning icon now, in degrees, in steps of a tenth of a second."""
    return math.floor(time.monotonic() / 0.1) * 0.1 / _TURN_S * 360 % 360


def travel() -> float:
    """Where a bar of unknown length is now, 0 to 1."""
    return time.monotonic() % _TRAVEL_S / _TRAVEL_S
