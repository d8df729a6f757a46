"""The workflows that were run last, and those that the user keeps: remembered, watched, and offered again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PySide6.QtCore import QFileSystemWatcher, QObject, QTimer, Signal

from ..state import WindowState

_KEY = "workflows"
_MOST, _MOST_WATCHED = 24, 24
#: A program that saves a file writes it several times, or puts another in its place.
_QUIET_MS = 600


@dataclass(frozen=True, slots=True)
class Recent:
    """A workflow file.

    Attributes:
        picture: the first picture of its last result; empty while there is none.
        at: when it ran last, in seconds since 1970. kept: the user keeps it.
    """

    path: str
    picture: str = ""
    at: float = 0.0
    kept: bool = False

    @property
    def name(self) -> str:
        return Path(self.path).stem


class RecentWorkflows(QObject):
    """Kept in the window's own file: losing them costs nothing.

    Signals:
        changed: the list is another one.
        saved_anew: a watched file has other contents than when it ran; its path.
    """

    changed = Signal()
    saved_anew = Signal(str)

    def __init__(self, state: WindowState, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._all = [each for text in state.texts(_KEY) if (each := _read(text)) is not None]
        self._watcher = QFileSystemWatcher(self)
        self._marks: dict[str, tuple[int, int] | None] = {}
        self._touched: set[str] = set()
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(_QUIET_MS)
        self._quiet.timeout.connect(self._look)
        self._watcher.fileChanged.connect(self._touch)

    @property
    def all(self) -> tuple[Recent, ...]:
        """Those that are kept by their names, then the others, the last one first."""
        kept = sorted((each for each in self._all if each.kept), key=lambda each: each.name.casefold())
        return (*kept, *(each for each in self._all if not each.kept))

    def ran(self, paths: Sequence[str], now: float) -> None:
        """These files run now; from now on it is seen when they change."""
        for path in list(dict.fromkeys(path for path in paths if path))[-_MOST:]:
            known = next((each for each in self._all if each.path == path), Recent(path))
            self._all = [replace(known, at=now), *(each for each in self._all if each.path != path)]
            self._watch(path)
        kept = [each for each in self._all if each.kept]
        others = [each for each in self._all if not each.kept][: max(_MOST - len(kept), 0)]
        self._all = [each for each in self._all if each.kept or each in others]
        self._store()

    def made(self, path: str, picture: str) -> None:
        """The first picture of a workflow's newest result."""
        self._change(path, lambda each: replace(each, picture=picture))

    def keep(self, path: str, *, kept: bool) -> None:
        self._change(path, lambda each: replace(each, kept=kept))

    def forget(self, path: str) -> None:
        """Take a file off the list; the file stays."""
        self._all = [each for each in self._all if each.path != path]
        self._store()

    def _change(self, path: str, how: Callable[[Recent], Recent]) -> None:
        if any(each.path == path for each in self._all):
            self._all = [how(each) if each.path == path else each for each in self._all]
            self._store()

    def _store(self) -> None:
        self._state.put(_KEY, [json.dumps(asdict(each)) for each in self._all])
        self.changed.emit()

    # Watching.

    def _watch(self, path: str) -> None:
        self._marks[path] = _mark(path)
        watched = self._watcher.files()
        if path not in watched:
            if len(watched) >= _MOST_WATCHED:
                self._watcher.removePath(watched[0])
            self._watcher.addPath(path)

    def _touch(self, path: str) -> None:
        self._touched.add(path)
        self._quiet.start()

    def _look(self) -> None:
        touched, self._touched = self._touched, set()
        for path in touched:
            mark = _mark(path)
            # A file that was put in the place of another is no longer watched by itself.
            if mark is not None and path not in self._watcher.files():
                self._watcher.addPath(path)
            if mark is not None and mark != self._marks.get(path):
                self._marks[path] = mark
                self.saved_anew.emit(path)


def _mark(path: str) -> tuple[int, int] | None:
    """When a file was written, and its size; None while it is not there."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _read(text: str) -> Recent | None:
    try:
        found = Recent(**json.loads(text))
    except (ValueError, TypeError):
        return None
    texts = isinstance(found.path, str) and isinstance(found.picture, str) and found.path
    return found if texts and isinstance(found.at, int | float) else None
