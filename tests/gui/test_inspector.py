"""The inspector: what it shows of a job in each state, live previews, copying, and texts of strangers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QPlainTextEdit, QPushButton, QWidget

from app.jobs.model import JobEvent
from app.jobs.states import Hold, State
from app.panel import Panel
from app.ui.queue.inspector import Inspector
from app.ui.queue.parts import ErrorBox, FileList
from app.ui.queue.preview import FilmStrip, Preview
from app.ui.theme import Theme
from app.ui.widgets.basics import Button
from tests.gui.checks import faults, shown
from tests.gui.harness import on_loop, settled, until
from tests.gui.scenes import (
    ENDPOINT,
    FAILED,
    FINISHED,
    FLUX,
    JOBS,
    PICTURES,
    WAITING,
    Made,
    made,
    opened,
    portrait,
    scene,
)
from worker.contract import Progress

DONE = FINISHED[2]


def inspector(panel: Panel) -> Inspector:
    return panel.window.queue.inspector


async def inspect(panel: Panel, job: Made) -> set[str]:
    """Choose a job; the words that its inspector shows."""
    panel.window.queue.select(job.job.id)
    await until(lambda: not panel.scope._tasks)
    await settled()
    assert inspector(panel).job_id == job.job.id
    return words(inspector(panel))


def words(root: QWidget) -> set[str]:
    return {w.text().strip() for w in shown(root) if isinstance(w, QLabel | QPushButton)} - {""}


def part(root: QWidget, kind: type[QWidget]) -> QWidget | None:
    return next((each for each in shown(root) if isinstance(each, kind)), None)


def button(root: QWidget, text: str) -> QPushButton:
    return next(w for w in shown(root) if isinstance(w, QPushButton) and w.text().strip() == text)


@on_loop
async def test_a_running_job_shows_its_preview_timeline_and_parameters(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        said = await inspect(panel, FLUX)
        assert {"Flux portrait, studio light", "Timeline", "22 s so far · $0.010"} <= said
        assert {"Parameters", "Copy all"} <= said
        assert f"{ENDPOINT} · job 7c1f0e92" in said
        assert {"Cancel job", "Save workflow…"} <= said
        assert {"flux1-dev-fp8.safetensors", "482117336", "euler · simple · 20 steps", "896 × 1152"} <= said
        assert part(inspector(panel), Preview).accessibleName() == "Live preview"
        assert part(inspector(panel), FilmStrip).accessibleName() == "Results, 1 of 4"
        assert part(inspector(panel), ErrorBox) is None


@on_loop
async def test_a_preview_follows_the_progress_and_goes_with_the_job(theme: Theme, tmp_path: Path) -> None:
    async with opened(theme, tmp_path, JOBS) as panel:
        await inspect(panel, FLUX)
        preview = part(inspector(panel), Preview)
        assert preview.accessibleName() == "The preview appears here."
        before = preview.grab().toImage()
        for name in ("photo", "batch"):
            picture = base64.b64encode((PICTURES / f"{name}.jpg").read_bytes()).decode()
            panel.feed.take(JobEvent(FLUX.job, replace(FLUX.progress or Progress(), preview=picture)))
            await until(lambda before=before: preview.grab().toImage() != before)
            before = preview.grab().toImage()
        assert preview.accessibleName() == "Live preview"
        done = replace(FLUX.job, state=State.DONE, outputs=DONE.job.outputs, ended_at=DONE.job.ended_at)
        panel.feed.take(JobEvent(done))
        await until(lambda: preview.accessibleName() == "Result")
        assert panel.pictures.preview(FLUX.job.id) is None
        assert {"Open outputs", "Run again"} <= words(inspector(panel))


@on_loop
async def test_a_done_job_shows_all_its_results(theme: Theme, tmp_path: Path) -> None:
    async with opened(theme, tmp_path, JOBS) as panel:
        said = await inspect(panel, DONE)
        assert {"Open outputs", "Run again", "24 s · $0.014"} <= said
        strip, preview = part(inspector(panel), FilmStrip), part(inspector(panel), Preview)
        paths = [output.path for output in DONE.job.outputs]
        await until(lambda: panel.pictures.picture(paths[0]))
        await settled()
        first = preview.grab().toImage()
        strip.setFocus()
        QTest.keyClick(strip, Qt.Key.Key_Right)
        await until(lambda: panel.pictures.picture(paths[1]))
        await until(lambda: preview.grab().toImage() != first)
        assert strip.accessibleName() == "Results, 2 of 4"
        QTest.keyClick(strip, Qt.Key.Key_Left)
        assert strip.accessibleName() == "Results, 1 of 4"
        QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(2 * 52 + 10, 20))
        assert strip.accessibleName() == "Results, 3 of 4"
        QTest.mouseClick(preview, Qt.MouseButton.LeftButton)
        assert panel.window.viewer.isVisible()
        assert any(text.startswith("3 of 4") for text in words(panel.window.viewer))


@on_loop
async def test_a_failed_job_says_why_what_there_is_and_shows_its_log(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_error", theme, tmp_path) as panel:
        found = inspector(panel)
        said = words(found)
        assert {"Model not found", "Node 4 · CheckpointLoaderSimple · ckpt_name", "Retry"} <= said
        assert "Closest: sd3.5_large.safetensors" in next(w for w in said if w.startswith("The endpoint has"))
        assert {"Available in checkpoints", "4 files", "sd3.5_large.safetensors"} <= said
        assert {"Log", "Traceback", "Timeline", "Parameters", "Copy diagnostics"} <= said
        assert found.log_text.startswith("got prompt\n")
        top = [box.mapTo(found, QPoint()).y() for box in (part(found, ErrorBox), part(found, FileList))]
        assert top == sorted(top)
        tabs = {
            "Traceback": lambda: _log(found).toPlainText().startswith("Traceback (most recent"),
            "Timeline": lambda: _log(found) is None and "8 s · $0.004" in words(found),
            "Parameters": lambda: "482117336" in words(found),
            "Log": lambda: _log(found).toPlainText() == found.log_text,
        }
        for tab, holds in tabs.items():
            QTest.mouseClick(button(found, tab), Qt.MouseButton.LeftButton)
            await settled()
            assert holds(), tab
            assert faults(found) == []
        assert part(found, Preview) is None


def _log(root: QWidget) -> QPlainTextEdit:
    return part(root, QPlainTextEdit)


@on_loop
async def test_copy_buttons_copy_and_say_so(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_error", theme, tmp_path) as panel:
        found, clipboard = inspector(panel), QApplication.clipboard()
        QTest.mouseClick(button(found, "Copy diagnostics"), Qt.MouseButton.LeftButton)
        await until(lambda: "Copied" in words(found))
        assert "Model not found" in clipboard.text()
        copy = next(w for w in shown(found) if isinstance(w, Button) and w.toolTip() == "Copy log")
        QTest.mouseClick(copy, Qt.MouseButton.LeftButton)
        assert clipboard.text() == found.log_text
        await inspect(panel, DONE)
        QTest.mouseClick(button(found, "Copy all"), Qt.MouseButton.LeftButton)
        assert clipboard.text() == found.parameters_text
        assert "Model: flux1-dev-fp8.safetensors\n" in clipboard.text()


@pytest.mark.parametrize(
    ("job", "wanted", "never"),
    [
        (WAITING[1], {"Qwen-Image poster set", "21 s so far", "Cancel job"}, {"Retry", "Log"}),
        (
            made(1, "Held", State.ON_HOLD, hold=Hold.MAYBE_SENT,
                 error={"code": "maybe_sent", "summary": "No answer came.", "hint": "x"}),
            {"May have been sent", "No answer came.", "Send again", "Cancel job"},
            {"Log", "Retry"},
        ),
        (
            made(1, "Ended", State.CANCELLED, ago=60, ran=4),
            {"Ended", "Run again", "Remove"},
            {"Log", "Cancel job", "Retry"},
        ),
        (
            made(1, "Late", State.TIMED_OUT, ago=60, ran=900, execution_ms=900_000),
            {"Stopped after 15 min", "Retry", "Copy diagnostics", "Log"},
            {"Cancel job"},
        ),
        (
            made(1, "Odd", State.DONE, ago=60, warnings=("One image was not fetched.",)),
            {"One image was not fetched.", "Open outputs"},
            {"Log"},
        ),
    ],
    ids=["waiting", "on hold", "cancelled", "timed out", "with a warning"],
)  # fmt: skip
def test_other_states_show_what_belongs_to_them(
    theme: Theme, tmp_path: Path, job: Made, wanted: set[str], never: set[str]
) -> None:
    @on_loop
    async def look() -> None:
        async with opened(theme, tmp_path, JOBS if job in JOBS else [job]) as panel:
            said = await inspect(panel, job)
            assert wanted <= said
            assert not never & said
            assert faults(panel.window) == []

    look()


def _hostile() -> Sequence[Made]:
    name = "<b>bold</b><img src=x> & <script>alert(1)</script>"
    error = {"code": "execution_failed", "summary": name, "details": {"traceback": f"<i>{name}</i>"}}
    long = made(3, "Long prompt", State.DONE, ago=30)
    return (
        made(1, name, State.DONE, ago=10),
        made(2, name, State.FAILED, ago=20, error=error),
        replace(long, prompt=portrait("very detailed, " * 700)),
        replace(made(4, "One word", State.DONE, ago=40), prompt=portrait("x" * 10_000)),
    )


@on_loop
async def test_texts_of_strangers_are_shown_letter_by_letter(theme: Theme, tmp_path: Path) -> None:
    hostile = _hostile()
    async with opened(theme, tmp_path, hostile) as panel:
        for job in hostile:
            said = await inspect(panel, job)
            assert job.job.name in said
            assert faults(panel.window) == []
        for label in shown(inspector(panel)):
            if isinstance(label, QLabel) and label.text():
                assert label.textFormat() is Qt.TextFormat.PlainText


@on_loop
async def test_a_long_prompt_is_folded_until_it_is_asked_for(theme: Theme, tmp_path: Path) -> None:
    async with opened(theme, tmp_path, _hostile()) as panel:
        await inspect(panel, _hostile()[2])
        found = inspector(panel)
        labels = [each for each in shown(found) if isinstance(each, QLabel)]
        prompt = next(each for each in labels if each.text().startswith("very detailed"))
        assert len(prompt.text()) > 10_000
        assert prompt.height() <= 80
        QTest.mouseClick(button(found, "Show all"), Qt.MouseButton.LeftButton)
        await settled()
        assert prompt.height() >= prompt.heightForWidth(prompt.width()) > 80
        assert "Show all" not in words(found)


@on_loop
async def test_a_job_that_goes_takes_no_details_with_it(theme: Theme, tmp_path: Path) -> None:
    """Details that arrive late belong to a job that is no longer shown."""
    async with opened(theme, tmp_path, JOBS) as panel:
        await inspect(panel, FAILED)
        panel.window.queue.select(DONE.job.id)
        panel.window.queue.select(FLUX.job.id)
        await until(lambda: not panel.scope._tasks)
        found = inspector(panel)
        assert found.job_id == FLUX.job.id
        assert "Log" not in words(found)
        panel.window.queue.close_inspector()
        assert not found.isVisible()


@on_loop
async def test_long_names_are_broken_to_be_seen_and_copied_whole(theme: Theme, tmp_path: Path) -> None:
    name = "wan2.2_t2v_high_noise_14B_fp8_scaled_and_a_longer_name.safetensors"
    prompt = portrait()
    prompt["1"]["inputs"]["ckpt_name"] = name
    job = replace(made(1, "Long names", State.DONE, ago=10), prompt=prompt)
    async with opened(theme, tmp_path, [job]) as panel:
        assert name in await inspect(panel, job)
        assert faults(panel.window) == []
        label = next(w for w in shown(inspector(panel)) if isinstance(w, QLabel) and w.text() == name)
        label.setFocus()
        QTest.keyClick(label, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClick(label, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
        assert QApplication.clipboard().text() == name
