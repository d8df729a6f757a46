"""Toasts: at most three, each for its time, stopped by the pointer; and the list of all that was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QEnterEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QWidget

from app.errors import Problem
from app.ui.frame.notices import Toast, Toasts
from app.ui.notices import Notice, Notices
from app.ui.theme import Theme
from tests.gui.checks import shown
from tests.gui.harness import on_loop, settle, settled
from tests.gui.scenes import scene


@pytest.fixture
def board(theme: Theme) -> Iterator[Any]:
    """A window with toasts and nothing else."""
    area, notices = QWidget(), Notices()
    area.resize(900, 600)
    area.show()
    toasts = Toasts(theme, area, notices, lambda: 100)
    yield SimpleNamespace(area=area, notices=notices, toasts=toasts)
    area.close()
    area.deleteLater()


def titles(board: Any) -> list[str]:
    return [toast.title.text() for toast in board.toasts.shown]


def clock(toast: Toast) -> int | None:
    """How long a toast has left, in ms; None when its clock stands still."""
    return toast._timer.remainingTime() if toast._timer.isActive() else None


def test_at_most_three_and_the_newest_at_the_bottom(board: Any, app: QApplication) -> None:
    for number in range(5):
        board.notices.tell(Notice(str(number), "detail", "error"))
    settle(app)
    assert titles(board) == ["2", "3", "4"]
    tops = [toast.y() for toast in board.toasts.shown]
    assert tops == sorted(tops)
    last = board.toasts.shown[-1]
    assert (last.x() + last.width(), last.y() + last.height()) == (900 - 100 - 16, 600 - 16)
    board.area.resize(700, 500)
    settle(app)
    assert last.geometry().bottom() + 1 == 500 - 16
    assert [notice.title for notice in board.notices.all] == list("01234")


@pytest.mark.parametrize(("kind", "seconds"), [("done", 5), ("info", 8), ("error", None)])
def test_each_kind_stays_for_its_time(board: Any, kind: Any, seconds: int | None) -> None:
    board.notices.tell(Notice("Title", kind=kind))
    [toast] = board.toasts.shown
    left = clock(toast)
    if seconds is None:
        assert left is None
    else:
        assert left is not None
        assert toast._timer.interval() == seconds * 1000
        toast._timer.timeout.emit()
        assert board.toasts.shown == []


def test_the_pointer_stops_the_clock_and_esc_and_the_cross_close(board: Any, app: QApplication) -> None:
    for kind in ("done", "info"):
        board.notices.tell(Notice(kind, kind=kind))
    done, info = board.toasts.shown
    point = QPointF(10, 10)
    QApplication.sendEvent(done, QEnterEvent(point, point, point))
    assert clock(done) is None
    assert clock(info) is not None
    QApplication.sendEvent(done, QEvent(QEvent.Type.Leave))
    assert clock(done) is not None
    cross = next(w for w in shown(done) if isinstance(w, QPushButton) and w.toolTip() == "Close")
    QTest.mouseClick(cross, Qt.MouseButton.LeftButton)
    assert titles(board) == ["info"]
    assert board.toasts.close_newest()
    assert not board.toasts.close_newest()
    settle(app)


def test_its_one_action_is_done_and_ends_it(board: Any) -> None:
    acted: list[str] = []
    board.notices.tell(Notice("4 images saved", "x", "done", "Show", lambda: acted.append("show")))
    [toast] = board.toasts.shown
    texts = [w.text() for w in shown(toast) if isinstance(w, QPushButton)]
    assert texts == ["Show", ""]
    button = next(w for w in shown(toast) if isinstance(w, QPushButton) and w.text() == "Show")
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    assert acted == ["show"]
    assert board.toasts.shown == []


def test_markup_and_long_texts_are_shown_as_one_line_each(board: Any, app: QApplication) -> None:
    board.notices.tell(Notice("<b>bold</b> " * 40, "line one\nline two " * 40, "error"))
    settle(app)
    [toast] = board.toasts.shown
    assert toast.width() == 400
    assert toast.height() < 80
    assert toast.title.textFormat() is Qt.TextFormat.PlainText
    assert toast.title.toolTip().startswith("<b>bold") or "&lt;b&gt;" in toast.title.toolTip()


def test_an_error_keeps_what_is_behind_it(board: Any) -> None:
    board.notices.problem(Problem("The volume is full.", "Free some room.", "no_room", {"free": "0 B"}))
    [notice] = board.notices.all
    assert (notice.title, notice.text, notice.kind) == ("The volume is full.", "Free some room.", "error")
    assert "free: 0 B" in notice.details


def test_of_very_many_the_newest_are_kept(board: Any) -> None:
    for number in range(250):
        board.notices.tell(Notice(str(number)))
    assert [board.notices.all[0].title, board.notices.all[-1].title] == ["50", "249"]
    assert len(board.notices.all) == 200


@on_loop
async def test_past_notices_are_listed_newest_first_and_copied(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        panel.window.topbar.open_notices()
        assert "Nothing yet." in _labels()
        QApplication.activePopupWidget().close()
        for number in range(20):
            panel.notices.tell(Notice(f"Notice {number}", "", "info", details=f"behind {number}"))
        assert panel.notices.unseen == 20
        panel.window.topbar.open_notices()
        assert panel.notices.unseen == 0
        said = [text for text in _labels() if text.startswith("Notice ")]
        assert said[:3] == ["Notice 19", "Notice 18", "Notice 17"]
        copy = next(w for w in shown(QApplication.activePopupWidget()) if isinstance(w, QPushButton))
        QTest.mouseClick(copy, Qt.MouseButton.LeftButton)
        assert QApplication.clipboard().text() == "behind 19"


def _labels() -> list[str]:
    return [w.text() for w in shown(QApplication.activePopupWidget()) if isinstance(w, QLabel)]


@on_loop
async def test_toasts_keep_left_of_an_open_inspector(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        window = panel.window
        panel.notices.tell(Notice("Here"))
        [toast] = window.toasts.shown
        assert toast.geometry().right() + 1 == 1440 - 360 - 16
        window.queue.close_inspector()
        await settled()
        assert toast.geometry().right() + 1 == 1440 - 16
        window.show_page("settings")
        await settled()
        assert toast.geometry().right() + 1 == 1440 - 16
