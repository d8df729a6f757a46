"""Getting about by the keyboard: the order of Tab, regions, moving in the list, the focus ring."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractItemView, QWidget

from app.ui.frame.focus import FocusRing
from app.ui.queue.delegate import Columns
from app.ui.theme import Theme
from tests.gui.checks import shown
from tests.gui.hands import Key, Mod, at_list, chosen, focused, press
from tests.gui.harness import colour_at, on_loop
from tests.gui.scenes import FINISHED, FLUX, ROOM, WAITING, scene

#: The list from top to bottom.
ORDER = [FLUX, ROOM, WAITING[3], *WAITING[:3], *FINISHED]


def names(jobs: Iterable[Any]) -> list[str]:
    return [each.job.name for each in jobs]


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
async def test_the_ring_is_drawn_after_tab_and_not_after_a_click(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        window, head = panel.window, panel.window.queue.head
        ring = window.findChild(FocusRing)
        assert ring is not None
        QTest.mouseClick(head.filters._buttons["all"], Qt.MouseButton.LeftButton)
        head.search.setFocus(Qt.FocusReason.MouseFocusReason)
        assert not ring.isVisible()
        press(Key.Key_Tab)
        assert focused() is head.recent
        assert ring.isVisible()
        box = ring.geometry().adjusted(5, 5, -5, -5)
        assert box.topLeft() == head.recent.mapTo(window, QPoint(0, 0))
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
