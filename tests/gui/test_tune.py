"""Changing a job's values in the window: what is offered, what runs, and what it may cost before it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit

from app.jobs.model import JobSpec
from app.jobs.states import State
from app.panel import Panel
from app.ui.theme import Theme
from app.ui.tune.page import TunePage
from app.ui.tune.rows import TunableRow
from app.ui.widgets.floating import Question
from tests.gui.harness import on_loop, until
from tests.gui.scenes import ENDPOINT, Made, made, opened, portrait, scene
from tests.gui.test_before_running import listening
from tests.gui.test_chips import button


async def changing(panel: Panel, job_id: str = "") -> TunePage:
    """The page, opened for the job that is selected."""
    panel.actions.tune(job_id or next(iter(panel.model.jobs)))
    page = panel.tuner.page
    await until(page.isVisible)
    await settled(page)
    return page


async def settled(page: TunePage) -> None:
    """What was entered has been looked at."""
    await until(lambda: not page._settle.isActive())
    await until(lambda: page._outlook.text() != "")


def line(page: TunePage, label: str) -> TunableRow:
    (found,) = [each for each in page.rows.values() if each.tunable.label == label]
    return found


def typed(row: TunableRow, text: str) -> None:
    editor = row._editor
    if isinstance(editor, QPlainTextEdit):
        editor.setPlainText(text)
    else:
        assert isinstance(editor, QLineEdit)
        editor.setText(text)


async def ran(panel: Panel, page: TunePage, sent: list[JobSpec]) -> list[JobSpec]:
    await settled(page)
    page.run_button.click()
    await until(lambda: sent or panel.window.findChildren(Question))
    if not sent:
        (question,) = panel.window.findChildren(Question)
        button(question, "Run").click()
        await until(lambda: sent)
    await until(panel.window.queue.isVisible)
    return sent


@on_loop
async def test_what_people_change_is_there_and_a_change_is_a_new_job(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        sent = listening(panel)
        job_id = next(iter(panel.model.jobs))
        before = await panel.desk.store.spec(job_id)
        page = await changing(panel)
        labels = [each.tunable.label for each in page.rows.values()]
        assert labels[:6] == ["Prompt", "Negative prompt", "Model", "LoRA", "LoRA strength", "Seed"]
        assert {"Steps", "CFG", "Sampler", "Width", "Height"} <= set(labels)
        assert "filename_prefix" not in labels
        typed(line(page, "Steps"), "30")
        typed(line(page, "Prompt"), "A lighthouse")
        (spec,) = await ran(panel, page, sent)
        assert spec.id != job_id
        assert spec.prompt["6"]["inputs"]["steps"] == 30
        assert spec.prompt["3"]["inputs"]["text"] == "A lighthouse"
        assert spec.prompt["6"]["inputs"]["seed"] == before.prompt["6"]["inputs"]["seed"]
        assert (spec.batch, spec.target) == ("", ENDPOINT)
        assert await panel.desk.store.spec(job_id) == before


@on_loop
async def test_several_runs_are_counted_and_priced_first_and_share_a_batch(
    theme: Theme, tmp_path: Path
) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        sent = listening(panel)
        page = await changing(panel)
        page._seeds.setText("3")
        line(page, "Steps").vary.click()
        line(page, "Steps").field.setText("10..30:10")
        await until(lambda: "9 jobs" in page._outlook.text())
        assert page.run_button.text().strip() == "Run 9 jobs"
        assert ENDPOINT in page._outlook.text()
        assert "$" in page._outlook.text()
        specs = await ran(panel, page, sent)
        await until(lambda: len(sent) == 9)
        values = [(each.prompt["6"]["inputs"]["steps"], each.prompt["6"]["inputs"]["seed"]) for each in specs]
        assert len(set(values)) == 9
        assert sorted({steps for steps, _ in values}) == [10, 20, 30]
        assert len({each.batch for each in specs}) == 1
        assert specs[0].batch
        assert "steps 10" in specs[0].name


@on_loop
async def test_what_cannot_be_is_said_and_does_not_run(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        sent = listening(panel)
        page = await changing(panel)
        typed(line(page, "Steps"), "many")
        await until(lambda: not page.run_button.isEnabled())
        assert "Steps" in page._outlook.text()
        assert line(page, "Steps").is_wrong
        typed(line(page, "Steps"), "20")
        await until(page.run_button.isEnabled)
        page._seeds.setText("5000")
        await until(lambda: not page.run_button.isEnabled())
        assert "from 1 to 1000" in page._outlook.text()
        assert sent == []


@on_loop
async def test_all_other_inputs_are_one_click_away_and_found_by_a_search(
    theme: Theme, tmp_path: Path
) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        sent = listening(panel)
        page = await changing(panel)
        page.all_button.click()
        await until(lambda: any(each.tunable.input == "filename_prefix" for each in page.rows.values()))
        prefix = next(each for each in page.rows.values() if each.tunable.input == "filename_prefix")
        await until(prefix.isVisible)
        page.search.setText("strength_clip")
        await until(lambda: not prefix.isVisible())
        page.search.setText("")
        await until(prefix.isVisible)
        typed(prefix, "other")
        (spec,) = await ran(panel, page, sent)
        assert spec.prompt["8"]["inputs"]["filename_prefix"] == "other"


@on_loop
async def test_a_dropped_picture_becomes_the_input_of_the_selected_workflow(
    theme: Theme, tmp_path: Path
) -> None:
    flow = portrait()
    flow["9"] = {"class_type": "LoadImage", "inputs": {"image": "old.png"}}
    flow["10"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["9", 0], "vae": ["1", 2]}}
    flow["6"]["inputs"]["latent_image"] = ["10", 0]
    picture = tmp_path / "holiday.png"
    Image.new("RGB", (8, 8)).save(picture)
    job: Made = replace(made(1, "room", State.DONE, target="demo"), prompt=flow)
    async with opened(theme, tmp_path / "1", [job]) as panel:
        sent = listening(panel)
        panel.window.queue.select(next(iter(panel.model.jobs)))
        await until(panel.window.queue.inspector.isVisible)
        panel.actions.run_files([picture])
        page = panel.tuner.page
        await until(page.isVisible)
        await settled(page)
        assert line(page, "Picture").value() == "holiday.png"
        (spec,) = await ran(panel, page, sent)
        assert spec.prompt["9"]["inputs"]["image"] == "holiday.png"
        assert spec.files["holiday.png"] == str(picture)
        assert not panel.notices.all
