"""The window over a ComfyUI that really runs: started, routed, crashed, stopped, all by clicks."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton

from app.comfyui.status import ComfyState
from app.jobs.model import FROM_COMFYUI, JobEvent
from app.jobs.states import State
from app.panel import Panel
from app.settings import Settings
from app.ui.comfyui.shown import Options
from app.ui.frame.routing import NO_NODE
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from tests.e2e.test_routing import installed
from tests.gui import scenes
from tests.gui.harness import on_loop, until
from tests.gui.scenes import Made, made
from worker.process import free_port


@asynccontextmanager
async def running(theme: Theme, home: Path, **values: str) -> AsyncIterator[Panel]:
    """A panel that runs, its ComfyUI page in sight."""
    known = installed("demo", home / "ComfyUI")
    lines = {
        "comfyui_dir": known["COMFYUI_DIR"], "comfyui_python": sys.executable,
        "runpod_endpoint_id": "comfy-flux-prod", **values,
    }  # fmt: skip
    with (home / "data" / "settings.yaml").open("a", encoding="utf-8") as file:
        file.writelines(f"{name}: {value}\n" for name, value in lines.items())
    panel = Panel(theme, Settings.load())
    # At the usual port another test's may answer, and would be offered.
    panel.comfy.usual_url = "http://127.0.0.1:9"
    going = asyncio.create_task(panel.run([]), name="panel-under-test")
    try:
        await until(lambda: panel.desk.is_runner)
        panel.window.show_page("comfyui")
        yield panel
    finally:
        panel.end()
        await going
        panel.window.deleteLater()


def click(button: QPushButton) -> None:
    assert button.isVisible()
    assert button.isEnabled()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def mode_on_disk(panel: Panel) -> str:
    told = json.loads((panel.settings.data_dir / "comfyui" / "bridge.json").read_text("utf-8"))
    return str(told["mode"])


@on_loop
async def test_started_routed_crashed_and_stopped(theme: Theme, home: Path) -> None:
    async with running(theme, home) as panel:
        page, switch = panel.window.comfyui, panel.window.topbar.routing
        local, runpod = switch.segments["local"], switch.segments["runpod"]
        await until(lambda: page.head.buttons["start"].isVisible())
        await until(lambda: "next start" in runpod.toolTip())
        assert not runpod.isEnabled()
        click(page.head.buttons["start"])
        await until(lambda: panel.comfy.status.state is ComfyState.RUNNING)
        assert page.head.buttons["browse"].isVisible()
        await until(runpod.isEnabled)
        assert page.side.node.pill.accessibleName() == "Active"
        await until(lambda: "To see the GUI go to" in page.log.pane.visible_text())
        # The switch: told to the node, kept for it on disk, and explained once.
        click(runpod)
        popup = await until(QApplication.activePopupWidget)
        undo = next(each for each in popup.findChildren(QPushButton) if each.text() == "Undo")
        assert mode_on_disk(panel) == "runpod"
        click(undo)
        await until(lambda: local.isChecked() and mode_on_disk(panel) == "local")
        click(runpod)
        await until(lambda: mode_on_disk(panel) == "runpod")
        assert QApplication.activePopupWidget() is None
        # Killed from outside.
        state = json.loads((panel.settings.data_dir / "comfyui" / "comfyui.json").read_text("utf-8"))
        psutil.Process(state["pid"]).kill()
        await until(page.crash.isVisible)
        assert page.crash.accessibleName().startswith("Out of memory. ComfyUI was ended by SIGKILL")
        assert [notice.title for notice in panel.notices.all] == ["ComfyUI stopped by itself"]
        assert runpod.isChecked(), "the switch keeps its position"
        assert not runpod.isEnabled()
        click(page.crash.copy)
        assert "SIGKILL" in QApplication.clipboard().text()
        click(page.crash.start)
        await until(lambda: panel.comfy.status.state is ComfyState.RUNNING)
        await until(runpod.isEnabled)
        assert not page.crash.isVisible()
        pid = json.loads((panel.settings.data_dir / "comfyui" / "comfyui.json").read_text("utf-8"))["pid"]
        click(page.head.buttons["stop"])
        await until(lambda: panel.comfy.status.state is ComfyState.STOPPED)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@on_loop
async def test_options_are_taken_over_one_by_one(theme: Theme, home: Path) -> None:
    async with running(theme, home) as panel:
        page = panel.window.comfyui
        models = home / "models"
        page.options_changed.emit(Options("--lowvram 'a b'", "A=1\nB = two", "99999", str(models)))
        await until(lambda: panel.settings.models_dir == models)
        await until(lambda: not [t for t in panel.scope._tasks if "options" in t.get_name()])
        settings = panel.settings
        assert settings.comfyui_args == ("--lowvram", "a b")
        assert dict(settings.comfyui_env) == {"A": "1", "B": "two"}
        assert settings.comfyui_port is None
        page.options_changed.emit(Options("", "", "8199", ""))
        await until(lambda: panel.settings.comfyui_port == 8199 and panel.settings.models_dir is None)


@on_loop
async def test_one_that_is_only_watched_says_how_to_route_it(theme: Theme, home: Path) -> None:
    async with running(theme, home, comfyui_url="http://127.0.0.1:9") as panel:
        segment = panel.window.topbar.routing.segments["runpod"]
        await until(lambda: "Restart it with routing" in segment.toolTip())
        assert segment.toolTip() != NO_NODE
        assert panel.window.comfyui.side.node.pill.accessibleName() == "Watched only"


@on_loop
async def test_what_comfyui_s_button_made_is_opened_when_that_is_wanted(theme: Theme, home: Path) -> None:
    made_it = made(1, "lamp", State.DONE, target="comfy-flux-prod").job
    async with scenes.opened(theme, home / "scene", [Made(made_it)], open_results="panel") as panel:
        viewer = panel.window.viewer
        panel._job_ended(JobEvent(made_it))
        assert not viewer.isVisible(), "a dropped workflow's result waits to be looked at"
        panel._job_ended(JobEvent(replace(made_it, origin=FROM_COMFYUI)))
        assert viewer.isVisible()
        await until(lambda: not panel.scope._tasks)


@on_loop
async def test_one_that_somebody_else_started_is_restarted_with_routing(theme: Theme, home: Path) -> None:
    folder = Path(installed("demo", home / "Elsewhere")["COMFYUI_DIR"])
    port = free_port()
    theirs = subprocess.Popen([sys.executable, "main.py", "--port", str(port), "--cpu"], cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        async with running(theme, home, comfyui_url=url) as panel:
            page, switch = panel.window.comfyui, panel.window.topbar.routing
            await until(lambda: page.head.buttons["route"].isVisible())
            click(page.head.buttons["route"])
            (question,) = await until(lambda: panel.window.findChildren(Question))
            assert str(theirs.pid) in " ".join(label.text() for label in question.findChildren(QLabel))
            click(question.act_button)
            await until(switch.segments["runpod"].isEnabled, 60)
            assert theirs.wait(10) is not None
            settings = panel.settings
            assert (settings.comfyui_url, settings.comfyui_dir, settings.comfyui_port) == (None, folder, port)
            assert settings.comfyui_args == ("--cpu",)
            assert panel.comfy.status.url == url
            assert page.side.node.pill.accessibleName() == "Active"
            await until(lambda: not [t for t in panel.scope._tasks if t.get_name() == "panel-route"])
    finally:
        theirs.kill()
        theirs.wait()
