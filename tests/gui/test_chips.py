"""The top bar's places and chips: the account's endpoints, an endpoint's settings and repair, the spend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from PySide6.QtCore import QSize
from PySide6.QtWidgets import QApplication, QPushButton, QWidget

from app.account_watch import Listed
from app.endpoint.account_model import Endpoint
from app.endpoint.prices import Rate
from app.panel import Panel
from app.settings import Secret
from app.ui.frame.endpoint_form import EndpointForm
from app.ui.frame.run_bars import RunBars
from app.ui.frame.topbar import MenuRow
from app.ui.theme import Theme
from app.ui.widgets.basics import Button, Text
from app.ui.widgets.floating import Question
from tests.gui.harness import on_loop, settled, until
from tests.gui.scenes import ACCOUNT, ENDPOINT, SMALL, opened, scene
from tests.unit.endpoint.management import KEY, Management, managing


@asynccontextmanager
async def with_account(theme: Theme, folder: Path) -> AsyncIterator[tuple[Panel, Management]]:
    """A window whose account is a management API on loopback, looked at."""
    async with managing() as api:
        more = {"runpod_api_url": api.url, "runpod_api_key": Secret(KEY), "runpod_endpoint_id": "ep-one"}
        async with opened(theme, folder, target="ep-one", **more) as panel:
            panel.scope.start(panel.chips.account.run(), "account")
            await until(lambda: panel.chips.account.status.endpoints)
            await settled()
            yield panel, api


def popup() -> QWidget:
    found = QApplication.activePopupWidget()
    assert found is not None
    return found


def texts(widget: QWidget) -> list[str]:
    return [each.text().replace("\u200b", "") for each in widget.findChildren(Text) if each.text()]


def button(widget: QWidget, text: str) -> QPushButton:
    return next(each for each in widget.findChildren(Button) if each.text().strip() == text)


@on_loop
async def test_the_accounts_endpoints_are_places_and_can_be_chosen(theme: Theme, tmp_path: Path) -> None:
    async with with_account(theme, tmp_path) as (panel, api):
        api.endpoints["ep-two"] = {**api.endpoints["ep-one"], "id": "ep-two", "name": "second"}
        panel.window.topbar.open_targets()
        button_of = {row.accessibleName(): row for row in popup().findChildren(MenuRow)}
        there = next(name for name in button_of if name.startswith("comfy-flux, "))
        assert "ADA_24 or ADA_48_PRO · up to 3 workers · $" in there
        assert there.endswith(", in force")
        refresh = next(row for name, row in button_of.items() if name.startswith("Refresh endpoints"))
        refresh.click()
        await until(lambda: "ep-two" in panel.chips.account.status.endpoints)
        panel.window.topbar.open_targets()
        file = panel.settings.config_file
        next(r for r in popup().findChildren(MenuRow) if r.accessibleName().startswith("second")).click()
        await until(file.exists)
        kept = yaml.safe_load(file.read_text())
        assert (kept["target"], kept["runpod_endpoint_id"]) == ("ep-two", "ep-two")


@on_loop
async def test_an_endpoint_that_runpod_switched_off_is_explained_and_mended(
    theme: Theme, tmp_path: Path
) -> None:
    async with with_account(theme, tmp_path) as (panel, api):
        api.endpoints["ep-one"]["workers"] = {"min": 0, "max": 0, "idleTimeout": 5}
        panel.chips.account.look_now()
        await until(lambda: panel.chips.account.status.endpoints["ep-one"].is_off)
        panel.chips.show_endpoint(panel.chips.health.status)
        assert panel.window.topbar.endpoint.text.startswith("Switched off")
        panel.window.topbar.endpoint.clicked.emit()
        assert any("no job runs. RunPod does that after 7 days" in text for text in texts(popup()))
        button(popup(), "Allow 3 workers").click()
        await until(lambda: api.endpoints["ep-one"]["workers"]["max"] == 3)
        await until(lambda: not panel.chips.account.status.endpoints["ep-one"].is_off)


@on_loop
async def test_the_popover_tells_the_roll_out_and_the_price(theme: Theme, tmp_path: Path) -> None:
    async with with_account(theme, tmp_path) as (panel, _):
        panel.window.topbar.endpoint.clicked.emit()
        await until(lambda: any(" workers on version " in text for text in texts(popup())))
        assert any(text.endswith("/ s per worker") for text in texts(popup()))


@on_loop
async def test_workers_idle_time_and_image_are_changed_with_the_price_stated(
    theme: Theme, tmp_path: Path
) -> None:
    async with with_account(theme, tmp_path) as (panel, api):
        panel.scope.start(panel.chips._change("ep-one"), "change")
        await until(lambda: panel.window.findChildren(EndpointForm))
        (form,) = panel.window.findChildren(EndpointForm)
        assert not form.change_button.isEnabled()
        form.least.setValue(1)
        assert "1 worker is always on and charged also when nothing runs, at most $" in form.terms_text
        form.least.setValue(9)
        assert not form.change_button.isEnabled()
        form.least.setValue(1)
        form.idle.setValue(60)
        form.change_button.click()
        await until(lambda: api.endpoints["ep-one"]["workers"] == {"min": 1, "max": 3, "idleTimeout": 60})
        assert api.endpoints["ep-one"]["image"] == "someone/comfy:1"
        await until(lambda: [n for n in panel.notices.all if n.title == "comfy-flux changed"])


@on_loop
async def test_what_runpod_has_against_a_change_is_told(theme: Theme, tmp_path: Path) -> None:
    async with with_account(theme, tmp_path) as (panel, api):
        panel.scope.start(panel.chips._change("ep-one"), "change")
        await until(lambda: panel.window.findChildren(EndpointForm))
        (form,) = panel.window.findChildren(EndpointForm)
        api.endpoints.clear()
        form.most.setValue(5)
        form.change_button.click()
        await until(lambda: any("no such endpoint" in n.text + n.title for n in panel.notices.all))


@on_loop
async def test_the_form_leaves_alone_what_was_not_touched(theme: Theme, tmp_path: Path) -> None:
    async with opened(theme, tmp_path) as panel:
        listed = Listed(Endpoint("e", "name", image="a:1", workers_min=0, workers_max=2, idle_timeout_s=5))
        form = EndpointForm(theme, panel.window, replace(listed, rate=Rate(0.001)), 2)
        assert form.changes() == {}
        form.image.setText(" a:2 ")
        assert form.changes() == {"image": "a:2"}
        assert form.terms_text.endswith("2 jobs are running and finish on the old image.")
        form.image.setText("")
        assert not form.change_button.isEnabled()
        form.most.setValue(0)
        assert form.terms_text.startswith("No worker may start: no job runs, and nothing is charged.")
        form.reject()


@on_loop
async def test_the_latest_runs_are_drawn_and_told(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        panel.window.topbar.endpoint.clicked.emit()
        (bars,) = popup().findChildren(RunBars)
        assert bars.accessibleName().startswith("The last 24 runs: Half of the last 24 at most: ")
        colours = {bars.grab().toImage().pixelColor(x, 46).name() for x in range(200)}
        assert theme.color("blue_bar").name() in colours
        assert any(text.startswith("Half of the last 24 at most: ") for text in texts(popup()))


@on_loop
async def test_clearing_the_queue_asks_and_means_what_waits_there(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        panel.window.topbar.endpoint.clicked.emit()
        button(popup(), "Clear queue…").click()
        await until(lambda: panel.window.findChildren(Question))
        (question,) = panel.window.findChildren(Question)
        assert question.windowTitle() == "Cancel 4 waiting jobs?"
        question.reject()


@on_loop
async def test_the_spend_of_today_is_in_the_top_bar_and_its_parts_below(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        chip = panel.window.topbar.spend
        assert chip.isVisible()
        shown = chip.text.split()[0]
        assert float(shown.removeprefix("$")) > 0.1
        chip.clicked.emit()
        told = texts(popup())
        assert told[:3] == ["Spend on RunPod", shown, "today"]
        assert {"By workflow", "By endpoint", ENDPOINT, "Estimate, RunPod's bill decides."} <= set(told)


@pytest.mark.parametrize(("limit", "role"), [(None, "text"), (100.0, "text"), (0.45, "amber"), (0.1, "red")])
def test_the_chip_turns_amber_near_the_limit_and_red_at_it(
    theme: Theme, tmp_path: Path, limit: float | None, role: str
) -> None:
    @on_loop
    async def look() -> None:
        async with scene("queue_running", theme, tmp_path) as panel:
            panel.settings = replace(panel.settings, daily_limit_usd=limit)
            panel.chips._show_spend()
            first = panel.window.topbar.spend.findChildren(Text)[0]
            assert first.property("role") == role

    look()


@on_loop
async def test_our_figures_are_compared_with_the_bill(theme: Theme, tmp_path: Path) -> None:
    async with with_account(theme, tmp_path) as (panel, _):
        panel.window.topbar.spend.clicked.emit()
        button(popup(), "Compare with the bill").click()
        await until(lambda: any(text.startswith("RunPod billed $") for text in texts(popup())))


@on_loop
async def test_all_chips_fit_into_the_smallest_window(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_min", theme, tmp_path, SMALL) as panel:
        bar = panel.window.topbar
        assert panel.window.size() == QSize(*SMALL)
        parts = [bar.target, bar.comfy, bar.endpoint, bar.spend, bar.bell]
        edges = [(part.x(), part.x() + part.width()) for part in parts]
        assert all(right < left for (_, right), (left, _) in pairwise(edges))
        assert edges[-1][1] <= bar.width() - 16
        assert ACCOUNT.endpoints[ENDPOINT].endpoint.workers_max == 3
