"""The one module that knows qasync: asyncio on Qt's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

# Before qasync, which takes the first binding that it finds.
from PySide6.QtWidgets import QApplication, QDialog
from qasync import QEventLoop

T = TypeVar("T")


def loop_factory(app: QApplication) -> Callable[[], asyncio.AbstractEventLoop]:
    """For ``asyncio.Runner``: a loop on this application."""

    def make() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = QEventLoop(app)
        return loop

    return make


def run(app: QApplication, work: Coroutine[Any, Any, T]) -> T:
    """Run to the end of ``work`` on Qt's loop."""
    app.setQuitOnLastWindowClosed(False)
    with asyncio.Runner(loop_factory=loop_factory(app)) as runner:
        return runner.run(work)


async def shown(dialog: QDialog) -> int:
    """Open a dialog and wait for its result: never ``exec``, which breaks every other task."""
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def finished(result: int) -> None:
        if not done.done():
            done.set_result(result)

    dialog.finished.connect(finished)
    dialog.open()
    try:
        return await done
    finally:
        dialog.finished.disconnect(finished)
