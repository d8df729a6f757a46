"""What is dropped is held against its place first: what lacks something waits, and says what can be done."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.jobs.model import JobEvent, new_job_id
from app.panel import Panel
from app.preflight.report import Lack, Report
from app.ui.queue.parts import ErrorBox
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from tests.e2e.conftest import color_workflow, written
from tests.gui.harness import on_loop, until
from tests.gui.scenes import ENDPOINT, opened, scene
from tests.gui.test_before_running import listening
from tests.gui.test_chips import button
from tests.unit.workflows.test_collect import picture
from tests.unit.workflows.test_inputs import STRANGE

REPORT = Report(
    ENDPOINT,
    "",
    (
        Lack("model", "The volume has no film.safetensors in loras.", "film.safetensors", "2"),
        Lack("node", "The image has no node type FaceDetailer (from impact-pack).", "FaceDetailer", "9"),
    ),
)


def loading(*names: str) -> dict[str, dict[str, Any]]:
    flow = color_workflow(1, "stranger")
    for number, name in enumerate(names):
        flow[f"load{number}"] = {"class_type": "LoadImage", "inputs": {"image": name}}
        flow[f"save{number}"] = {
            "class_type": "SaveImage", "inputs": {"images": [f"load{number}", 0], "filename_prefix": "x"}
        }  # fmt: skip
    return flow


def use_demo(panel: Panel, folder: Path) -> None:
    """Run on the demo engine, with a ComfyUI whose folders are here."""
    panel.settings = replace(panel.settings, target="demo", comfyui_dir=folder)


@on_loop
async def test_a_strangers_workflow_takes_no_file_of_the_users(theme: Theme, tmp_path: Path) -> None:
    comfy = tmp_path / "ComfyUI"
    (comfy / "input").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    names = [name for name in STRANGE if name not in ("", ".")]
    if os.name != "nt":
        (comfy / "input" / "link.png").symlink_to(tmp_path / "secret.png")
        names.append("link.png")
    # Beside the workflow, and named by it, it is still not the user who handed it over.
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "beside.png").write_bytes(b"mine")
    flow = written(tmp_path / "flows" / "stranger.json", loading(*names, "beside.png"))
    async with opened(theme, tmp_path / "data", []) as panel:
        use_demo(panel, comfy)
        sent = listening(panel)
        panel.actions.run_files([flow])
        await until(lambda: sent or panel.notices.all)
        (spec,) = sent
        assert spec.files == {}
        assert spec.lacks is not None
        lacks = spec.lacks["details"]["lacks"]
        assert {lack["kind"] for lack in lacks} == {"input"}
        assert len(lacks) == len(names) + 1
        # Handed over, it travels.
        sent.clear()
        panel.actions.run_files(
            [written(tmp_path / "mine.json", loading("beside.png")), flow.with_name("beside.png")]
        )
        await until(lambda: sent)
        assert sent[0].files == {"beside.png": str(flow.with_name("beside.png"))}
        assert sent[0].lacks is None


@on_loop
async def test_what_waits_says_what_is_missing_and_what_can_be_done(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        panel.state.put("asked_targets", [ENDPOINT])
        done: list[tuple[str, str]] = []
        spec = await panel.desk.store.spec(next(iter(panel.model.jobs)))
        spec = replace(spec, id=new_job_id(), name="Portrait", lacks=dict(REPORT.as_problem()))
        job = await panel.desk.store.add(spec)
        panel.feed.take(JobEvent(job))
        await until(lambda: job.id in panel.model.jobs)
        panel.window.queue.select(job.id)
        inspector = panel.window.queue.inspector
        await until(inspector.isVisible)
        (box,) = inspector.findChildren(ErrorBox)
        assert box.isVisible()
        assert box.property("kind") == "note"
        assert box._title.text() == "1 node type and 1 model missing"
        assert "film.safetensors" in box._text.text()
        assert "impact-pack" in box._text.text()
        assert box._hint.text() == "Nothing was sent."
        assert [each.text().strip() for each in box.remedies] == [
            "Check again", "Run anyway", "Run on This computer", "Ask a worker…"
        ]  # fmt: skip

        async def retry(job_id: str) -> Any:
            done.append(("retry", job_id))
            return job

        async def cancel(job_id: str) -> Any:
            done.append(("cancel", job_id))
            return job

        panel.desk.retry, panel.desk.cancel = retry, cancel  # type: ignore[method-assign]
        sent = listening(panel)
        button(box, "Run anyway").click()
        await until(lambda: done)
        assert done == [("retry", job.id)]
        # Elsewhere it is a new job, held against that place; this one has not run and goes.
        button(box, "Run on This computer").click()
        await until(lambda: len(done) == 2)
        assert done[1] == ("cancel", job.id)
        assert (sent[0].target, sent[0].retry_of) == ("local", job.id)
        button(box, "Check again").click()
        # Nothing is known of the endpoint here, so nothing is known to be missing.
        await until(lambda: len(done) == 3)
        assert done[2] == ("retry", job.id)


@on_loop
async def test_a_workflow_in_the_browsers_form_is_converted_or_says_which_nodes_it_needs(
    theme: Theme, tmp_path: Path
) -> None:
    empty = {"id": 1, "type": "EmptyImage", "outputs": [{"links": [1]}], "widgets_values": [64, 32, 1, 255]}
    save = {"id": 2, "type": "SaveImage", "inputs": [{"name": "images", "link": 1}], "widgets_values": ["a"]}
    ui = {"nodes": [empty, save], "links": [[1, 1, 0, 2, 0, "IMAGE"]], "version": 0.4}
    pack = {"cnr_id": "impact-pack"}
    other = {**ui, "nodes": [empty, {**save, "type": "FaceDetailer", "properties": pack}]}
    good, bad = written(tmp_path / "good.json", ui), written(tmp_path / "bad.json", other)
    async with opened(theme, tmp_path / "data", []) as panel:
        use_demo(panel, tmp_path)
        sent = listening(panel)
        panel.actions.run_files([good, bad])
        await until(lambda: sent and panel.notices.all)
        (spec,) = sent
        assert (spec.name, spec.lacks, spec.ui_workflow) == ("good", None, ui)
        assert spec.prompt["1"]["inputs"] == {"width": 64, "height": 32, "batch_size": 1, "color": 255}
        assert spec.source == str(good)
        (notice,) = panel.notices.all
        assert "needs other nodes" in notice.title
        assert "FaceDetailer (from impact-pack)" in notice.text


@pytest.mark.long
@on_loop
async def test_a_folder_of_500_pictures_never_holds_the_window(theme: Theme, tmp_path: Path) -> None:
    """Printed is how late the window's loop was at most; here only a stall fails."""
    content = picture(json.dumps(color_workflow(1, "many")).encode())
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(500):
        (folder / f"{number}.png").write_bytes(content)
    async with opened(theme, tmp_path / "data", []) as panel:
        use_demo(panel, tmp_path)
        sent = listening(panel)
        panel.actions.run_files([folder])
        late, turns, begun = 0.0, 0, time.perf_counter()
        while not (questions := panel.window.findChildren(Question)):
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            late, turns = max(late, time.perf_counter() - before - 0.005), turns + 1
        took = time.perf_counter() - begun
        print(f"500 pictures: {took:.1f} s, {turns} turns of the loop, {late * 1000:.0f} ms late at most")
        assert turns > 50
        button(questions[0], "Queue 500").click()
        await until(lambda: len(sent) == 500)


@on_loop
async def test_models_that_are_here_are_uploaded_and_the_job_goes_on(theme: Theme, tmp_path: Path) -> None:
    model = tmp_path / "film.safetensors"
    model.write_bytes(b"x" * 1000)
    lack = Lack(
        "model", "The volume has no film.safetensors.", model.name, "2", folder="loras", here=model, size=1000
    )
    missing = Report(ENDPOINT, "", (lack,))
    reports = [missing, Report(ENDPOINT)]
    async with scene("queue_running", theme, tmp_path / "1") as panel:
        spec = await panel.desk.store.spec(next(iter(panel.model.jobs)))
        spec = replace(spec, id=new_job_id(), name="Portrait", lacks=dict(missing.as_problem()))
        job = await panel.desk.store.add(spec)
        panel.feed.take(JobEvent(job))
        await until(lambda: job.id in panel.model.jobs)
        panel.window.queue.select(job.id)
        await until(panel.window.queue.inspector.isVisible)
        (box,) = panel.window.queue.inspector.findChildren(ErrorBox)
        assert box.remedies[0].text().strip() == "Upload and run"
        brought: list[Path | None] = []
        retried: list[str] = []

        async def looked_again(_job: Any) -> Report:
            return reports.pop(0)

        async def upload(report: Report) -> None:
            brought.extend(each.here for each in report.to_upload)

        async def retry(job_id: str) -> Any:
            retried.append(job_id)
            return job

        panel.actions.launch.looked_again = looked_again  # type: ignore[method-assign]
        panel.actions.launch.upload = upload  # type: ignore[method-assign]
        panel.desk.retry = retry  # type: ignore[method-assign]
        button(box, "Upload and run").click()
        await until(lambda: retried)
        assert (brought, retried) == ([model], [job.id])
    # Something else missing as well cannot be mended by that.
    other = Lack("node", "No X.", "X", "3")
    assert Report(ENDPOINT, "", (lack, other)).to_upload == ()
