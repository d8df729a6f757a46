"""The Settings page: keys are tested and kept, endpoints chosen, values saved, and where each comes from."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keyring.backends.fail
import pytest
import yaml
from aiohttp import web
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QLineEdit, QWidget

from app.account_desk import AccountDesk
from app.account_watch import AccountPace, AccountWatch
from app.errors import Problem
from app.settings import Secret, Settings, from_environment, save_settings
from app.ui.settings.editors import LimitField, PathField, SegmentsField, SwitchField, TextField
from app.ui.settings.listed import ListedEditor
from app.ui.settings.page import SettingsPage
from app.ui.tasks import TaskScope
from app.ui.theme import Theme
from app.vault import NAMES
from tests.gui.checks import faults, shown
from tests.gui.harness import on_loop, settled, until
from tests.keyrings import MemoryKeyring, using
from tests.unit.endpoint.management import ENDPOINT, KEY, Management, managing

API_KEY = "runpod_api_key"
WRONG = "rpa_NOTTHEONE0123456789"
OTHER = "https://somewhere.example"
#: They are chosen elsewhere.
_ELSEWHERE = {"target", "welcomed", "routing", "comfyui_env"}


class Watch(AccountWatch):
    """Knows whether it looks."""

    looks = True

    async def _look(self) -> float | None:
        self.looks = True
        try:
            return await super()._look()
        finally:
            self.looks = False


class Around:
    """What the panel is to the page."""

    def __init__(self, theme: Theme, *, with_door: bool) -> None:
        self.settings = Settings.load()
        self.problems: list[Problem] = []
        self.scope = TaskScope("page", self.problems.append)
        door = AccountDesk(lambda: self.settings, self._use) if with_door else None
        self.page = SettingsPage(
            theme, lambda: self.settings, self._change, self.scope, from_environment(), self._fits, door
        )
        self.watch = Watch(self.settings, pace=AccountPace(600, 600, 600))
        self.watch.watch(self.page.show_account)
        self.page.account_wanted.connect(self.watch.look_now)

    def _use(self, name: str, secret: Secret) -> None:
        self.settings = replace(self.settings, **{name: secret})
        self.watch.use(self.settings)
        self.page.show_account(self.watch.status)

    async def _change(self, values: dict[str, Any]) -> None:
        save_settings(self.settings.config_file, values)
        keys = {name: getattr(self.settings, name) for name in NAMES}
        self.settings = replace(Settings.load(), **keys)

    async def _fits(self, path: Path) -> str:
        return "" if (path / "main.py").exists() else "There is no main.py."

    async def idle(self) -> None:
        def rests() -> bool:
            return not (self.scope._tasks or self.watch.looks or self.watch._wanted.is_set())

        await until(rests)
        await settled()
        await until(rests)


@asynccontextmanager
async def opened(
    theme: Theme, api: Management | None = None, *, with_door: bool = True
) -> AsyncIterator[Around]:
    if api is not None:
        os.environ["RUNPOD_API_BASE_URL"] = api.url
    around = Around(theme, with_door=with_door)
    looking = asyncio.create_task(around.watch.run())
    theme.style()
    around.page.resize(1248, 800)
    around.page.show()
    await around.idle()
    try:
        yield around
        assert around.problems == []
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await around.scope.close()
        around.page.close()
        around.page.deleteLater()
        os.environ.pop("RUNPOD_API_BASE_URL", None)


def in_file(home: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((home / "data" / "settings.yaml").read_text("utf-8")))


def put_in_file(home: Path, **values: Any) -> None:
    save_settings(home / "data" / "settings.yaml", values)


async def enter(around: Around, name: str, text: str) -> None:
    """Type a key and press Enter."""
    field = around.page.keys[name].editor.field
    field.clear()
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Qt.Key.Key_Return)
    await around.idle()


async def type_in(around: Around, name: str, text: str) -> None:
    editor = around.page.entries[name].editor
    assert isinstance(editor, TextField)
    editor.field.setText(text)
    editor.field.editingFinished.emit()
    await around.idle()


def said(part: QWidget) -> str:
    return " | ".join(each.text() for each in part.findChildren(QLabel) if each.isVisible())


# -- the API key --------------------------------------------------------------------------------------


@on_loop
async def test_a_key_that_works_is_tested_kept_and_in_force(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        async with managing() as api, opened(theme, api) as around:
            key = around.page.keys[API_KEY]
            assert "RUNPOD_API_KEY · not set" in said(key)
            assert not key.editor.button.isEnabled()
            await enter(around, API_KEY, KEY)
            # The test, and what there is with this key.
            assert sorted(api.asked) == ["GET catalog/gpus", "GET serverless", "GET serverless"]
            assert ring.kept == {API_KEY: KEY}
            assert around.settings.runpod_api_key.reveal() == KEY
            assert around.page._account.status == "Connected · 1 endpoint"
            assert "RUNPOD_API_KEY · from the keyring" in said(key)
            assert key.editor.field.text() == ""
            assert key.editor.field.placeholderText() == "rpa_••••••••6789"
            assert key.editor.forget.isVisible()
            assert faults(around.page) == []


@on_loop
async def test_a_key_that_runpod_refuses_is_not_kept(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        async with managing() as api, opened(theme, api) as around:
            key = around.page.keys[API_KEY]
            await enter(around, API_KEY, WRONG)
            assert "RunPod does not accept the API key. It may be mistyped or revoked." in said(key)
            assert key.editor.field.property("wrong") == "true"
            assert (ring.kept, bool(around.settings.runpod_api_key)) == ({}, False)
            assert not key.anyway.isVisible()
            # What was typed stays, to be corrected; the sentence goes with the first letter.
            assert key.editor.field.text() == WRONG
            QTest.keyClicks(key.editor.field, "x")
            assert not key.is_wrong
            await enter(around, API_KEY, "two words")
            assert "A key is one word without blanks." in said(key)


@on_loop
async def test_a_refused_new_key_says_nothing_about_the_one_in_force(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = KEY
        async with managing() as api, opened(theme, api) as around:
            assert around.page._account.status == "Connected · 1 endpoint"
            await enter(around, API_KEY, WRONG)
            assert around.page.keys[API_KEY].is_wrong
            assert around.page._account.status == "Connected · 1 endpoint"
            assert around.settings.runpod_api_key.reveal() == KEY
            assert ring.kept == {API_KEY: KEY}


@on_loop
async def test_without_an_answer_a_key_is_kept_only_when_the_user_says_so(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        async with managing() as api, opened(theme, api) as around:
            key = around.page.keys[API_KEY]
            api.first += [web.Response(status=503), web.Response(status=503)]
            await enter(around, API_KEY, KEY)
            assert "The key is not kept." in said(key)
            assert ring.kept == {}
            key.anyway.click()
            await around.idle()
            assert ring.kept == {API_KEY: KEY}
            assert not key.anyway.isVisible()
            assert not key.is_wrong


@on_loop
async def test_the_key_in_force_is_tested_by_the_button(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = WRONG
        async with managing() as api, opened(theme, api) as around:
            key = around.page.keys[API_KEY]
            assert around.page._account.status == ""
            key.editor.button.click()
            await around.idle()
            assert "RunPod does not accept the API key." in said(key)
            assert not key.anyway.isVisible()


@on_loop
async def test_a_key_of_the_environment_wins_and_cannot_be_changed_here(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = WRONG
        async with managing() as api, opened(theme, api) as around:
            key = around.page.keys[API_KEY]
            assert key.editor.field.isReadOnly()
            assert key.editor.field.toolTip() == "From the environment (RUNPOD_API_KEY)"
            assert "RUNPOD_API_KEY · from the environment" in said(key)
            assert not key.editor.forget.isVisible()
            assert around.settings.runpod_api_key.reveal() == KEY
            key.editor.button.click()
            await around.idle()
            assert around.page._account.status == "Connected · 1 endpoint"


@on_loop
async def test_without_a_keyring_the_user_is_told_what_to_do(theme: Theme, home: Path) -> None:
    with using(keyring.backends.fail.Keyring()):  # type: ignore[no-untyped-call]
        async with managing() as api, opened(theme, api) as around:
            key = around.page.keys[API_KEY]
            await enter(around, API_KEY, KEY)
            assert (
                "This computer has no keyring that keys can be kept in. Set RUNPOD_API_KEY in the "
                "environment instead. The key is used for as long as this program runs."
            ) in said(key)
            assert "RUNPOD_API_KEY · for this session only" in said(key)
            assert around.settings.runpod_api_key.reveal() == KEY
            key.editor.forget.click()
            await around.idle()
            assert not around.settings.runpod_api_key
            assert "RUNPOD_API_KEY · not set" in said(key)


@on_loop
async def test_a_key_is_forgotten(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = KEY
        async with managing() as api, opened(theme, api) as around:
            key = around.page.keys[API_KEY]
            key.editor.forget.click()
            await around.idle()
            assert (ring.kept, bool(around.settings.runpod_api_key)) == ({}, False)
            assert around.page._account.status == ""
            assert key.editor.field.placeholderText() == "Paste the key"
            assert not around.page._known.endpoint.editor.choice.isEnabled()
            assert around.page._known.endpoint.editor.choice.toolTip() == "Enter the API key first"


@on_loop
async def test_s3_keys_are_kept_without_a_test(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        async with managing() as api, opened(theme, api) as around:
            line = around.page.keys["runpod_s3_access_key"]
            assert "RunPod's S3 keys are separate from the API key." in said(line)
            await enter(around, "runpod_s3_access_key", "user_ACCESS0123456789")
            await enter(around, "runpod_s3_secret_key", "rps_SECRET0123456789")
            assert sorted(ring.kept) == ["runpod_s3_access_key", "runpod_s3_secret_key"]
            assert around.settings.runpod_s3_secret_key.reveal() == "rps_SECRET0123456789"
            assert "RUNPOD_S3_ACCESS_KEY · from the keyring" in said(line)
            assert api.asked == []


@on_loop
async def test_no_key_is_in_any_text_of_the_page(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        async with managing() as api, opened(theme, api) as around:
            field = around.page.keys[API_KEY].editor.field
            QTest.keyClicks(field, KEY)
            assert field.echoMode() is QLineEdit.EchoMode.Password
            assert KEY not in _texts(around.page)
            await enter(around, API_KEY, KEY)
            assert ring.kept
            assert KEY not in _texts(around.page)
            assert KEY[4:-4] not in _texts(around.page)


def _texts(page: QWidget) -> str:
    texts = []
    for each in shown(page):
        texts += [each.toolTip(), each.accessibleName(), each.accessibleDescription()]
        interface = QAccessible.queryAccessibleInterface(each)
        if interface is not None:
            kinds = (QAccessible.Text.Name, QAccessible.Text.Value, QAccessible.Text.Description)
            texts += [interface.text(kind) for kind in kinds]
        if isinstance(each, QLineEdit):
            texts += [each.displayText(), each.placeholderText()]
    return "\n".join(texts)


@on_loop
async def test_the_eye_shows_only_what_is_typed(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = KEY
        async with managing() as api, opened(theme, api) as around:
            field = around.page.keys[API_KEY].editor.field
            assert not field.eye.isVisible()
            QTest.keyClicks(field, "rpa_new")
            assert field.eye.accessibleName() == "Show what is typed"
            field.eye.click()
            assert field.displayText() == "rpa_new"
            assert field.eye.accessibleName() == "Hide what is typed"
            field.clear()
            assert (field.eye.isVisible(), field.echoMode()) == (False, QLineEdit.EchoMode.Password)


@on_loop
async def test_without_an_account_desk_the_page_says_so(theme: Theme, home: Path) -> None:
    async with opened(theme, with_door=False) as around:
        key = around.page.keys[API_KEY]
        assert key.editor.field.isReadOnly()
        assert key.editor.button.toolTip() == "Not available"
        assert around.page._known.endpoint.editor.plain.isVisible()


# -- the endpoint -------------------------------------------------------------------------------------


@on_loop
async def test_an_endpoint_is_chosen_by_its_name(theme: Theme, home: Path) -> None:
    put_in_file(home, runpod_endpoint_id="ep-one", target="ep-one")
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = KEY
        async with managing() as api:
            api.endpoints |= {
                "ep-two": {**ENDPOINT, "id": "ep-two", "name": "comfy-wan"},
                "ep-lb": {**ENDPOINT, "id": "ep-lb", "name": "other", "type": "LOAD_BALANCER"},
            }
            async with opened(theme, api) as around:
                choice = around.page._known.endpoint.editor.choice
                assert [choice.itemText(n) for n in range(choice.count())] == ["comfy-flux", "comfy-wan"]
                assert choice.currentText() == "comfy-flux"
                choice.setCurrentIndex(1)
                choice.activated.emit(1)
                await around.idle()
                assert around.settings.runpod_endpoint_id == "ep-two"
                # It was where workflows run; it follows.
                assert (in_file(home)["runpod_endpoint_id"], in_file(home)["target"]) == ("ep-two", "ep-two")
                del api.endpoints["ep-two"]
                around.page._known.endpoint.editor.refresh.click()
                await around.idle()
                assert choice.currentText() == "ep-two (not found)"


@on_loop
async def test_without_the_list_an_id_can_be_typed(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = WRONG
        async with managing() as api, opened(theme, api) as around:
            line = around.page._known.endpoint
            assert "RunPod does not accept the API key." in said(line)
            assert line.editor.plain.isVisible()
            line.editor.plain.field.setText("ep-typed")
            line.editor.plain.field.editingFinished.emit()
            await around.idle()
            assert in_file(home)["runpod_endpoint_id"] == "ep-typed"
            await enter(around, API_KEY, KEY)
            assert line.editor.choice.isVisible()
            assert "RunPod does not accept" not in said(line)


# -- all settings -------------------------------------------------------------------------------------


@on_loop
async def test_every_setting_is_here_with_its_variable_and_its_origin(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFY_RUNPOD_TEXT_SIZE", "110")
    put_in_file(home, runpod_endpoint_id="ep-one")
    async with opened(theme, with_door=False) as around:
        page = around.page
        names = {each.name for each in dataclasses.fields(Settings)}
        assert {*page.entries, *page.keys} == names - _ELSEWHERE
        said_of = {name: said(line) for name, line in page.rows.items()}
        assert "RUNPOD_ENDPOINT_ID · from the settings file" in said_of["runpod_endpoint_id"]
        assert "COMFY_RUNPOD_TEXT_SIZE · from the environment" in said_of["text_size"]
        assert "EXECUTION_TIMEOUT · default" in said_of["execution_timeout_s"]
        assert "COMFY_RUNPOD_DATA · from the environment" in said_of["data_dir"]
        assert all(line._origin.isVisible() for line in page.rows.values())


@on_loop
async def test_the_search_finds_titles_sentences_variables_and_origins(theme: Theme, home: Path) -> None:
    put_in_file(home, workers=2)
    async with opened(theme, with_door=False) as around:
        page = around.page

        def found(words: str) -> list[str]:
            page.search.setText(words)
            everything = {**page.rows, **page.keys}
            return [name for name, line in everything.items() if line.isVisible()]

        assert found("daily") == ["daily_limit_usd"]
        assert found("hyphens") == []
        assert "No setting has these words." in said(page)
        assert found("without starting a worker") == ["runpod_s3_access_key"]
        assert found("comfy_runpod_motion") == ["motion"]
        assert found("from the settings file workers") == ["workers"]
        assert len(found("")) == len(page.rows) + len(page.keys)


@on_loop
async def test_what_the_environment_decides_is_read_only(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "COMFYUI_DIR": str(home), "EXECUTION_TIMEOUT": "120", "COMFY_RUNPOD_DAILY_LIMIT": "7",
        "COMFY_RUNPOD_TRAY": "yes", "COMFY_RUNPOD_APPEARANCE": "light",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    async with opened(theme, with_door=False) as around:
        editors = {name: entry.editor for name, entry in around.page.entries.items()}
        folder, limit, tray = editors["comfyui_dir"], editors["daily_limit_usd"], editors["tray"]
        assert isinstance(folder, PathField)
        assert isinstance(limit, LimitField)
        assert isinstance(tray, SwitchField)
        assert isinstance(editors["appearance"], SegmentsField)
        assert folder.field.isReadOnly()
        assert folder.field.toolTip() == "From the environment (COMFYUI_DIR)"
        assert not folder.button.isEnabled()
        assert (limit.field.text(), limit.field.isReadOnly(), limit.switch.isEnabled()) == (
            "$ 7.00",
            True,
            False,
        )
        assert (tray.switch.isChecked(), tray.switch.isEnabled()) == (True, False)
        assert editors["appearance"].segments.key() == "light"
        assert not editors["appearance"].segments.isEnabled()
        limit.field.setText("$ 8.00")
        limit.field.editingFinished.emit()
        await around.idle()
        assert "daily_limit_usd" not in in_file(home)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("execution_timeout_s", "0"),
        ("execution_timeout_s", "ten"),
        ("execution_timeout_s", "nan"),
        ("execution_timeout_s", "99999"),
        ("execution_timeout_s", "0.05"),
        ("job_ttl_s", "0"),
        ("job_ttl_s", "168.1"),
        ("health_interval_s", "0"),
        ("docker_registry", "https://ghcr.io"),
        ("docker_image", "Comfy"),
        ("docker_tag", "v 1"),
        ("docker_program", "/nowhere/docker"),
        ("workers", "1.5"),
        ("workers", "0"),
        ("runpod_s3_url", "s3.example.com"),
        ("runpod_datacenter", "EU RO 1"),
        ("comfyui_args", "--directory 'open"),
        ("comfyui_url", "127.0.0.1:8188"),
        ("comfyui_dir", "/nowhere"),
    ],
)
def test_a_wrong_value_is_said_and_the_old_one_stays(theme: Theme, home: Path, name: str, text: str) -> None:
    @on_loop
    async def look() -> None:
        async with opened(theme, with_door=False) as around:
            before = getattr(around.settings, name)
            file = in_file(home)
            entry, line = around.page.entries[name], around.page.rows[name]
            await type_in(around, name, text)
            assert line.is_wrong
            assert "settings.yaml" not in said(line)
            assert isinstance(entry.editor, TextField)
            assert entry.editor.field.property("wrong") == "true"
            assert entry.editor.field.text() == text
            assert (getattr(around.settings, name), in_file(home)) == (before, file)
            # Another setting is saved meanwhile: the wrong one stays to be corrected.
            await type_in(around, "runpod_s3_url" if name != "runpod_s3_url" else "comfyui_url", OTHER)
            assert line.is_wrong
            assert entry.editor.field.text() == text
            assert faults(around.page) == []
            await type_in(around, name, "")
            assert not line.is_wrong
            assert entry.editor.field.property("wrong") == "false"
            assert (getattr(around.settings, name), in_file(home)) == (
                before,
                {**file, "runpod_s3_url" if name != "runpod_s3_url" else "comfyui_url": OTHER},
            )

    look()


@on_loop
async def test_right_values_are_saved_at_once(theme: Theme, home: Path) -> None:
    async with opened(theme, with_door=False) as around:
        page = around.page
        await type_in(around, "execution_timeout_s", "1.5")
        await type_in(around, "workers", "3")
        await type_in(around, "comfyui_args", "--lowvram --base-directory '/my folder'")
        await type_in(around, "runpod_datacenter", "EU-RO-1")
        for name in ("tray", "motion"):
            switch = page.entries[name].editor
            assert isinstance(switch, SwitchField)
            switch.switch.click()
        await around.idle()
        kept = in_file(home)
        assert kept["execution_timeout_s"] == 90
        assert kept["workers"] == 3
        assert kept["comfyui_args"] == ["--lowvram", "--base-directory", "/my folder"]
        assert (kept["tray"], kept["motion"], kept["runpod_datacenter"]) == (True, "reduced", "EU-RO-1")
        assert "EXECUTION_TIMEOUT · from the settings file" in said(page.rows["execution_timeout_s"])
        await type_in(around, "workers", "")
        assert "workers" not in in_file(home)
        assert page.entries["workers"].editor.field.text() == "1"  # type: ignore[attr-defined]


@on_loop
async def test_the_daily_limit_has_an_amount_and_a_switch(theme: Theme, home: Path) -> None:
    async with opened(theme, with_door=False) as around:
        limit, line = around.page.entries["daily_limit_usd"].editor, around.page.rows["daily_limit_usd"]
        assert isinstance(limit, LimitField)
        assert (limit.switch.isChecked(), limit.field.isEnabled()) == (False, False)
        limit.switch.click()
        await around.idle()
        assert around.settings.daily_limit_usd == 10.0
        for text, amount in (("25", 25.0), ("$ 7.5", 7.5)):
            await type_in(around, "daily_limit_usd", text)
            assert (around.settings.daily_limit_usd, limit.field.text()) == (amount, f"$ {amount:.2f}")
        await type_in(around, "daily_limit_usd", "-3")
        assert "Enter an amount above $ 0." in said(line)
        assert around.settings.daily_limit_usd == 7.5
        await type_in(around, "daily_limit_usd", "8")
        # The amount and, before it is saved, the switch: both count, in their order.
        limit.field.setText("9")
        limit.field.editingFinished.emit()
        limit.switch.click()
        await around.idle()
        assert (around.settings.daily_limit_usd, limit.switch.isChecked()) == (None, False)
        assert limit.field.text() == "$ 9.00"


@on_loop
async def test_what_is_being_typed_stays_when_another_setting_changes(theme: Theme, home: Path) -> None:
    async with opened(theme, with_door=False) as around:
        around.page.activateWindow()
        volume = around.page._known.volume.editor.plain
        address = around.page.entries["comfyui_url"].editor
        assert isinstance(address, TextField)
        for field in (volume.field, address.field):
            field.setFocus()
            await until(field.hasFocus)
            QTest.keyClicks(field, "half a na")
            around.page.show_settings()
            assert field.text() == "half a na"
            field.clear()


@on_loop
async def test_the_sections_are_in_their_order_and_reached_by_the_list(theme: Theme, home: Path) -> None:
    async with opened(theme, with_door=False) as around:
        page = around.page
        heads = [group[0].y() for group in page._sections.values()]
        assert heads == sorted(heads)
        assert list(page._sections) == [
            "runpod", "jobs", "volume", "docker", "comfyui", "appearance", "advanced", "about",
        ]  # fmt: skip
        assert page.nav.marked() == "runpod"
        page.nav.chosen.emit("comfyui")
        assert page.nav.marked() == "comfyui"
        assert page._scroll.verticalScrollBar().value() == page._sections["comfyui"][0].y()
        page.nav.chosen.emit("about")
        assert page.nav.marked() == "about"
        page._scroll.verticalScrollBar().setValue(0)
        assert page.nav.marked() == "runpod"


# -- what the account has -----------------------------------------------------------------------------


@asynccontextmanager
async def connected(theme: Theme, api: Management) -> AsyncIterator[Around]:
    """The page with the account's key in the keyring, at its section of the volume."""
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = KEY
        async with opened(theme, api) as around:
            around.page.nav.chosen.emit("volume")
            await around.idle()
            yield around


def choose(editor: ListedEditor, text: str) -> None:
    number = editor.choice.findText(text)
    assert number >= 0, [editor.choice.itemText(each) for each in range(editor.choice.count())]
    editor.choice.setCurrentIndex(number)
    editor.choice.activated.emit(number)


@on_loop
async def test_the_endpoints_are_asked_for_once_and_volumes_when_they_come_in_sight(
    theme: Theme, home: Path
) -> None:
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = KEY
        async with managing() as api, opened(theme, api) as around:
            assert sorted(api.asked) == ["GET catalog/gpus", "GET serverless"]
            around.page.hide()
            around.page.show()
            around.page.nav.chosen.emit("volume")
            await around.idle()
            assert api.asked[2:] == ["GET network-volumes"]
            around.page._known.endpoint.editor.refresh.click()
            assert not around.page._known.endpoint.editor.refresh.isEnabled()
            await around.idle()
            assert api.asked.count("GET serverless") == 2
            assert around.page._known.endpoint.editor.refresh.isEnabled()


@on_loop
async def test_a_look_that_fails_says_why_and_keeps_what_was_known(theme: Theme, home: Path) -> None:
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = KEY
        async with managing() as api, opened(theme, api) as around:
            line = around.page._known.endpoint
            api.key = "changed"
            line.editor.refresh.click()
            await around.idle()
            assert "RunPod does not accept the API key. It may be mistyped or revoked." in said(line)
            assert line.editor.choice.isVisible()
            assert around.page._account.status == ""


@on_loop
async def test_a_volume_is_chosen_with_its_place(theme: Theme, home: Path) -> None:
    put_in_file(home, runpod_endpoint_id="ep-one")
    async with managing() as api:
        api.volumes.append({"id": "vol2", "name": "far", "size": 50, "dataCenter": "EU-FR-1"})
        async with connected(theme, api) as around:
            line, rows = around.page._known.volume, around.page.rows
            address = around.page.entries["runpod_s3_url"].editor
            assert isinstance(address, TextField)
            choose(line.editor, "models · 100 GB · EU-RO-1")
            await around.idle()
            kept = in_file(home)
            assert (kept["runpod_volume_id"], kept["runpod_datacenter"]) == ("vol1", "EU-RO-1")
            assert address.field.placeholderText() == "https://s3api-eu-ro-1.runpod.io"
            assert "uses" not in said(line)
            choose(line.editor, "far · 50 GB · EU-FR-1")
            await around.idle()
            assert in_file(home)["runpod_datacenter"] == "EU-FR-1"
            assert "comfy-flux uses models instead: its workers do not see this volume." in said(line)
            assert "EU-FR-1 has no S3 access." in said(rows["runpod_datacenter"])
            assert address.field.placeholderText() == "https://"
            await type_in(around, "runpod_datacenter", "EU-RO-1")
            assert "The volume is in EU-FR-1." in said(rows["runpod_datacenter"])
            assert "bucket" not in said(around.page).casefold()
            assert faults(around.page) == []


@on_loop
async def test_a_volumes_id_can_be_typed_that_is_not_in_the_list(theme: Theme, home: Path) -> None:
    async with managing() as api, connected(theme, api) as around:
        editor = around.page._known.volume.editor
        choose(editor, "Another id")
        assert (editor.plain.isVisible(), editor.choice.isVisible()) == (True, False)
        around.page.show_settings()
        assert editor.plain.isVisible()
        editor.plain.field.setText("elsewhere")
        editor.plain.field.editingFinished.emit()
        await around.idle()
        assert in_file(home)["runpod_volume_id"] == "elsewhere"
        assert editor.choice.currentText() == "elsewhere (not found)"
        choose(editor, "Another id")
        editor.refresh.click()
        await around.idle()
        assert editor.choice.isVisible()


@on_loop
async def test_without_the_volumes_an_id_can_be_typed_and_they_are_asked_for_again(
    theme: Theme, home: Path
) -> None:
    async with managing() as api:
        api.refused.add("network-volumes")
        async with connected(theme, api) as around:
            line = around.page._known.volume
            assert line.editor.plain.isVisible()
            assert "The API key is not allowed to do this." in said(line)
            api.refused.clear()
            line.editor.refresh.click()
            await around.idle()
            assert line.editor.choice.isVisible()
            assert "not allowed" not in said(line)


@on_loop
async def test_gpus_are_shown_with_their_prices_the_endpoints_marked(theme: Theme, home: Path) -> None:
    put_in_file(home, runpod_endpoint_id="ep-one")
    with using(MemoryKeyring()) as ring:
        ring.kept[API_KEY] = KEY
        async with managing() as api, opened(theme, api) as around:
            line = around.page._known.gpus
            api.asked.clear()
            line.toggle.click()
            await around.idle()
            assert api.asked == ["GET catalog/gpus?include=AVAILABILITY&product=SERVERLESS"]
            # Two GPUs a worker; one type is excluded; what is in no pool is nothing for an endpoint.
            assert [(each[0], each[1], each[4]) for each in line.table.texts] == [
                ("✓", "RTX 4090", "$0.00061 / s"), ("", "L40", "$0.00106 / s"), ("✓", "L40S", "$0.00110 / s"),
                ("✓", "RTX 6000 Ada", "–"),
            ]  # fmt: skip
            assert "of a worker with 2 GPUs, the cheapest first." in said(line)
            assert "The tick marks what comfy-flux may get." in said(line)
            assert faults(around.page) == []
            api.key = "changed"
            line.refresh.click()
            await around.idle()
            assert "RunPod does not accept the API key." in said(line)
            line.toggle.click()
            assert not line.table.isVisible()


@on_loop
async def test_beside_somebody_elses_job_api_nothing_is_asked(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", "http://127.0.0.1:9/v2")
    with using(MemoryKeyring()):
        async with opened(theme) as around:
            known = around.page._known
            assert known.endpoint.editor.plain.isVisible()
            assert known.volume.editor.plain.isEnabled()
            assert not known.gpus.toggle.isEnabled()


# -- Docker -------------------------------------------------------------------------------------------


@on_loop
async def test_the_name_that_is_pushed_follows_its_parts(theme: Theme, home: Path) -> None:
    async with opened(theme, with_door=False) as around:
        page = around.page
        shown_name = page._pushed.name.field
        assert (shown_name.text(), shown_name.isReadOnly()) == ("curryberto/comfyui-serverless:latest", True)
        assert "never latest" in said(page._pushed)
        await type_in(around, "docker_registry", "ghcr.io/someone")
        await type_in(around, "docker_tag", "v2")
        assert shown_name.text() == "ghcr.io/someone/comfyui-serverless:v2"
        assert "DOCKER_TAG · from the settings file" in said(page.rows["docker_tag"])
        program = home / "docker"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        await type_in(around, "docker_program", str(program))
        assert in_file(home)["docker_program"] == str(program)
