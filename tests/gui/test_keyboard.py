"""Everything by the keyboard: the order of Tab, regions, the list, shortcuts, Esc, the focus ring."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractItemView, QApplication, QWidget

from app.panel import Panel
from app.ui.frame.focus import FocusRing
from app.ui.frame.keys import KeySheet
from app.ui.queue.delegate import Columns
from app.ui.theme import Theme
from app.ui.widgets.floating import Popover
from tests.gui.checks import shown
from tests.gui.harness import colour_at, on_loop, settled, until
from tests.gui.scenes import FAILED, FINISHED, FLUX, JOBS, ROOM, WAITING, opened, scene

Key, Mod = Qt.Key, Qt.KeyboardModifier
#: The list from top to bottom.
ORDER = [FLUX, ROOM, WAITING[3], *WAITING[:3], *FINISHED]


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


def names(jobs: Iterable[Any]) -> list[str]:
    return [each.job.name for each in jobs]


async def at_list(panel: Panel, job_id: str = FLUX.job.id) -> None:
    panel.window.queue.list.select(job_id)
    panel.window.queue.list.setFocus(Qt.FocusReason.TabFocusReason)
    await settled()


def _stops(window: QWidget) -> list[QWidget]:
    """Where Tab goes from the first control on, once round."""
    window.topbar.target.setFocus(Qt.FocusReason.TabFocusReason)
    found: list[QWidget] = []
    while focused() not in found:
        found.append(focused())
        press(Key.Key_Tab)
    return found


@pytest.mark.parametrize("name", ["queue_running", "queue_error", "queue_empty", "queue_min"])
def test_tab_reaches_every_control_in_the_order_of_the_regions(
    theme: Theme, tmp_path: Path, name: str
) -> None:
    @on_loop
    async def look() -> None:
        async with scene(name, theme, tmp_path) as panel:
            window, queue = panel.window, panel.window.queue
            stops = _stops(window)
            able = [w for w in shown(window) if w.focusPolicy() & Qt.FocusPolicy.TabFocus and w.isEnabled()]
            # Of a choice of few one is a stop; the arrow keys choose.
            single = [w for w in able if not (_group(w) and not w.isChecked())]
            assert {id(w) for w in single} == {id(w) for w in stops}
            regions = [window.topbar, queue.head, queue.list, queue.inspector]
            seen = [n for w in stops for n, part in enumerate(regions) if part is w or part.isAncestorOf(w)]
            assert seen == sorted(seen)
            assert stops.count(queue.list) == (0 if name == "queue_empty" else 1)

    look()


def _group(widget: QWidget) -> bool:
    group = getattr(widget, "group", lambda: None)()
    return group is not None and group.exclusive()


@on_loop
async def test_f6_goes_from_region_to_region(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        window, queue = panel.window, panel.window.queue
        regions = [window.rail, window.topbar, queue.left, queue.inspector]
        window.rail.findChildren(QWidget)[0].setFocus()
        window.topbar.target.setFocus()
        for number in (2, 3, 0, 1, 2):
            press(Key.Key_F6)
            assert regions[number].isAncestorOf(focused())
        assert focused() is queue.list
        for number in (1, 0, 3):
            press(Key.Key_F6, Mod.ShiftModifier)
            assert regions[number].isAncestorOf(focused())


@on_loop
async def test_arrows_and_the_like_move_in_the_list_and_pass_over_heads(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_min", theme, tmp_path) as panel:
        await at_list(panel)
        page = panel.window.queue.list.viewport().height() // 64 - 1
        order = names(ORDER)
        place = 0
        for key, to in (
            (Key.Key_Down, 1), (Key.Key_Down, 2), (Key.Key_Up, 1), (Key.Key_End, len(order) - 1),
            (Key.Key_Down, len(order) - 1), (Key.Key_Home, 0), (Key.Key_Up, 0),
        ):  # fmt: skip
            press(key)
            place = to
            assert chosen(panel) == [order[place]], key
        press(Key.Key_PageDown)
        moved = order.index(chosen(panel)[0])
        assert page - 2 <= moved <= page
        press(Key.Key_PageUp)
        assert chosen(panel) == [order[0]]
        for _ in order:
            press(Key.Key_Down)
            box = panel.window.queue.list.visualRect(panel.window.queue.list.currentIndex())
            assert panel.window.queue.list.viewport().rect().contains(box)


@on_loop
async def test_shift_extends_and_ctrl_a_takes_all(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_min", theme, tmp_path) as panel:
        await at_list(panel)
        press(Key.Key_Down, Mod.ShiftModifier, times=2)
        assert chosen(panel) == names(ORDER[:3])
        said = [w.text() for w in shown(panel.window.queue.head) if hasattr(w, "text")]
        assert "3 selected" in said
        press(Key.Key_Up, Mod.ShiftModifier)
        assert chosen(panel) == names(ORDER[:2])
        press(Key.Key_A, Mod.ControlModifier)
        assert chosen(panel) == names(ORDER)


@on_loop
async def test_enter_opens_the_details_and_space_the_picture(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_min", theme, tmp_path) as panel:
        queue = panel.window.queue
        await at_list(panel, FINISHED[0].job.id)
        assert not queue.inspector.isVisible()
        for key in (Key.Key_Return, Key.Key_Enter):
            press(key)
            assert queue.inspector.isVisible()
            press(Key.Key_Escape)
            assert not queue.inspector.isVisible()
        press(Key.Key_Space)
        assert panel.window.viewer.isVisible()
        press(Key.Key_Space)
        assert not panel.window.viewer.isVisible()
        assert focused() is queue.list


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
        window.topbar.open_targets()
        await at_list(panel, FINISHED[0].job.id)
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


@on_loop
async def test_the_ring_is_drawn_after_tab_and_not_after_a_click(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        window, head = panel.window, panel.window.queue.head
        ring = window.findChild(FocusRing)
        assert ring is not None
        QTest.mouseClick(head.filters._buttons["all"], Qt.MouseButton.LeftButton)
        head.search.setFocus(Qt.FocusReason.MouseFocusReason)
        assert not ring.isVisible()
        press(Key.Key_Tab)
        assert focused() is head.more
        assert ring.isVisible()
        box = ring.geometry().adjusted(5, 5, -5, -5)
        assert box.topLeft() == head.more.mapTo(window, QPoint(0, 0))
        assert box.size() == head.more.size()
        assert colour_at(window, ring.x() + 1, ring.geometry().center().y()) == theme.colours.ring
        QTest.mouseClick(head.filters._buttons["active"], Qt.MouseButton.LeftButton)
        head.search.setFocus(Qt.FocusReason.MouseFocusReason)
        assert not ring.isVisible()


@on_loop
async def test_the_list_draws_the_ring_inside_the_row(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        jobs: QAbstractItemView = panel.window.queue.list
        box = jobs.visualRect(panel.model.index(1))
        QTest.mouseClick(jobs.viewport(), Qt.MouseButton.LeftButton, pos=Columns.of(box, 2).name.center())
        assert colour_at(jobs, 13, box.center().y()) == theme.colours.sel
        panel.window.topbar.target.setFocus()
        await at_list(panel)
        press(Key.Key_Tab)
        press(Key.Key_Backtab, Mod.ShiftModifier)
        assert focused() is jobs
        assert colour_at(jobs, 13, box.center().y()) == theme.colours.ring
        assert not panel.window.findChild(FocusRing).isVisible()
