"""The page of an endpoint: its workers, their logs while it is in sight, how long workflows take there."""

from __future__ import annotations

from pathlib import Path

from app.jobs.states import State
from app.panel import Panel
from app.ui.endpoint.workers import WorkerTable
from app.ui.frame.endpoint_form import EndpointForm
from app.ui.theme import Theme
from tests.gui.harness import on_loop, settled, until
from tests.gui.scenes import ENDPOINT, made, opened
from tests.gui.test_chips import button, popup, texts, with_account
from tests.unit.endpoint.management import WORKERS, WorkerLog

FIRST, *_ = [str(worker["id"]) for worker in WORKERS["workers"]]


def printed(panel: Panel) -> str:
    return panel.chips.details.page.log.pane.toPlainText()


def open_page(panel: Panel) -> None:
    """As a user does."""
    panel.chips.show_endpoint(panel.chips.health.status)
    panel.window.topbar.endpoint.clicked.emit()
    button(popup(), "Open details").click()


@on_loop
async def test_workers_and_what_they_print_are_seen_as_long_as_one_looks(
    theme: Theme, tmp_path: Path
) -> None:
    async with with_account(theme, tmp_path) as (panel, api):
        log = api.logs[FIRST] = WorkerLog()
        log.say("got prompt")
        open_page(panel)
        page = panel.chips.details.page
        await until(lambda: "got prompt" in printed(panel))
        assert page.isVisible()
        table = page.findChild(WorkerTable)
        assert table is not None
        await until(lambda: table.model().rowCount() == len(WORKERS["workers"]))
        log.say("Prompt executed in 39.02 seconds")
        await until(lambda: "39.02 seconds" in printed(panel))
        # Cut off, it goes on where it was.
        log.cut()
        log.say("once more")
        await until(lambda: "once more" in printed(panel))
        assert printed(panel).count("39.02 seconds") == 1
        panel.window._escape()
        await until(lambda: not log.readers)
        assert not page.isVisible()
        assert panel.window.queue.isVisible()


@on_loop
async def test_a_worker_that_is_gone_takes_its_log_along_and_that_is_said(
    theme: Theme, tmp_path: Path
) -> None:
    async with with_account(theme, tmp_path) as (panel, api):
        log = api.logs[FIRST] = WorkerLog()
        log.say("the last words")
        open_page(panel)
        page = panel.chips.details.page
        await until(lambda: FIRST in page._ids)
        page._choose(FIRST)
        await until(lambda: "the last words" in printed(panel))
        api.gone(FIRST)
        await until(lambda: any("its log with it" in text for text in texts(page.log)))
        assert "the last words" in printed(panel)


@on_loop
async def test_its_buttons_do_what_the_popovers_did(theme: Theme, tmp_path: Path) -> None:
    async with with_account(theme, tmp_path) as (panel, api):
        open_page(panel)
        page = panel.chips.details.page
        button(page, "Change…").click()
        await until(lambda: panel.window.findChildren(EndpointForm))
        panel.window.findChildren(EndpointForm)[0].reject()
        await settled()
        before = len([each for each in api.asked if each.endswith("/workers")])
        button(page, "Check now").click()
        await until(lambda: len([each for each in api.asked if each.endswith("/workers")]) > before)


@on_loop
async def test_times_by_workflow_are_told(theme: Theme, tmp_path: Path) -> None:
    ran = [made(n, "hello", State.DONE, waited=n, ran=10 + n, ago=60 * n) for n in range(1, 12)]
    async with opened(theme, tmp_path, ran) as panel:
        page = panel.chips.details.page
        panel.chips.details._days_s = 10 * 365 * 86_400.0
        panel.chips.details.open(ENDPOINT)
        await until(lambda: "hello" in " ".join(texts(page.times)))
        said = " ".join(texts(page.times))
        assert "11" in said, said
        assert "16 s" in said, said
