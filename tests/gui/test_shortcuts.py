"""What keys do in the list and everywhere, and what Esc closes in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.panel import Panel
from app.ui.frame.keys import KeySheet
from app.ui.theme import Theme
from app.ui.widgets.floating import Popover
from tests.gui.hands import Key, Mod, at_list, chosen, focused, press
from tests.gui.harness import on_loop, until
from tests.gui.scenes import FAILED, FINISHED, FLUX, JOBS, opened, scene


@on_loop
async def test_esc_closes_one_thing_at_a_time_in_its_order(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_min", theme, tmp_path) as panel:
        window, queue = panel.window, panel.window.queue
        queue.head.open_search()
        queue.head.search.setText("misty")
        await until(lambda: queue.list.model().rowCount() == 2)
        await at_list(panel, FINISHED[0].job.id)
        queue.open_inspector()
        queue.open_viewer(0)
        states = [(True, True, True, True), (False, True, True, True), (False, False, True, True)]
        states += [(False, False, False, True), (False, False, False, False)]
        for state in states:
            assert _open(panel) == state
            press(Key.Key_Escape)
        await at_list(panel, FINISHED[0].job.id)
        window.topbar.open_targets()
        await until(QApplication.activePopupWidget)
        press(Key.Key_Escape)
        assert QApplication.activePopupWidget() is None
        assert chosen(panel) == [FINISHED[0].job.name]


def _open(panel: Panel) -> tuple[bool, bool, bool, bool]:
    """Whether viewer, inspector, search and selection are there."""
    queue = panel.window.queue
    parts = (panel.window.viewer.isVisible(), queue.inspector.isVisible())
    return (*parts, bool(queue.head.search.text()), bool(queue.list.selected_ids()))


@on_loop
async def test_esc_elsewhere_leaves_the_list_alone(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        panel.window.show_page("settings")
        panel.window.settings.search.setText("motion")
        panel.window.settings.search.setFocus()
        press(Key.Key_Escape)
        assert panel.window.settings.search.text() == ""
        press(Key.Key_Escape)
        assert chosen(panel) == [FLUX.job.name]


@pytest.mark.parametrize(
    ("key", "modifier", "called"),
    [
        (Key.Key_Delete, Mod.NoModifier, "cancel_or_remove"),
        (Key.Key_R, Mod.NoModifier, "retry"),
        (Key.Key_R, Mod.ShiftModifier, "run_on_other"),
    ],
)
def test_letters_act_on_the_selected_jobs_while_the_list_has_the_focus(
    theme: Theme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: Any, modifier: Any, called: str
) -> None:
    @on_loop
    async def look() -> None:
        async with scene("queue_error", theme, tmp_path) as panel:
            calls: list[list[str]] = []
            monkeypatch.setattr(panel.actions, called, calls.append)
            search = panel.window.queue.head.search
            search.setFocus()
            press(key, modifier)
            assert calls == []
            assert search.text().lower() == ("r" if key == Key.Key_R else "")
            search.clear()
            await at_list(panel, FAILED.job.id)
            press(key, modifier)
            assert calls == [[FAILED.job.id]]

    look()


@on_loop
async def test_diagnostics_and_parameters_go_to_the_clipboard(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_error", theme, tmp_path) as panel:
        clipboard = QApplication.clipboard()
        await at_list(panel, FAILED.job.id)
        press(Key.Key_C, Mod.ControlModifier)
        await until(lambda: "Model not found" in clipboard.text())
        assert FAILED.job.id in clipboard.text()
        press(Key.Key_C, Mod.ControlModifier | Mod.ShiftModifier)
        assert "Seed: 482117336" in clipboard.text()


@on_loop
async def test_shortcuts_of_the_window(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        window, queue = panel.window, panel.window.queue
        await at_list(panel)
        press(Key.Key_Comma, Mod.ControlModifier)
        assert window.pages.currentWidget() is window.settings
        press(Key.Key_F, Mod.ControlModifier)
        assert focused() is window.settings.search
        press(Key.Key_1, Mod.ControlModifier)
        assert window.pages.currentWidget() is queue
        for key, modifier in ((Key.Key_F, Mod.ControlModifier), (Key.Key_Slash, Mod.NoModifier)):
            queue.list.setFocus()
            press(key, modifier)
            assert focused() is queue.head.search
            assert queue.head.search.text() == ""
        press(Key.Key_T, Mod.ControlModifier)
        assert isinstance(QApplication.activePopupWidget(), Popover)
        press(Key.Key_Escape)
        press(Key.Key_F1)
        assert isinstance(QApplication.activePopupWidget(), KeySheet)
        press(Key.Key_F1)
        assert QApplication.activePopupWidget() is None


@on_loop
async def test_opening_pasting_looking_and_quitting_are_asked_of_the_panel(
    theme: Theme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(theme, tmp_path, JOBS) as panel:
        window, calls = panel.window, []
        await at_list(panel)
        monkeypatch.setattr(window, "open_files", lambda: calls.append("open"))
        for signal, name in ((window.files_dropped, "paste"), (window.look_wanted, "look")):
            signal.disconnect()
            signal.connect(lambda *_, name=name: calls.append(name))
        window.close_wanted.disconnect()
        window.close_wanted.connect(lambda: calls.append("quit"))
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(tmp_path / "flow.json"))])
        QApplication.clipboard().setMimeData(data)
        press(Key.Key_O, Mod.ControlModifier)
        press(Key.Key_V, Mod.ControlModifier)
        press(Key.Key_F5)
        press(Key.Key_Q, Mod.ControlModifier)
        assert calls == ["open", "paste", "look", "quit"]
        QApplication.clipboard().clear()


@on_loop
async def test_arrows_choose_in_the_target_menu(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        picked: list[str] = []
        panel.window.topbar.target_chosen.disconnect()
        panel.window.topbar.target_chosen.connect(picked.append)
        await at_list(panel)
        press(Key.Key_T, Mod.ControlModifier)
        popover = QApplication.activePopupWidget()
        assert popover is not None
        QTest.keyClick(popover.focusWidget(), Key.Key_Up)
        QTest.keyClick(popover.focusWidget(), Key.Key_Return)
        assert picked == ["local"]
        assert QApplication.activePopupWidget() is None
