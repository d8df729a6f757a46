"""The checks that nothing is left behind must themselves fail for each kind of thing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QWidget

from app.ui.queue.pictures import PictureStore
from tests.gui.harness import Left, left_behind, on_loop, settle

_SOON = 0.05


def test_a_clean_test_leaves_nothing(app: QApplication) -> None:
    assert left_behind(app, Left.now(app), _SOON) == []


def test_a_window_is_found(app: QApplication) -> None:
    before = Left.now(app)
    window = QWidget()
    window.show()
    assert left_behind(app, before, _SOON) == ["window QWidget"]
    window.close()
    settle(app)
    assert left_behind(app, before, _SOON) == []


def test_a_running_timer_is_found(app: QApplication) -> None:
    before = Left.now(app)
    timer = QTimer(app)
    timer.start(10_000)
    assert left_behind(app, before, _SOON) == ["timer of QApplication"]
    timer.stop()
    assert left_behind(app, before, _SOON) == []
    timer.deleteLater()


def test_a_thread_is_found(app: QApplication) -> None:
    before, end = Left.now(app), threading.Event()
    thread = threading.Thread(target=end.wait, name="left", daemon=True)
    thread.start()
    assert left_behind(app, before, _SOON) == ["thread left"]
    end.set()
    thread.join()
    assert left_behind(app, before, _SOON) == []


def test_a_thread_of_qts_is_found(app: QApplication, tmp_path: Path) -> None:
    before = Left.now(app)
    store = PictureStore(tmp_path)
    assert "Qt thread _Worker" in left_behind(app, before, _SOON)
    store.close()
    assert left_behind(app, before, _SOON) == []
    store.deleteLater()


def test_a_child_process_is_found(app: QApplication) -> None:
    before = Left.now(app)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert left_behind(app, before, _SOON) == [f"process {child.pid}"]
    child.communicate(b"\n")
    assert left_behind(app, before, _SOON) == []


def test_a_task_is_found() -> None:
    """``asyncio.Runner`` would cancel it without a word."""
    left: list[asyncio.Task[None]] = []

    @on_loop
    async def leaves_one() -> None:
        left.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

    with pytest.raises(AssertionError, match="forgotten"):
        leaves_one()
    assert left[0].cancelled()
