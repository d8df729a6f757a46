"""Everything fits: in windows of all sizes, with larger texts, long names, on scaled screens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QApplication, QWidget

from app.jobs.states import State
from app.ui.notices import Notice
from app.ui.queue.delegate import Columns
from app.ui.queue.page import QueuePage
from app.ui.theme import Theme
from app.ui.widgets.floating import Popover
from app.workflows.parameters import Expected
from tests.gui.checks import Box, faults, regions
from tests.gui.harness import on_loop, settled
from tests.gui.scenes import FEW, FULL, JOBS, SCENES, SMALL, made, opened, scene

_LONG = "A very long name of a workflow " * 4

_NAMES = {
    "long": _LONG[:120],
    "wide": "山の夜明けと青い湖、細部まで描かれた風景" * 6,
    "emoji": "🏔️🌅 Zwölf 👩🏽‍🎨 études " * 6,
}

#: In a small window what is cut is cut first; the usual size is looked at with the long runs, too.
_LOOKS = [*((name, SMALL) for name in FEW), ("queue_error", (1180, 720))]
_OTHERS = [(name, SMALL) for name in SCENES if name not in FEW] + [(name, FULL) for name in SCENES]
_OTHERS += [("queue_error", size) for size in ((1300, 800), (1600, 1000))]
_ALL = [pytest.param(*look, id=str(look)) for look in _LOOKS]
_ALL += [pytest.param(*look, id=str(look), marks=pytest.mark.long) for look in _OTHERS]


@pytest.mark.parametrize(("name", "size"), _ALL)
def test_nothing_is_cut_and_nothing_scrolls_sideways(
    theme: Theme, tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    @on_loop
    async def look() -> None:
        async with scene(name, theme, tmp_path, size) as panel:
            assert (panel.window.width(), panel.window.height()) == size
            for text_size in (100, 125):
                theme.use(text_size=text_size)
                await settled()
                for window in [each for each in QApplication.topLevelWidgets() if each.isVisible()]:
                    assert faults(window) == [], text_size

    look()


@on_loop
async def test_long_names_and_any_number_of_outputs_keep_the_layout(theme: Theme, tmp_path: Path) -> None:
    extreme = [made(n, name, State.DONE, ago=60 + n, files=2) for n, name in enumerate(_NAMES.values(), 1)]
    many = made(7, "Many", State.DONE, ago=70, files=1)
    for count, number in ((0, 8), (9_999, 9)):
        job = many.job
        outputs = job.outputs * count
        changed: dict[str, Any] = {"id": f"{number:032x}", "seq": number, "outputs": outputs}
        extreme.append(made(number, f"{count} outputs", State.DONE, ago=80, **changed))
    waits = made(10, _LONG, State.WAITING, waited=99_999, expected=Expected("image", 9_999, 99_999, 99_999))
    async with opened(theme, tmp_path, [*extreme, waits]) as panel:
        queue, window = panel.window.queue, panel.window
        usual = regions(window)
        for entry in list(panel.model.jobs.values()):
            queue.select(entry.job.id)
            await settled()
            assert faults(window) == [], entry.job.name
            assert {**regions(window), "inspector": None} == {**_with_inspector(usual), "inspector": None}
        for name in _NAMES.values():
            panel.notices.tell(Notice(name, name, "error"))
        window.topbar.open_notices()
        await settled()
        assert {toast.width() for toast in window.toasts.shown} == {400}
        for each in [each for each in QApplication.topLevelWidgets() if each.isVisible()]:
            assert faults(each) == []
        assert _gaps_are_empty(queue)


def _with_inspector(boxes: dict[str, Box]) -> dict[str, Box]:
    """The same regions with the inspector's 361 taken from their width."""
    narrower = {"page head", "drop zone", "list"}
    return {n: (x, y, w - (361 if n in narrower else 0), h) for n, (x, y, w, h) in boxes.items()}


def _gaps_are_empty(queue: QueuePage) -> bool:
    """Whether nothing is drawn between name, state and numbers of the rows in sight."""
    image = queue.list.viewport().grab().toImage()
    for row in range(1, queue.list.model().rowCount()):
        box = queue.list.visualRect(queue.list.model().index(row))
        if box.height() != 64 or box.bottom() > image.height():
            continue
        columns = Columns.of(box, 2)
        for gap in (columns.name.right() + 6, columns.state.right() + 6):
            if len({image.pixel(gap, y) for y in range(box.top() + 6, box.bottom() - 6)}) != 1:
                return False
    return True


@on_loop
async def test_no_part_is_a_window_of_its_own_for_a_moment(theme: Theme, tmp_path: Path) -> None:
    """A label shown before it has a place is a window: it flashes, and closes an open menu."""
    watch = _Windows()
    QApplication.instance().installEventFilter(watch)
    try:
        async with scene("overlays", theme, tmp_path) as panel:
            panel.notices.tell(Notice("No text"))
            panel.window.topbar.open_notices()
            panel.window.queue.select(JOBS[7].job.id)
            await settled()
    finally:
        QApplication.instance().removeEventFilter(watch)
    assert watch.seen <= {"Window", "Popover"}


class _Windows(QObject):
    seen: set[str]

    def __init__(self) -> None:
        super().__init__()
        self.seen = set()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
            self.seen.add(type(watched).__name__)
        return False


@on_loop
async def test_a_toast_leaves_an_open_menu_alone(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        panel.window.topbar.open_targets()
        panel.notices.tell(Notice("4 images saved", "Night city", "done"))
        await settled()
        assert isinstance(QApplication.activePopupWidget(), Popover)


@pytest.mark.parametrize(
    "ratio", [pytest.param(ratio, marks=pytest.mark.long) for ratio in ("1.25", "1.5", "2")]
)
def test_on_scaled_screens_everything_fits_and_pictures_are_sharp(tmp_path: Path, ratio: str) -> None:
    env = os.environ | {"QT_SCALE_FACTOR": ratio}
    done = subprocess.run(
        [sys.executable, "-m", "tests.gui.scaled", str(tmp_path)],
        env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ratio"] == float(ratio)
    assert found["faults"] == []
    assert found["blurred"] == []
    assert found["pixmaps"] > 20
