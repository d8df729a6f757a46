"""The tray: an icon and the desktop's notifications, each only when it is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QSystemTrayIcon

from app.ui.notices import Notice
from app.ui.theme import Theme
from tests.gui.harness import on_loop, settled
from tests.gui.scenes import opened


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A desktop with a tray; what it was asked to tell."""
    texts: list[str] = []
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", staticmethod(lambda: True))
    monkeypatch.setattr(QSystemTrayIcon, "showMessage", lambda _self, title, *_: texts.append(title))
    return texts


@on_loop
async def test_without_the_users_wish_there_is_no_icon_and_nothing_is_told(
    theme: Theme, tmp_path: Path, told: list[str]
) -> None:
    async with opened(theme, tmp_path) as panel:
        panel.window.hide()
        panel.notices.tell(Notice("4 images saved"))
        assert not panel.tray.icon.isVisible()
    assert told == []


@on_loop
async def test_what_happens_while_nobody_looks_is_told_by_the_desktop(
    theme: Theme, tmp_path: Path, told: list[str]
) -> None:
    async with opened(theme, tmp_path, system_notices=True) as panel:
        assert panel.tray.icon.isVisible()
        panel.window.activateWindow()
        await settled()
        panel.notices.tell(Notice("seen in the window"))
        panel.window.hide()
        await settled()
        shown: list[str] = []
        panel.notices.tell(
            Notice("2 jobs finished", "All went well.", "done", "Show", lambda: shown.append("x"))
        )
        panel.tray.icon.messageClicked.emit()
        assert (panel.window.isVisible(), shown) == (True, ["x"])
        panel._counts = (9, 9)
        panel._show_counts(2, 1)
        assert panel.tray.icon.toolTip() == "Comfy RunPod: 2 running, 1 waiting"
    assert told == ["2 jobs finished"]


@on_loop
async def test_the_icon_alone_tells_nothing(theme: Theme, tmp_path: Path, told: list[str]) -> None:
    async with opened(theme, tmp_path, tray=True) as panel:
        panel.window.hide()
        panel.notices.tell(Notice("4 images saved"))
        assert panel.tray.icon.isVisible()
        panel.tray.use(icon=False, tells=False)
        assert not panel.tray.icon.isVisible()
    assert told == []
