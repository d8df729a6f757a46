"""Garbage is collected on the GUI thread only: Qt's objects die where they live, or the program does."""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

_EVERY_MS = 1000


class GuiCollector(QObject):
    """Takes the collector's work from whichever thread it would happen to run in. Ends with :meth:`close`.

    Left to itself, Python collects in the thread that makes the next object, a writer's or a decoder's, and
    a widget in a cycle would be destroyed there.
    """

    def __init__(self) -> None:
        super().__init__()
        gc.disable()
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self._collect_what_is_due)
        self._timer.start()

    def close(self) -> None:
        """Collect all there is, and let Python do it again."""
        self._timer.stop()
        gc.collect()
        gc.enable()

    def _collect_what_is_due(self) -> None:
        """As Python itself would: the young often, the old rarely."""
        for generation, (count, limit) in enumerate(zip(gc.get_count(), gc.get_threshold(), strict=True)):
            if count <= limit:
                break
            gc.collect(generation)
