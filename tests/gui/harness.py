"""What window tests share: coroutines on Qt's loop, waiting, drops, made-up jobs, leftovers."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import shiboken6
from PySide6.QtCore import (
    QCoreApplication,
    QEvent,
    QMimeData,
    QObject,
    QPoint,
    QPointF,
    Qt,
    QThread,
    QTimer,
    QUrl,
)
from PySide6.QtGui import QColor, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QImage
from PySide6.QtWidgets import QApplication, QWidget

from app.jobs.model import Job, OutputFile
from app.jobs.states import State
from app.ui.loop import loop_factory
from app.workflows.parameters import Expected

_LIMIT_S = 90.0


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on Qt's loop; a task that it leaves behind fails it.

    Inside, never call qtbot.waitSignal and the like: they nest a loop and hang. Await :func:`until`.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        app = QApplication.instance()
        assert isinstance(app, QApplication)

        async def limited() -> None:
            async with asyncio.timeout(_LIMIT_S):
                await test(*args, **kwargs)
            await asyncio.sleep(0)
            left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            assert not left, f"the test left tasks behind: {left}"

        with asyncio.Runner(loop_factory=loop_factory(app)) as runner:
            runner.run(limited())

    return run


async def until(true: Callable[[], Any], timeout: float = 30.0) -> Any:
    """Wait for something to become true, letting Qt and all tasks go on; its value."""
    deadline = time.monotonic() + timeout
    while not (value := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing after {timeout} s")
        await asyncio.sleep(0.01)
    return value


async def settled(times: int = 5) -> None:
    """Let Qt do what is due. In a coroutine never process events by hand: it would nest the loop."""
    for _ in range(times):
        await asyncio.sleep(0.005)


def settle(app: QApplication, times: int = 5) -> None:
    """Let Qt do what is due, deletions too."""
    for _ in range(times):
        app.processEvents()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def drag(window: QWidget, data: QMimeData) -> QDragEnterEvent:
    """Bring something over the window."""
    middle = window.rect().center()
    entering = QDragEnterEvent(
        middle, Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(window, entering)
    return entering


def leave(window: QWidget) -> None:
    QApplication.sendEvent(window, QDragLeaveEvent())


def drop(window: QWidget, data: QMimeData) -> None:
    """Bring something over the window and let it go."""
    drag(window, data)
    middle = QPointF(window.rect().center())
    event = QDropEvent(
        middle, Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(window, event)


def files(*paths: Path) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return data


def colour_at(widget: QWidget, x: int, y: int) -> str:
    """The colour of a point of a widget as it is drawn, ``#RRGGBB``."""
    image = widget.grab().toImage()
    ratio = image.devicePixelRatio()
    return QColor(image.pixel(round(x * ratio), round(y * ratio))).name().upper()


def box_in(window: QWidget, widget: QWidget) -> tuple[int, int, int, int]:
    """Left, top, width and height of a widget inside a window."""
    corner = widget.mapTo(window, QPoint(0, 0))
    return corner.x(), corner.y(), widget.width(), widget.height()


def picture(path: Path, colour: str = "#3366CC", size: tuple[int, int] = (96, 64)) -> Path:
    image = QImage(*size, QImage.Format.Format_RGB32)
    image.fill(QColor(colour))
    assert image.save(str(path))
    return path


def made_job(number: int, state: State, now: float, **values: Any) -> Job:
    """A job of a made-up list; the rest of its values as given."""
    ended = state in (State.DONE, State.FAILED, State.CANCELLED, State.TIMED_OUT)
    base: dict[str, Any] = {
        "id": f"{number:032x}",
        "seq": number,
        "name": f"workflow {number}",
        "target": "demo",
        "output_dir": "/nowhere",
        "state": state,
        "created_at": now - 60,
        "changed_at": now - 30 if ended else now - 5,
        "ended_at": now - 30 if ended else None,
        "started_at": now - 5 if state is State.RUNNING else None,
        "expected": Expected("image", 1, 512, 512),
    }
    return Job(**{**base, **values})


def results(*paths: Path) -> tuple[OutputFile, ...]:
    return tuple(OutputFile(path.name, str(path), size=1000, media_type="image/png") for path in paths)


@dataclass(frozen=True)
class Left:
    """What there is at one moment that a test could leave behind."""

    widgets: frozenset[int]
    threads: frozenset[int]
    timers: frozenset[int]
    children: frozenset[int]
    qt_threads: frozenset[int]

    @classmethod
    def now(cls, app: QApplication) -> Left:
        return cls(
            frozenset(id(widget) for widget in _windows(app)),
            frozenset(thread.ident or 0 for thread in _threads()),
            frozenset(id(timer) for timer in _timers(app)),
            frozenset(process.pid for process in _children()),
            frozenset(id(thread) for thread in _qt_threads()),
        )


def left_behind(app: QApplication, before: Left, patience_s: float = 3.0) -> Sequence[str]:
    """What is there now and was not before; waits a little for ends that are under way."""
    deadline = time.monotonic() + patience_s
    while True:
        settle(app)
        found = [f"window {type(w).__name__}" for w in _windows(app) if id(w) not in before.widgets]
        found += [f"thread {t.name}" for t in _threads() if (t.ident or 0) not in before.threads]
        found += [f"timer of {type(t.parent()).__name__}" for t in _timers(app) if id(t) not in before.timers]
        found += [f"Qt thread {type(t).__name__}" for t in _qt_threads() if id(t) not in before.qt_threads]
        found += [f"process {p.pid}" for p in _children() if p.pid not in before.children]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def _windows(app: QApplication) -> list[QWidget]:
    return [widget for widget in app.topLevelWidgets() if widget.isVisible()]


def _threads() -> list[threading.Thread]:
    # The resolver library keeps one thread of its own for the life of the process, and threads of Qt's that
    # have ended stay in Python's list.
    passing = ("_run_safe_shutdown_loop", "Dummy-")
    ours = [thread for thread in threading.enumerate() if not any(name in thread.name for name in passing)]
    return [thread for thread in ours if thread is not threading.main_thread()]


def _timers(app: QApplication) -> list[QTimer]:
    found: list[QTimer] = []
    for root in [*app.topLevelWidgets(), app]:
        assert isinstance(root, QObject)
        found += [timer for timer in root.findChildren(QTimer) if timer.isActive()]
    return found


def _children() -> list[psutil.Process]:
    return psutil.Process(os.getpid()).children(recursive=True)


def _qt_threads() -> list[QThread]:
    """Those that were started from Python; they are in no tree of objects."""
    return [thread for thread in _started if shiboken6.isValid(thread) and thread.isRunning()]


_started: weakref.WeakSet[QThread] = weakref.WeakSet()
_start = QThread.start


def _noted_start(thread: QThread, *priority: QThread.Priority) -> None:
    _started.add(thread)
    _start(thread, *priority)


QThread.start = _noted_start  # type: ignore[method-assign]
