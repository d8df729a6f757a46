"""The real window with the real services behind it: drops, the genuine worker, the demo engine."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton

from app.jobs.model import Job
from app.jobs.states import State
from app.panel import Panel
from app.settings import Settings
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from tests.e2e.conftest import Cli, blur_chain, color_workflow, written
from tests.gui.harness import drag, drop, files, leave, on_loop, picture, until

EXAMPLES = Path(__file__).parents[2] / "resources" / "workflows"


@asynccontextmanager
async def opened(theme: Theme, *paths: Path) -> AsyncIterator[Panel]:
    """A panel whose window is open and whose jobs can be run; closed as a user's quit does it."""
    panel = Panel(theme, Settings.load())
    panel.window.resize(1440, 900)
    running = asyncio.create_task(panel.run(list(paths)), name="panel-under-test")
    try:
        await until(lambda: panel.desk.is_runner)
        yield panel
    finally:
        panel.end()
        await running
        panel.window.deleteLater()
        panel.pictures.deleteLater()


def jobs_of(panel: Panel) -> list[Job]:
    return sorted((entry.job for entry in panel.model.jobs.values()), key=lambda job: job.seq)


def titles(panel: Panel) -> list[str]:
    return [notice.title for notice in panel.notices.all]


@on_loop
async def test_a_dropped_workflow_becomes_a_picture_in_the_list(theme: Theme, home: Path) -> None:
    async with opened(theme) as panel:
        window = panel.window
        assert window.queue.empty_zone.isVisible()
        hint = "Pictures are samples. Set up ComfyUI to run real workflows."
        assert (window.queue.hint.isVisible(), window.queue.hint_text.text()) == (True, hint)
        drag(window, files(EXAMPLES / "hello.json"))
        assert window.queue.empty_zone._over.text() == "Release to run 1 workflow on Demo engine"
        drop(window, files(EXAMPLES / "hello.json"))
        done = await until(lambda: [job for job in jobs_of(panel) if job.state is State.DONE], 60)
        [output] = done[0].outputs
        assert Path(output.path).read_bytes().startswith(b"\x89PNG")
        await until(lambda: panel.pictures.thumbnail(output.path) is not None)
        assert window.queue.list.isVisible()
        assert window.queue.list.current_id() == done[0].id
        await until(lambda: window.queue.inspector.isVisible())
        assert window.queue.inspector.job_id == done[0].id


@on_loop
async def test_several_files_and_folders_run_in_the_order_of_their_names(theme: Theme, home: Path) -> None:
    folder = home / "flows"
    for name in ("10.json", "9.json"):
        written(folder / name, color_workflow(1, "a"))
    (folder / "notes.txt").write_text("no")
    other = written(home / "alone.json", color_workflow(2, "b"))
    broken = home / "broken.json"
    broken.write_text("{", encoding="utf-8")
    async with opened(theme) as panel:
        drop(panel.window, files(folder, other, broken, home / "gone.png"))
        await until(lambda: len(jobs_of(panel)) == 3)
        assert [job.name for job in jobs_of(panel)] == ["alone", "9", "10"]
        assert "broken.json is not a workflow" in titles(panel)
        assert "gone.png is not there" in titles(panel)


@on_loop
async def test_what_is_no_workflow_is_refused_with_a_sentence(theme: Theme, home: Path) -> None:
    bare = picture(home / "sunset.png")
    document = home / "notes.docx"
    document.write_text("hello")
    async with opened(theme) as panel:
        window, zone = panel.window, panel.window.queue.empty_zone
        drag(window, files(document))
        assert zone._over.text() == "notes.docx is not a workflow."
        leave(window)
        assert not zone._over.isVisible()
        drop(window, files(bare))
        await until(lambda: panel.notices.all)
        notice = panel.notices.all[-1]
        assert (notice.title, notice.text) == (
            "No workflow in sunset.png",
            "ComfyUI pictures carry one. This picture has none.",
        )
        link = QMimeData()
        link.setUrls([QUrl("https://example.org/flow.json")])
        drop(window, link)
        assert panel.notices.all[-1].text == "Links cannot be dropped. Save the file first."
        text = QMimeData()
        text.setText("some words")
        drop(window, text)
        assert panel.notices.all[-1].text == "Only files can be dropped here."
        assert not jobs_of(panel)


@on_loop
async def test_a_running_job_is_cancelled_after_a_question(theme: Theme, home: Path) -> None:
    slow = written(home / "slow.json", blur_chain(200, 1000))
    async with opened(theme) as panel:
        drop(panel.window, files(slow))
        await until(lambda: any(job.state is State.RUNNING for job in jobs_of(panel)), 60)
        panel.actions.cancel([jobs_of(panel)[0].id])
        question = await until(lambda: _question())
        assert question.windowTitle() == "Cancel this running job?"
        assert question.safe_button.isDefault()
        QTest.mouseClick(question.act_button, Qt.MouseButton.LeftButton)
        await until(lambda: jobs_of(panel)[0].state is State.CANCELLED)


@on_loop
async def test_a_failed_job_explains_itself_and_runs_again(theme: Theme, home: Path) -> None:
    bad = color_workflow(1, "bad")
    bad["2"]["inputs"]["images"] = ["mask", 0]
    bad["channel"] = {"class_type": "ImageToMask", "inputs": {"image": ["1", 0], "channel": "alpha"}}
    bad["mask"] = {"class_type": "MaskToImage", "inputs": {"mask": ["channel", 0]}}
    async with opened(theme, written(home / "bad.json", bad)) as panel:
        await until(lambda: any(job.state is State.FAILED for job in jobs_of(panel)), 60)
        inspector = panel.window.queue.inspector
        await until(lambda: inspector._error.isVisible())
        assert inspector._error._title.text() == "Node failed"
        assert "channel · ImageToMask" in inspector._error._place.text()
        assert "index 3 is out of bounds" in inspector._error._text.text()
        panel.actions.copy_diagnostics(inspector.job_id, inspector.show_copied)
        clipboard = QApplication.clipboard()
        await until(lambda: "ImageToMask" in clipboard.text())
        assert inspector._foot_left.text() == "Copied"
        QTest.mouseClick(inspector._error.remedies[0], Qt.MouseButton.LeftButton)
        await until(lambda: len([job for job in jobs_of(panel) if job.state is State.FAILED]) == 2, 60)
        assert jobs_of(panel)[1].retry_of == jobs_of(panel)[0].id


@on_loop
async def test_a_removed_job_leaves_list_and_inspector_and_keeps_its_files(theme: Theme, home: Path) -> None:
    async with opened(theme, EXAMPLES / "hello.json") as panel:
        done = (await until(lambda: [job for job in jobs_of(panel) if job.state is State.DONE], 60))[0]
        queue = panel.window.queue
        await until(lambda: queue.inspector.isVisible())
        panel.actions.cancel_or_remove([done.id])
        await until(lambda: not jobs_of(panel))
        assert not queue.inspector.isVisible()
        assert queue.empty_zone.isVisible()
        assert Path(done.outputs[0].path).is_file()


@on_loop
async def test_closing_says_which_jobs_go_on_and_the_next_start_has_them(theme: Theme, home: Path) -> None:
    slow = written(home / "slow.json", blur_chain(60, 900))
    async with opened(theme, slow) as panel:
        await until(lambda: any(job.state is State.RUNNING for job in jobs_of(panel)), 60)
        panel.window.close()
        question = await until(lambda: _question())
        assert question.windowTitle() == "Quit while jobs run here?"
        assert "1 job on this computer" in " ".join(label.text() for label in _labels(question))
        QTest.mouseClick(question.act_button, Qt.MouseButton.LeftButton)
        await until(lambda: not panel.window.isVisible())
    async with opened(theme) as panel:
        await until(lambda: any(job.state is State.DONE for job in jobs_of(panel)), 60)
        assert len(jobs_of(panel)) == 1


@on_loop
async def test_after_a_kill_the_next_start_finds_the_job_and_its_picture(theme: Theme, home: Path) -> None:
    slow = written(home / "slow.json", blur_chain(40, 900))
    program = Cli(home / "data", {"QT_QPA_PLATFORM": os.environ["QT_QPA_PLATFORM"]})
    killed = program.start(slow)
    store = home / "data" / "jobs.sqlite"
    await until(lambda: _states(store) == ["running"], 60)
    killed.kill()
    killed.communicate()
    async with opened(theme) as panel:
        job = (await until(lambda: [job for job in jobs_of(panel) if job.state is State.DONE], 60))[0]
        assert Path(job.outputs[0].path).is_file()
        assert len(jobs_of(panel)) == 1
        await until(lambda: panel.pictures.thumbnail(job.outputs[0].path) is not None)


def _states(store: Path) -> list[str]:
    """What is on disk, read beside whoever writes it."""
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            return [state for (state,) in db.execute("SELECT state FROM jobs ORDER BY seq")]
    except sqlite3.Error:
        return []


@on_loop
async def test_a_broken_list_of_jobs_is_said_in_the_window(theme: Theme, home: Path) -> None:
    (home / "data" / "jobs.sqlite").write_text("no database", encoding="utf-8")
    panel = Panel(theme, Settings.load())
    running = asyncio.create_task(panel.run([]), name="panel-under-test")
    notice = await until(lambda: panel.notices.all)
    assert notice[0].title == "The list of jobs cannot be used"
    assert "jobs.sqlite" in notice[0].text
    assert panel.window.isVisible()
    panel.end()
    await running
    panel.window.deleteLater()
    panel.pictures.deleteLater()


@on_loop
async def test_another_start_hands_its_files_over(theme: Theme, home: Path) -> None:
    from app.jobs.control_client import ControlClient

    async with opened(theme) as panel:
        client = ControlClient(Settings.load().data_dir)
        assert await client.open_window([EXAMPLES / "hello.json"])
        await until(lambda: jobs_of(panel))
        assert [job.name for job in jobs_of(panel)] == ["hello"]


@on_loop
async def test_the_first_run_offers_the_demo_engine_and_remembers_the_choice(
    theme: Theme, home: Path
) -> None:
    config = home / "data" / "settings.yaml"
    config.write_text(f"output_dir: {home / 'out'}\n", encoding="utf-8")
    async with opened(theme) as panel:
        window = panel.window
        assert window.outer.currentWidget() is window.welcome
        QTest.mouseClick(window.welcome.demo.button, Qt.MouseButton.LeftButton)
        await until(lambda: panel.settings.welcomed)
        assert window.queue.empty_zone.isVisible()
        assert "welcomed: true" in config.read_text("utf-8")
        assert str(home / "out") in config.read_text("utf-8")


@on_loop
async def test_settings_take_effect_at_once_and_wrong_ones_are_said(theme: Theme, home: Path) -> None:
    async with opened(theme) as panel:
        page = panel.window.settings
        panel.window.show_page("settings")
        page._appearance.chosen.emit("light")
        await until(lambda: not theme.is_dark)
        page._comfy.field.setText(str(home))
        page._comfy.field.editingFinished.emit()
        await until(lambda: page._comfy_row._wrong.isVisible())
        assert "main.py" in page._comfy_row._wrong.text()
        assert panel.settings.comfyui_dir is None


def _question() -> Question | None:
    shown = [w for w in QApplication.topLevelWidgets() if isinstance(w, Question) and w.isVisible()]
    return shown[0] if shown else None


def _labels(question: Question) -> list[QPushButton]:
    from app.ui.widgets.basics import Text

    return question.findChildren(Text)  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["hello", "batch", "photo", "variations"])
def test_every_example_has_its_workflow_and_picture(name: str) -> None:
    from app.ui.queue.examples import EXAMPLES as SHOWN

    [example] = [each for each in SHOWN if each.name == name]
    workflow, *inputs = example.files
    assert json.loads(workflow.read_text("utf-8"))
    assert all(path.is_file() for path in inputs)
    assert example.picture.is_file()
