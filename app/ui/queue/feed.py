"""From the runner's events to the list: gathered, and handed on at most ten times a second."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

from ...jobs.model import JobEvent
from .model import JobModel
from .pictures import PictureStore

_EVERY_MS, _TICK_MS = 100, 1000


class Feed(QObject):
    """Keeps the newest event of each job until the list takes it in.

    Args:
        ended: told of each job that has ended since the start, once.
    """

    def __init__(
        self,
        model: JobModel,
        pictures: PictureStore,
        ended: Callable[[JobEvent], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._model, self._pictures, self._ended = model, pictures, ended
        self._gathered: dict[str, JobEvent] = {}
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_EVERY_MS)
        self._pause.timeout.connect(self._flush)
        self._clock = QTimer(self)
        self._clock.setInterval(_TICK_MS)
        self._clock.timeout.connect(self._tick)

    def take(self, event: JobEvent) -> None:
        """Take in one event; the first after a pause is shown at once."""
        held = self._gathered.get(event.job.id)
        if held is not None and event.progress is None and not event.job.is_final and not event.removed:
            # A change of state must not swallow the progress that came just before.
            event = JobEvent(event.job, held.progress)
        self._gathered[event.job.id] = event
        if not self._pause.isActive():
            self._flush()

    def stop(self) -> None:
        self._pause.stop()
        self._clock.stop()

    def _flush(self) -> None:
        events = list(self._gathered.values())
        self._gathered.clear()
        if not events:
            return
        self._pause.start()
        ended = [event for event in events if self._has_ended(event)]
        for event in events:
            self._hand_on_preview(event)
        self._model.apply(events)
        for event in ended:
            self._ended(event)
        runs = any(self._model.counts())
        if runs != self._clock.isActive():
            (self._clock.start if runs else self._clock.stop)()

    def _has_ended(self, event: JobEvent) -> bool:
        known = self._model.jobs.get(event.job.id)
        return event.job.is_final and not event.removed and (known is None or not known.job.is_final)

    def _hand_on_preview(self, event: JobEvent) -> None:
        if event.job.is_final or event.removed:
            self._pictures.drop_preview(event.job.id)
        elif event.progress is not None and event.progress.preview is not None:
            self._pictures.put_preview(event.job.id, event.progress.preview)

    def _tick(self) -> None:
        self._model.tick()
        if not any(self._model.counts()):
            self._clock.stop()
