"""Recent and kept workflows: with their last picture, run again in a click, and watched for changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.jobs.model import JobEvent, JobSpec
from app.jobs.states import State
from app.panel import Panel
from app.ui.queue.recent import Recent, RecentWorkflows
from app.ui.queue.recent_list import RecentPopover, RecentRow
from app.ui.state import WindowState
from app.ui.theme import Theme
from tests.e2e.conftest import color_workflow, written
from tests.gui.harness import on_loop, until
from tests.gui.scenes import made, opened
from tests.gui.test_before_running import listening
from tests.gui.test_lacking import use_demo


def popover(panel: Panel) -> RecentPopover:
    panel.window.queue.head.recent.click()
    return [each for each in panel.window.findChildren(RecentPopover) if each.isVisible()][-1]


def rows(popover: RecentPopover) -> dict[str, RecentRow]:
    return {each.recent.name: each for each in popover.findChildren(RecentRow) if not each.isHidden()}


async def run(panel: Panel, *paths: Path) -> list[JobSpec]:
    sent = listening(panel)
    panel.actions.run_files(paths)
    await until(lambda: len(sent) == len(paths))
    await until(lambda: not panel.scope._tasks)
    return sent


@on_loop
async def test_what_ran_is_listed_with_its_picture_and_runs_again(theme: Theme, tmp_path: Path) -> None:
    first, second = (written(tmp_path / f"{name}.json", color_workflow(1, name)) for name in ("one", "two"))
    job = made(1, "one", State.DONE, target="demo").job
    async with opened(theme, tmp_path / "data", []) as panel:
        use_demo(panel, tmp_path)
        await run(panel, first, second)
        panel._job_ended(JobEvent(replace(job, source=str(first))))
        shown = popover(panel)
        found = rows(shown)
        assert list(found) == ["two", "one"]
        assert found["one"].recent.picture == job.outputs[0].path
        assert found["two"].recent.picture == ""
        # Kept ones stand first, and stay.
        found["one"].keep.click()
        await until(lambda: list(rows(shown)) == ["one", "two"])
        found = rows(shown)
        found["two"].forget.click()
        await until(lambda: list(rows(shown)) == ["one"])
        sent = listening(panel)
        rows(shown)["one"].run.emit()
        await until(lambda: sent)
        assert sent[0].source == str(first)
        shown = popover(panel)
        rows(shown)["one"].tune.click()
        await until(panel.tuner.page.isVisible)
        assert "one" in panel.tuner.page.title.text()
        await until(lambda: not panel.scope._tasks)
    again = RecentWorkflows(WindowState(tmp_path / "data" / "data" / "window.ini"))
    assert [(each.name, each.kept) for each in again.all] == [("one", True)]


@on_loop
async def test_a_file_that_changes_is_offered_again(theme: Theme, tmp_path: Path) -> None:
    path = written(tmp_path / "flow.json", color_workflow(1, "one"))
    async with opened(theme, tmp_path / "data", []) as panel:
        use_demo(panel, tmp_path)
        await run(panel, path)
        # Twice: written into, then another file put in its place, as editors do.
        written(path, color_workflow(22, "one"))
        await until(lambda: len(panel.notices.all) == 1)
        written(tmp_path / "aside.json", color_workflow(333, "one"))
        (tmp_path / "aside.json").replace(path)
        await until(lambda: len(panel.notices.all) == 2)
        notice = panel.notices.all[0]
        assert (notice.title, notice.action) == ("flow.json was changed", "Run it again")
        assert notice.act is not None
        sent = listening(panel)
        notice.act()
        await until(lambda: sent)
        assert sent[0].source == str(path)
        path.unlink()
        await until(lambda: not panel.scope._tasks)
        assert len(panel.notices.all) == 2


def test_a_spoilt_memory_is_an_empty_one(tmp_path: Path) -> None:
    state = WindowState(tmp_path / "window.ini")
    state.put("workflows", ["", "no json", "[1]", '{"path": 5}', '{"other": 1}', '{"path": "/a.json"}'])
    assert RecentWorkflows(state).all == (Recent("/a.json"),)
