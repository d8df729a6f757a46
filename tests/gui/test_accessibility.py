"""What a screen reader is told: names, roles, rows as sentences, announcements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QWidget

from app import panel as panel_module
from app.jobs.model import JobEvent
from app.jobs.states import State
from app.ui import desktop
from app.ui.queue.viewer import Viewer
from app.ui.theme import Theme
from tests.gui.checks import shown
from tests.gui.harness import on_loop, settled
from tests.gui.scenes import FEW, FINISHED, FLUX, SCENES, WAITING, scene
from worker.contract import Progress


def name_of(widget: QWidget) -> str:
    """What a screen reader calls a widget."""
    interface = QAccessible.queryAccessibleInterface(widget)
    return interface.text(QAccessible.Text.Name).strip() if interface is not None else ""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FEW else pytest.mark.long) for name in SCENES]
)
def test_everything_that_takes_the_focus_has_a_name(theme: Theme, tmp_path: Path, name: str) -> None:
    @on_loop
    async def look() -> None:
        async with scene(name, theme, tmp_path) as panel:
            if name == "queue_running":
                panel.window.queue.list.select(FINISHED[0].job.id)
                panel.window.queue.open_viewer(0)
            windows = [each for each in QApplication.topLevelWidgets() if each.isVisible()]
            able = [w for each in windows for w in shown(each) if w.focusPolicy() & Qt.FocusPolicy.TabFocus]
            assert able
            assert [w for w in able if not name_of(w)] == []
            bare = [w for w in able if isinstance(w, QPushButton) and not w.text().strip()]
            icons = [w for w in bare if not w.icon().isNull()]
            assert [w for w in icons if not (w.accessibleName() and w.toolTip())] == []

    look()


@on_loop
async def test_tooltips_of_buttons_name_their_keys(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_min", theme, tmp_path) as panel:
        window = panel.window
        tips = {w.toolTip() for w in [*shown(window), *window.findChild(Viewer).findChildren(QPushButton)]}
        wanted = ("Queue (Ctrl+1)", "Settings (Ctrl+,)", "Search jobs (Ctrl+F)")
        target = "Where dropped workflows run (Ctrl+T)\n"
        target += "ComfyUI's own Queue button goes where its switch says."
        assert {*wanted, target, "Close (Esc)"} <= tips


@on_loop
async def test_the_list_is_a_list_and_its_rows_are_sentences(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        found = QAccessible.queryAccessibleInterface(panel.window.queue.list)
        assert found.role() in (QAccessible.Role.List, QAccessible.Role.Table)
        assert found.text(QAccessible.Text.Name) == "Jobs"
        assert found.childCount() == panel.model.rowCount()
        said = [found.child(row).text(QAccessible.Text.Name) for row in range(found.childCount())]
        assert said[0] == "Running, 2 jobs"
        assert said[1] == (
            "Flux portrait, studio light, running on RunPod, 60 percent, "
            "SamplerCustomAdvanced step 12 of 20, waited 4 seconds, ran 18 seconds"
        )
        assert said == [
            panel.model.index(row).data(Qt.ItemDataRole.AccessibleTextRole) for row in range(len(said))
        ]
        assert found.child(1).role() in (QAccessible.Role.ListItem, QAccessible.Role.Cell)


@on_loop
async def test_texts_drawn_by_hand_are_there_to_be_read(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        names = [each.accessibleName() for each in shown(panel.window.queue.inspector)]
        assert "Running" in names  # the pill
        assert "Live preview" in names
        assert any(
            name.startswith("Timeline: Queued") and "Running node 4 / 6, 18 s" in name for name in names
        )
        assert "Results, 1 of 4" in names


@on_loop
async def test_ends_are_announced_and_progress_is_not(
    theme: Theme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, bool]] = []

    def announce(_source: QWidget, text: str, *, urgent: bool) -> None:
        said.append((text, urgent))

    monkeypatch.setattr(panel_module, "announce", announce)
    async with scene("queue_running", theme, tmp_path) as panel:
        for step in range(13, 20):
            progress = Progress("6", "SamplerCustomAdvanced", step, 20, 3, 6)
            panel.feed.take(JobEvent(FLUX.job, progress))
            await settled(2)
        panel.feed.take(JobEvent(replace(WAITING[1].job, state=State.STARTING)))
        await settled(25)
        assert said == []
        done = replace(FLUX.job, state=State.DONE, outputs=FINISHED[2].job.outputs)
        panel.feed.take(JobEvent(done))
        await settled(25)
        panel.feed.take(JobEvent(replace(WAITING[1].job, state=State.FAILED, error={"summary": "No room."})))
        await settled(25)
        assert [urgent for _, urgent in said] == [False, True]
        assert said[0][0].startswith("Flux portrait, studio light, done on RunPod, Saved")
        assert said[1][0].startswith("Qwen-Image poster set, failed on RunPod, No room")


def test_done_is_said_politely_and_failed_at_once(app: QApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    class Accessible:
        AnnouncementPoliteness = QAccessible.AnnouncementPoliteness

        @staticmethod
        def updateAccessibility(event: Any) -> None:
            sent.append((event.message(), event.politeness()))

    monkeypatch.setattr(desktop, "QAccessible", Accessible)
    label = QLabel()
    desktop.announce(label, "done", urgent=False)
    desktop.announce(label, "failed", urgent=True)
    manner = QAccessible.AnnouncementPoliteness
    assert sent == [("done", manner.Polite), ("failed", manner.Assertive)]
