"""The window says what the design says, letter by letter."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QWidget

from app.desk import Outlook
from app.health import EndpointStatus
from app.jobs.states import State
from app.panel import farewell
from app.ui.frame.drops import promise
from app.ui.frame.keys import KEYS, KeySheet
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from tests.gui.harness import files, on_loop, settled, until
from tests.gui.scenes import FINISHED, JOBS, SMALL, made, opened, scene

_WITH_DOCS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def texts(root: QWidget) -> list[str]:
    """Every word in sight inside a widget."""
    parts = [*root.findChildren(QLabel), *root.findChildren(QPushButton)]
    return [part.text().strip() for part in parts if part.isVisible() and part.text().strip()]


@asynccontextmanager
async def asked() -> AsyncIterator[Question]:
    """The question that an action asks; answered safely in the end."""
    shown = await until(
        lambda: [w for w in QApplication.topLevelWidgets() if isinstance(w, Question) and w.isVisible()]
    )
    yield shown[0]
    if shown[0].isVisible():
        shown[0].reject()
    await asyncio.sleep(0)


@on_loop
async def test_an_empty_page_invites(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_empty", theme, tmp_path) as panel:
        said = texts(panel.window.queue)
        for wanted in (
            "Queue",
            "No jobs yet",
            "Drop a workflow here",
            "A ComfyUI workflow (.json), or a picture, video or sound made with ComfyUI",
            "Open workflow…",
            "or press",
            "Ctrl+O",
            "Or start from an example",
        ):
            assert wanted in said


@on_loop
async def test_the_drop_zone_says_what_a_release_would_do(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        zone = panel.window.queue.zone
        assert texts(zone) == ["Drop a workflow", ".json, or what ComfyUI saved", "or press", "Ctrl+O"]
        zone.show_drag("Release to run 2 workflows on comfy-flux-prod", good=True)
        assert texts(zone) == ["Release to run 2 workflows on comfy-flux-prod"]
        zone.show_drag("", good=False)
        assert "Drop a workflow" in texts(zone)


@pytest.mark.parametrize(
    ("names", "said", "good"),
    [
        (["a.json"], "Release to run 1 workflow on comfy-flux-prod", True),
        (["a.json", "b.PNG"], "Release to run 2 workflows on comfy-flux-prod", True),
        (
            ["a.json", "b.webp", "notes.docx"],
            "Release to run 2 of 3 files. notes.docx is not a workflow.",
            True,
        ),
        (["notes.docx"], "notes.docx is not a workflow.", False),
    ],
)
def test_what_a_drag_promises(tmp_path: Path, names: list[str], said: str, good: bool) -> None:
    assert promise(files(*(tmp_path / name for name in names)), "comfy-flux-prod") == (said, good)


@on_loop
async def test_filters_without_a_match_say_so(theme: Theme, tmp_path: Path) -> None:
    done = [each for each in FINISHED if each.job.state is State.DONE]
    async with opened(theme, tmp_path, done) as panel:
        queue = panel.window.queue
        queue.head.filters.choose("failed")
        queue.head.filtered.emit()
        said = texts(queue)
        for wanted in ("No failed jobs", "Everything in this list went well.", "Show all"):
            assert wanted in said
        queue.head.show_all()
        queue.head.search.setText("nothing like this")
        queue.head.filtered.emit()
        assert f"{len(done)} jobs are hidden." in texts(queue)
        queue.head.search.clear()


@on_loop
async def test_questions_about_loss_have_the_safe_answer_first(theme: Theme, tmp_path: Path) -> None:
    waiting = [made(n, f"w{n}", State.WAITING) for n in (1, 2, 3)]
    async with opened(theme, tmp_path, waiting) as panel:
        panel.actions.cancel([each.job.id for each in waiting])
        async with asked() as question:
            said = texts(question)
            assert said[:2] == ["Cancel 3 waiting jobs?", "They have not started, so they cost nothing."]
            assert (question.safe_button.text(), question.act_button.text()) == ("Keep jobs", "Cancel 3 jobs")
            assert question.safe_button.isDefault()
            QTest.keyClick(question, Qt.Key.Key_Escape)
            await until(lambda: not question.isVisible())


@on_loop
async def test_the_last_question_tells_what_goes_on(theme: Theme, tmp_path: Path) -> None:
    title, text = farewell(Outlook(remote=2, local=1, unsent=3))
    assert title == "Quit while jobs run on RunPod?"
    assert text.startswith("2 jobs on RunPod: they go on there and are picked up at the next start.")
    assert "1 job on this computer: they go on in the background" in text
    assert "3 jobs not sent yet: they are sent at the next start." in text
    assert farewell(Outlook(unsent=1))[0] == "Quit with jobs waiting?"


@on_loop
async def test_chips_and_target_menu(theme: Theme, tmp_path: Path) -> None:
    async with scene("overlays", theme, tmp_path) as panel:
        bar = panel.window.topbar
        assert bar.comfy.text == "ComfyUI running"
        assert bar.endpoint.text == "1 running ·  1 starting  ·  3 in queue"
        panel.chips.show_endpoint(EndpointStatus(text="3 throttled · 4 in queue", tone="amber"))
        assert bar.endpoint.text == "3 throttled ·  4 in queue"
        panel.chips.show_endpoint(EndpointStatus(text="Endpoint unreachable", tone="red"))
        assert bar.endpoint.text == "Endpoint unreachable"


@on_loop
async def test_a_row_says_who_where_what(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        model = panel.model
        spoken = [str(model.index(row).data(Qt.ItemDataRole.AccessibleTextRole)) for row in (0, 1)]
        assert spoken[0].startswith("Running, 2")
        assert spoken[1].startswith("Flux portrait, studio light, running on RunPod, 60 percent")
        assert "SamplerCustomAdvanced step 12 of 20" in spoken[1]


@on_loop
async def test_narrow_windows_use_fewer_words(theme: Theme, tmp_path: Path) -> None:
    async with opened(theme, tmp_path, JOBS, SMALL) as panel:
        head = panel.window.queue.head
        assert head.search_button.isVisible()
        assert not head.search.isVisible()
        assert not head.count.isVisible()
        head.open_search()
        assert head.search.isVisible()
        panel.chips.show_endpoint(
            EndpointStatus(
                reachable=True, running=1, starting=1, idle=1, in_queue=3, text="1 running · 3 in queue"
            )
        )
        assert panel.window.topbar.endpoint.text == "2 / 3 ·  3 queued"
        panel.window.resize(1440, 700)
        await settled()
        assert panel.window.topbar.endpoint.text == "1 running ·  3 in queue"


@on_loop
async def test_the_sheet_of_keys_lists_exactly_those_that_work(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        for name in ("models", "image", "queue"):
            # A page has its keys from when it is shown first.
            panel.window.show_page(name)
        made_keys = {
            shortcut.key().toString(QKeySequence.SequenceFormat.PortableText)
            for shortcut in panel.window.findChildren(QShortcut)
        }
        listed = {QKeySequence(key).toString() for _, keys, _ in KEYS for key in keys}
        # Beside them: the view's own Ctrl+A, and second keys for the same.
        assert listed - made_keys == {"Ctrl+A"}
        assert made_keys - listed <= {"Enter", "/", "Menu"}
        sheet = KeySheet(theme)
        sheet.open_over(panel.window)
        said = texts(sheet)
        assert all(does in said for _, _, does in KEYS)
        sheet.close()


@on_loop
async def test_settings_and_first_steps(theme: Theme, tmp_path: Path) -> None:
    async with scene("settings", theme, tmp_path) as panel:
        said = texts(panel.window.settings)
        for wanted in (
            "Settings",
            "Save outputs to",
            "ComfyUI folder",
            "Theme",
            "Text size",
            "Reduce motion",
        ):
            assert wanted in said
    async with scene("welcome_found", theme, tmp_path / "b") as panel:
        said = texts(panel.window.welcome)
        for wanted in (
            "Welcome to Comfy RunPod",
            "Run ComfyUI workflows on this computer or on RunPod. First: where is ComfyUI?",
            "Use my ComfyUI",
            "We found one and will leave its files, models and nodes where they are.",
            "~/ComfyUI · version 0.3.64",
            "23 custom nodes, 212 GB of models",
            "Use this folder",
            "Try the demo engine",
            "Start the demo",
            "Set up later",
        ):
            assert wanted in said


def test_no_text_shouts_or_pleads() -> None:
    """Sentence case, no exclamation marks, no "please", no "oops", no "successfully"."""
    root = Path(__file__).parents[2] / "app"
    files = [
        *root.glob("ui/**/*.py"),
        *(root / name for name in ("panel.py", "jobs/words.py", "jobs/cards.py")),
    ]
    for path in files:
        for text in _texts_in(path):
            assert not any(word in text.casefold() for word in ("please", "oops", "successfully")), (
                path,
                text,
            )
            assert not text.rstrip().endswith("!"), (path, text)


def _texts_in(path: Path) -> list[str]:
    """The texts of a module, its docstrings left out."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    docs = {ast.get_docstring(node, clean=False) for node in nodes if isinstance(node, _WITH_DOCS)}
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return [value for value in constants if isinstance(value, str) and value not in docs]
