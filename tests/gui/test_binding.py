"""The Qt binding itself: it must load with the system's libraries, and not lose references."""

from __future__ import annotations

import sys

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot


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
