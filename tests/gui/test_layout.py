"""Where everything stands, by the design: regions, columns, narrow and wide windows."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFrame, QWidget

from app.panel import Panel
from app.ui.frame.window import Window
from app.ui.queue.delegate import Columns
from app.ui.queue.page import QueuePage
from app.ui.theme import Theme
from app.ui.widgets.basics import Button
from tests.gui.checks import faults, near, regions, shown
from tests.gui.harness import box_in, on_loop, settled
from tests.gui.scenes import FULL, JOBS, SMALL, opened, scene


@on_loop
async def test_the_regions_stand_where_the_design_has_them(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        wanted = {
            "rail": (0, 0, 192, 900), "top bar": (192, 0, 1248, 56), "page head": (192, 56, 887, 64),
            "drop zone": (216, 120, 839, 48), "list": (192, 176, 887, 724), "inspector": (1080, 56, 360, 844),
        }  # fmt: skip
        found = regions(panel.window)
        assert all(near(found[name], wanted[name]) for name in wanted), found
        assert _title_centre(panel.window.queue.inspector) == pytest.approx(56 + 32, abs=2)
        assert _title_centre(panel.window.queue.head) == pytest.approx(56 + 32, abs=2)


@on_loop
async def test_in_the_smallest_window_the_rail_is_folded_and_the_inspector_lies_over_the_list(
    theme: Theme, tmp_path: Path
) -> None:
    async with scene("queue_min", theme, tmp_path) as panel:
        wanted = {
            "rail": (0, 0, 56, 640), "top bar": (56, 0, 968, 56), "page head": (56, 56, 968, 64),
            "drop zone": (80, 120, 920, 48), "list": (56, 176, 968, 464),
        }  # fmt: skip
        found = regions(panel.window)
        assert all(near(found[name], wanted[name]) for name in wanted), found
        assert "inspector" not in found
        panel.window.queue.open_inspector()
        await settled()
        found = regions(panel.window)
        assert near(found["inspector"], (664, 56, 360, 584))
        assert near(found["list"], wanted["list"])


def _title_centre(part: QWidget) -> float:
    [title] = [label for label in shown(part) if getattr(label, "_kind", "") in ("title", "section")][:1]
    return title.mapTo(title.window(), QPoint(0, 0)).y() + title.height() / 2


@on_loop
async def test_controls_and_rows_have_their_heights(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        bar, head, jobs = panel.window.topbar, panel.window.queue.head, panel.window.queue.list
        controls = (bar.target, bar.comfy, bar.endpoint, bar.bell, head.filters, head.search, head.more)
        assert {control.height() for control in controls} == {32}
        assert {box_in(panel.window, control)[1] for control in controls[:4]} <= {11, 12}
        assert bar.target.x() == 16
        assert box_in(panel.window, bar.bell)[0] + bar.bell.width() == 1440 - 16
        items = [each for each in shown(panel.window.rail) if isinstance(each, Button)]
        assert {item.height() for item in items} == {36}
        heights = [jobs.visualRect(panel.model.index(row)).height() for row in range(4)]
        assert heights == [36, 64, 64, 36]


@pytest.mark.parametrize("width", [1248, 968, 860, 859, 720, 719, 640, 639, 627, 600])
@pytest.mark.parametrize("tiles", [2, 4])
def test_the_columns_of_a_row_are_measured_from_the_right(width: int, tiles: int) -> None:
    columns = Columns.of(QRect(0, 0, width, 64), tiles)
    assert columns.menu.right() + 1 - 4 == width - 24
    assert columns.act.left() >= width - 24 - 56
    assert (columns.cost.width(), columns.cost.right() + 1) == (60, width - 24 - 56)
    assert columns.ran.width() == (68 if width >= 640 else 0)
    assert columns.waited.width() == (52 if width >= 720 else 0)
    numbers = (columns.waited, columns.ran, columns.cost)
    left = next(box for box in numbers if not box.isEmpty()).left()
    assert columns.state.right() + 1 == left - 12
    assert columns.name.right() + 1 == columns.state.left() - 12
    assert columns.strip.left() == 24
    assert columns.strip.width() == (88 if tiles == 2 else 184)
    assert columns.name.left() == columns.strip.right() + 1 + 16
    if tiles == 2:
        assert columns.name.width() >= 160
        assert columns.state.width() == (216 if width >= 860 else 192) or columns.name.width() == 160


@pytest.mark.parametrize("size", [pytest.param(FULL, marks=pytest.mark.long), SMALL], ids=str)
def test_a_page_has_one_right_edge(theme: Theme, tmp_path: Path, size: tuple[int, int]) -> None:
    def right(window: Window, part: QWidget) -> int:
        return box_in(window, part)[0] + part.width()

    @on_loop
    async def look() -> None:
        async with scene("queue_running", theme, tmp_path / "queue", size) as panel:
            queue, window = panel.window.queue, panel.window
            row = queue.list.visualRect(panel.model.index(1))
            columns = Columns.of(row, 2).menu.right() + 1 - 4
            edges = {right(window, queue.head.more), right(window, queue.zone)}
            assert edges == {box_in(window, queue.list)[0] + columns}
        async with scene("settings", theme, tmp_path / "settings", size) as panel:
            page = panel.window.settings
            cards = [
                each for each in shown(page) if isinstance(each, QFrame) and each.property("kind") == "card"
            ]
            assert len({right(panel.window, card) for card in cards}) == 1
        async with scene("queue_empty", theme, tmp_path / "empty", size) as panel:
            queue = panel.window.queue
            cards = [each for each in shown(queue) if each.property("kind") == "card"]
            last = max(right(panel.window, card) for card in cards)
            assert last == right(panel.window, queue.empty_zone) == size[0] - 24

    look()


@on_loop
async def test_the_window_opens_at_its_usual_size_and_comes_back_as_it_was(
    theme: Theme, tmp_path: Path
) -> None:
    if QGuiApplication.primaryScreen().availableGeometry().width() < 1440:
        pytest.skip("the screen is too small for the window")
    async with opened(theme, tmp_path, JOBS, size=(100, 100)) as panel:
        assert (panel.window.width(), panel.window.height()) == (1024, 640)
    (tmp_path / "data" / "window.ini").unlink()
    (tmp_path / "data" / "jobs.sqlite").unlink()
    async with opened(theme, tmp_path, JOBS, size=None) as panel:
        assert (panel.window.width(), panel.window.height()) == FULL
        panel.window.resize(1300, 820)
        await _inspect(panel)
        _drag_splitter(panel.window.queue, 30)
        await settled()
        kept = panel.window.queue.inspector.width()
        assert 325 <= kept <= 335
    (tmp_path / "data" / "jobs.sqlite").unlink()
    async with opened(theme, tmp_path, JOBS, size=None) as panel:
        assert (panel.window.width(), panel.window.height()) == (1300, 820)
        await _inspect(panel)
        assert panel.window.queue.inspector.width() == kept


def _drag_splitter(queue: QueuePage, by: int) -> None:
    handle, left = queue.splitter.handle(1), Qt.MouseButton.LeftButton
    QTest.mousePress(handle, left, pos=QPoint(0, 100))
    QTest.mouseMove(handle, QPoint(by, 100))
    QTest.mouseRelease(handle, left, pos=QPoint(by, 100))


async def _inspect(panel: Panel) -> None:
    panel.window.queue.select(JOBS[0].job.id)
    await settled()


@on_loop
async def test_the_inspector_is_no_narrower_and_no_wider_than_it_may_be(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_error", theme, tmp_path) as panel:
        queue: QueuePage = panel.window.queue
        for wanted, width in ((100, 320), (1000, 520)):
            queue.splitter.setSizes([1247 - wanted, wanted])
            await settled()
            assert queue.inspector.width() == width
            assert faults(queue) == []


@on_loop
async def test_narrow_wide_and_low_windows_change_what_the_design_says(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        window, queue = panel.window, panel.window.queue
        for width, rail, tiles, over in ((1179, 56, 2, True), (1180, 192, 2, False), (1600, 192, 4, False)):
            window.resize(width, 900)
            await settled()
            assert (window.rail.width(), queue.delegate.tiles) == (rail, tiles)
            assert (queue.inspector.parentWidget() is queue) is over
            assert queue.head.search_button.isVisible() is over
        assert _preview_height(queue) == 256
        window.resize(1440, 719)
        await settled()
        assert _preview_height(queue) == 200
        window.show_welcome()
        await settled()
        assert not window.welcome.demo._points.isVisible()
        window.resize(1440, 720)
        await settled()
        assert window.welcome.demo._points.isVisible()


def _preview_height(queue: QueuePage) -> int:
    [preview] = [each for each in shown(queue.inspector) if type(each).__name__ == "Preview"]
    return preview.height()
