"""What is asked and said before workflows run on RunPod: where, and what it may cost."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from app.jobs.model import Job, JobSpec
from app.jobs.states import State
from app.panel import Panel
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from app.workflows import look_into
from app.workflows.fingerprint import fingerprint
from tests.gui.harness import on_loop, settled, until
from tests.gui.scenes import ENDPOINT, NOW, Made, made, opened, scene
from tests.gui.test_chips import button, texts

FLOW = Path(__file__).parents[2] / "resources" / "workflows" / "hello.json"


def listening(panel: Panel) -> list[JobSpec]:
    """What is sent from now on, instead of being sent."""
    sent: list[JobSpec] = []

    async def submit(spec: JobSpec) -> Job:
        sent.append(spec)
        return Job(spec.id, len(sent), spec.name, spec.target, spec.output_dir)

    panel.desk.submit = submit  # type: ignore[method-assign]
    return sent


async def asked(panel: Panel, paths: Sequence[Path]) -> Question:
    panel.actions.run_files(paths)
    try:
        await until(lambda: panel.window.findChildren(Question), 5)
    except TimeoutError:
        raise AssertionError(panel.notices.all) from None
    (question,) = panel.window.findChildren(Question)
    return question


def copies(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    return [Path(shutil.copy(FLOW, folder / f"{n:02d}.json")) for n in range(count)]


@on_loop
async def test_the_first_job_on_an_endpoint_is_asked_about_with_name_and_price(
    theme: Theme, tmp_path: Path
) -> None:
    async with scene("queue_empty", theme, tmp_path) as panel:
        sent = listening(panel)
        question = await asked(panel, [FLOW])
        said = " ".join(texts(question))
        assert f"Run on {ENDPOINT}?" in said
        assert "$0.00053 / s for each worker" in said
        button(question, "Not now").click()
        await until(lambda: not panel.scope._tasks)
        assert sent == []
        question = await asked(panel, [FLOW])
        button(question, "Run").click()
        await until(lambda: sent)
        # From then on it is not asked again.
        panel.actions.run_files([FLOW])
        await until(lambda: len(sent) == 2)
        assert {spec.target for spec in sent} == {ENDPOINT}


@on_loop
async def test_before_many_workflows_what_they_may_cost_is_said(theme: Theme, tmp_path: Path) -> None:
    mark = fingerprint(look_into(FLOW).prompt or {})
    ran = [made(n, "hello", State.DONE, waited=2, ran=10, ago=60 * n, workflow=mark) for n in range(1, 4)]
    async with opened(theme, tmp_path, ran) as panel:
        panel.state.put("asked_targets", [ENDPOINT])
        sent = listening(panel)
        question = await asked(panel, copies(tmp_path / "many", 21))
        said = " ".join(texts(question))
        # 10 s at $0.00053, and up to 5 s idle, each.
        assert "About $0.1" in said, said
        assert "by earlier runs of the same" in said
        button(question, "Queue 21").click()
        await until(lambda: len(sent) == 21)


@on_loop
async def test_what_never_ran_has_a_price_and_no_estimate(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_empty", theme, tmp_path) as panel:
        panel.state.put("asked_targets", [ENDPOINT])
        question = await asked(panel, copies(tmp_path / "many", 21))
        said = " ".join(texts(question))
        assert "A worker costs $0.00053 / s; what these take is not known yet." in said
        button(question, "Not now").click()
        await settled()


@on_loop
async def test_the_figure_of_today_grows_while_a_job_runs(theme: Theme, tmp_path: Path) -> None:
    running: Made = made(1, "hello", State.RUNNING, waited=1, ran=100)
    async with opened(theme, tmp_path, [running]) as panel:
        panel.chips._count_every_s = 0.02
        panel.scope.start(panel.chips._keep_counting(), "spend")
        chip = panel.window.topbar.spend
        before = chip.text
        panel.chips._now = lambda: NOW + 1000
        await until(lambda: chip.text != before)
