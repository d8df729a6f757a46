"""What a person does at the keyboard of a window, and what that brings about."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from app.panel import Panel
from tests.gui.harness import settled
from tests.gui.scenes import FLUX

Key, Mod = Qt.Key, Qt.KeyboardModifier


def press(key: Qt.Key, modifier: Qt.KeyboardModifier = Mod.NoModifier, times: int = 1) -> None:
    """Press a key where the focus is, as a person does."""
    for _ in range(times):
        target = QApplication.activePopupWidget() or QApplication.focusWidget()
        assert target is not None
        QTest.keyClick(target, key, modifier)


def focused() -> QWidget:
    found = QApplication.focusWidget()
    assert found is not None
    return found


def chosen(panel: Panel) -> list[str]:
    return [panel.model.jobs[job_id].job.name for job_id in panel.window.queue.list.selected_ids()]


async def at_list(panel: Panel, job_id: str = FLUX.job.id) -> None:
    panel.window.queue.list.select(job_id)
    panel.window.queue.list.setFocus(Qt.FocusReason.TabFocusReason)
    await settled()
