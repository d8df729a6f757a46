"""Results at full size: fit and 1:1, zoom and pan, stepping, closing, and files that are gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QPixmap, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton

from app.jobs.model import OutputFile
from app.jobs.states import State
from app.panel import Panel
from app.ui.queue.viewer import Viewer
from app.ui.theme import Theme
from tests.gui.checks import faults, shown
from tests.gui.harness import colour_at, on_loop, picture, settled, until
from tests.gui.scenes import FLUX, SMALL, made, opened, scene

RED, BLUE = "#CC3333", "#3366CC"


@asynccontextmanager
async def looking(theme: Theme, folder: Path, *sizes: tuple[int, int]) -> AsyncIterator[Viewer]:
    """A viewer open on pictures of these sizes, red and blue in turns."""
    paths = [
        picture(folder / f"{n}.png", (RED, BLUE)[n % 2], each) for n, each in enumerate(sizes or [(400, 300)])
    ]
    async with showing(theme, folder, paths) as panel:
        await until(lambda: words(panel.window.viewer) & {f"1 of {len(paths)} · {w} × {h}" for w, h in sizes})
        yield panel.window.viewer


@asynccontextmanager
async def showing(theme: Theme, folder: Path, paths: list[Path]) -> AsyncIterator[Panel]:
    outputs = tuple(OutputFile(path.name, str(path)) for path in paths)
    job = made(1, "Pictures", State.DONE, ago=10, outputs=outputs)
    async with opened(theme, folder, [job], SMALL) as panel:
        panel.window.queue.list.select(job.job.id)
        panel.window.queue.open_viewer(0)
        yield panel


def words(viewer: Viewer) -> set[str]:
    return {w.text() for w in shown(viewer) if isinstance(w, QLabel | QPushButton) and w.text()}


def extent(viewer: Viewer, colour: str) -> tuple[int, int]:
    """Width and height of the picture as it is drawn, through the viewer's middle."""
    image = viewer.grab().toImage()
    x, y = viewer.width() // 2, 56 + (viewer.height() - 56) // 2
    across = sum(image.pixelColor(n, y).name().upper() == colour for n in range(viewer.width()))
    down = sum(image.pixelColor(x, n).name().upper() == colour for n in range(56, viewer.height()))
    return across, down


def near(found: tuple[int, int], wanted: tuple[int, int]) -> bool:
    return all(abs(a - b) <= 2 for a, b in zip(found, wanted, strict=True))


@on_loop
async def test_a_large_picture_is_fitted_and_shown_pixel_for_pixel(theme: Theme, tmp_path: Path) -> None:
    async with looking(theme, tmp_path, (3000, 1000)) as viewer:
        assert viewer.size() == viewer.parentWidget().size()
        assert near(extent(viewer, RED), (1024 - 48, (1024 - 48) // 3))
        QTest.keyClick(viewer, Qt.Key.Key_1)
        assert extent(viewer, RED) == (1024, 640 - 56)
        QTest.keyClick(viewer, Qt.Key.Key_F)
        assert near(extent(viewer, RED), (976, 325))
        QTest.mouseDClick(viewer, Qt.MouseButton.LeftButton, pos=QPoint(500, 300))
        assert extent(viewer, RED) == (1024, 584)


@on_loop
async def test_a_small_picture_is_at_most_doubled(theme: Theme, tmp_path: Path) -> None:
    async with looking(theme, tmp_path, (100, 80)) as viewer:
        assert near(extent(viewer, RED), (200, 160))
        QTest.keyClick(viewer, Qt.Key.Key_1)
        assert near(extent(viewer, RED), (100, 80))


@on_loop
async def test_keys_and_wheel_zoom_and_the_pointer_moves(theme: Theme, tmp_path: Path) -> None:
    async with looking(theme, tmp_path, (100, 80)) as viewer:
        QTest.keyClick(viewer, Qt.Key.Key_1)
        QTest.keyClick(viewer, Qt.Key.Key_Plus)
        assert near(extent(viewer, RED), (125, 100))
        QTest.keyClick(viewer, Qt.Key.Key_Minus)
        assert near(extent(viewer, RED), (100, 80))
        _wheel(viewer, 1200)
        large = extent(viewer, RED)
        assert large[0] > 500
        for _ in range(40):
            _wheel(viewer, -1200)
        assert near(extent(viewer, RED), (2, 2))
        QTest.keyClick(viewer, Qt.Key.Key_1)
        middle = QPoint(viewer.width() // 2, 56 + (viewer.height() - 56) // 2)
        QTest.mousePress(viewer, Qt.MouseButton.LeftButton, pos=middle)
        QTest.mouseMove(viewer, middle + QPoint(200, 0))
        QTest.mouseRelease(viewer, Qt.MouseButton.LeftButton, pos=middle + QPoint(200, 0))
        assert colour_at(viewer, middle.x(), middle.y()) == theme.colours.bg0
        assert colour_at(viewer, middle.x() + 200, middle.y()) == RED


def _wheel(viewer: Viewer, angle: int) -> None:
    where = QPointF(400, 300)
    event = QWheelEvent(
        where, viewer.mapToGlobal(where), QPoint(), QPoint(0, angle), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(viewer, event)


@on_loop
async def test_arrows_step_through_all_results_and_begin_anew(theme: Theme, tmp_path: Path) -> None:
    async with looking(theme, tmp_path, (300, 200), (310, 200), (320, 200)) as viewer:
        for key, said in (
            (Qt.Key.Key_Right, "2 of 3 · 310 × 200"), (Qt.Key.Key_Down, "3 of 3 · 320 × 200"),
            (Qt.Key.Key_Right, "1 of 3 · 300 × 200"), (Qt.Key.Key_Left, "3 of 3 · 320 × 200"),
        ):  # fmt: skip
            QTest.keyClick(viewer, key)
            await until(lambda said=said: said in words(viewer))
        assert "2.png" in words(viewer)


@on_loop
async def test_esc_space_and_the_cross_close_and_the_list_has_the_focus_again(
    theme: Theme, tmp_path: Path
) -> None:
    async with looking(theme, tmp_path, (300, 200)) as viewer:
        queue = viewer.window().queue
        cross = next(w for w in shown(viewer) if isinstance(w, QPushButton) and w.toolTip() == "Close (Esc)")
        for close in (
            lambda: QTest.keyClick(viewer, Qt.Key.Key_Escape),
            lambda: QTest.keyClick(viewer, Qt.Key.Key_Space),
            lambda: QTest.mouseClick(cross, Qt.MouseButton.LeftButton),
        ):
            queue.open_viewer(0)
            assert viewer.isVisible()
            close()
            assert not viewer.isVisible()
            assert QApplication.focusWidget() is queue.list


@on_loop
async def test_tab_stays_in_the_viewer(theme: Theme, tmp_path: Path) -> None:
    async with looking(theme, tmp_path, (300, 200)) as viewer:
        seen = set()
        for _ in range(12):
            QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
            focus = QApplication.focusWidget()
            assert focus is viewer or viewer.isAncestorOf(focus)
            seen.add(focus)
        assert len(seen) == 6
        for _ in range(12):
            QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Backtab, Qt.KeyboardModifier.ShiftModifier)
            assert viewer is QApplication.focusWidget() or viewer.isAncestorOf(QApplication.focusWidget())


@on_loop
async def test_the_picture_is_copied_and_its_folder_shown(theme: Theme, tmp_path: Path) -> None:
    async with looking(theme, tmp_path, (123, 45)) as viewer:
        QTest.keyClick(viewer, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
        copied: QPixmap = QApplication.clipboard().pixmap()
        assert (copied.width(), copied.height()) == (123, 45)
        wanted: list[str] = []
        viewer.reveal_wanted.disconnect()
        viewer.reveal_wanted.connect(wanted.append)
        reveal = next(
            w for w in shown(viewer) if isinstance(w, QPushButton) and w.toolTip() == "Show in folder"
        )
        QTest.mouseClick(reveal, Qt.MouseButton.LeftButton)
        assert wanted == [str(tmp_path / "0.png")]
        QApplication.clipboard().clear()


@on_loop
async def test_files_that_are_gone_or_damaged_are_said_and_can_be_passed(
    theme: Theme, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n and nothing of one")
    good = picture(tmp_path / "good.png", BLUE)
    async with showing(theme, tmp_path, [tmp_path / "gone.png", damaged, good]) as panel:
        viewer = panel.window.viewer
        for _ in range(2):
            await until(lambda: "This file cannot be shown." in words(viewer))
            assert colour_at(viewer, viewer.width() // 2, 348) == theme.colours.bg0
            QTest.keyClick(viewer, Qt.Key.Key_Right)
        await until(lambda: "3 of 3 · 96 × 64" in words(viewer))
        assert colour_at(viewer, viewer.width() // 2, 348) == BLUE
        assert faults(viewer) == []


@on_loop
async def test_the_live_preview_of_a_running_job_is_shown_large(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        panel.window.queue.open_viewer(0)
        viewer = panel.window.viewer
        assert {"Live preview", FLUX.job.name} <= words(viewer)
        panel.window.resize(1100, 700)
        await settled()
        assert viewer.size() == viewer.parentWidget().size()
        QTest.keyClick(viewer, Qt.Key.Key_Right)
        assert "Live preview" in words(viewer)
