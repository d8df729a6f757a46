"""The Qt binding itself: it must load with the system's libraries, and not lose references."""

from __future__ import annotations

import sys

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from app.ui.queue.model import JobModel


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal from Python 3.12 on")
def test_calls_do_not_take_a_reference_from_none(qtbot: QtBot) -> None:
    """PySide6 6.12.0 on Python 3.11 takes one at each void call, and aborts after some thousand."""
    label = QLabel()
    qtbot.addWidget(label)
    before = sys.getrefcount(None)
    for number in range(200):
        label.setText(str(number))
    assert sys.getrefcount(None) > before - 100
    assert label.text() == "199"


def test_the_window_system_starts(qtbot: QtBot) -> None:
    label = QLabel("shown")
    qtbot.addWidget(label)
    label.show()
    qtbot.waitExposed(label)
    assert label.grab().toImage().size() == label.size()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="immortal from Python 3.12 on")
def test_fifty_thousand_calls_leave_the_references_as_they_were(qtbot: QtBot) -> None:
    """Calls without a value, calls that return None, signals with slots, timers, and our own painting."""
    model = JobModel()
    label, timer, told = QLabel(), QTimer(), []
    qtbot.addWidget(label)
    model.counted.connect(lambda *counts: told.append(counts))
    watched = (None, True, False)
    before = [sys.getrefcount(value) for value in watched]
    for number in range(10_000):
        label.setText(str(number))
        label.setEnabled(number % 2 == 0)
        timer.setInterval(number)
        label.layout()
        model.counted.emit(number, 0)
    after = [sys.getrefcount(value) for value in watched]
    assert len(told) == 10_000
    assert all(abs(now - then) < 1_000 for now, then in zip(after, before, strict=True)), (before, after)
