"""Keys: the keyring, the environment before it, and that no key comes to light."""

from __future__ import annotations

import asyncio
import io
import logging
import sqlite3
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keyring.errors
import pytest
from keyring.backends import fail, null

from app import vault
from app.commands import account as commands
from app.errors import BadInput, NeedsSetup
from app.jobs.model import JobSpec
from app.main import log_to_file
from app.services import RunPodTarget, Services
from app.settings import Secret, Settings, entered_key, hide, save_settings
from app.vault import NAMES, NoKeyring, forget, read, with_keys, write
from tests.keyrings import MemoryKeyring, using

IN_KEYRING, IN_ENVIRONMENT = "rpa_INTHEKEYRING0123456789", "rpa_INTHEENVIRONMENT0123456789"


@pytest.fixture
def memory() -> Iterator[MemoryKeyring]:
    with using(MemoryKeyring()) as backend:
        yield backend


def load(tmp_path: Path, **env: str) -> Settings:
    env = {"COMFY_RUNPOD_DATA": str(tmp_path), "COMFY_RUNPOD_CONFIG": str(tmp_path / "settings.yaml"), **env}
    return Settings.load(env=env)


def test_what_is_written_is_read_until_it_is_forgotten(memory: MemoryKeyring) -> None:
    assert read("runpod_api_key") is None
    assert write("runpod_api_key", Secret(IN_KEYRING)) == "in memory"
    secret = read("runpod_api_key")
    assert secret is not None
    assert secret.reveal() == IN_KEYRING
    assert IN_KEYRING not in f"{secret!r}{secret}"
    assert (forget("runpod_api_key"), forget("runpod_api_key")) == (True, False)
    assert read("runpod_api_key") is None


def test_the_environment_wins_and_the_keyring_is_not_even_asked(
    memory: MemoryKeyring, tmp_path: Path
) -> None:
    memory.kept = dict.fromkeys(NAMES, IN_KEYRING)
    settings = load(tmp_path, RUNPOD_API_KEY=IN_ENVIRONMENT)
    assert with_keys(settings, vault.API_KEY) is settings
    assert memory.asked == 0
    assert with_keys(settings).runpod_api_key.reveal() == IN_ENVIRONMENT
    assert with_keys(settings).runpod_s3_secret_key.reveal() == IN_KEYRING
    assert with_keys(load(tmp_path)).runpod_api_key.reveal() == IN_KEYRING


@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring])
def test_without_a_keyring_the_way_is_the_environment(backend: type, tmp_path: Path) -> None:
    settings = load(tmp_path)
    with using(backend()):
        with pytest.raises(NoKeyring) as caught:
            write("runpod_api_key", Secret(IN_KEYRING))
        assert with_keys(settings) is settings
    assert caught.value.hint == "Set RUNPOD_API_KEY in the environment instead."
    assert IN_KEYRING not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"


def test_a_locked_a_broken_and_a_silent_keyring_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(MemoryKeyring):
        error: Exception | None = None

        def get_password(self, service: str, username: str) -> str | None:
            if self.error is None:
                threading.Event().wait(0.5)
                return None
            raise self.error

    monkeypatch.setattr(vault, "_LIMIT_S", 0.05)
    with using(Odd()) as odd:
        with pytest.raises(NoKeyring, match="did not answer"):
            read("runpod_api_key")
        odd.error = keyring.errors.KeyringLocked()
        with pytest.raises(NoKeyring, match="locked"):
            read("runpod_api_key")
        odd.error = OSError(f"of the bus, with {IN_KEYRING}")
        with pytest.raises(NoKeyring, match=r"cannot be used \(OSError\)") as caught:
            read("runpod_api_key")
    assert IN_KEYRING not in repr(caught.value)


@pytest.mark.parametrize("wrong", ["", "  ", "two words", "ümlaut", "a\tb", "a\x00b"])
def test_what_cannot_be_a_key_is_refused(wrong: str) -> None:
    with pytest.raises(BadInput):
        entered_key(wrong)
    assert entered_key(f" {IN_KEYRING}\n").reveal() == IN_KEYRING


async def test_a_target_takes_the_key_from_the_keyring_once(memory: MemoryKeyring, tmp_path: Path) -> None:
    target = RunPodTarget("some-endpoint", load(tmp_path))
    with pytest.raises(NeedsSetup, match="No RunPod API key"):
        await target.client()
    memory.kept["runpod_api_key"] = IN_KEYRING
    asked = memory.asked
    client = await target.client()
    assert await target.client() is client
    assert memory.asked == asked + 1
    await target.close()


async def test_services_ask_for_the_s3_key_only_when_there_is_a_volume(
    memory: MemoryKeyring, tmp_path: Path
) -> None:
    memory.kept = dict.fromkeys(NAMES, IN_KEYRING)
    settings = load(tmp_path)
    await (await Services.start(settings)).close()
    assert memory.asked == 0
    await (await Services.start(replace(settings, runpod_volume_id="v"))).close()
    assert memory.asked == 2


# -- no key comes to light -----------------------------------------------------------------------------


async def test_no_key_is_in_logs_database_settings_or_errors(
    memory: MemoryKeyring, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key in the environment, one in the keyring, one typed; everything that is written is searched."""
    typed = "rpa_TYPEDBYSOMEBODY0123456789"
    planted = [IN_KEYRING, IN_ENVIRONMENT, typed]
    memory.kept = dict.fromkeys(NAMES, IN_KEYRING)
    settings = load(
        tmp_path,
        RUNPOD_API_KEY=IN_ENVIRONMENT,
        RUNPOD_VOLUME_ID="v",
        RUNPOD_API_BASE_URL="http://127.0.0.1:9",
    )
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    log_to_file(settings)  # as the window does, before any keyring is asked
    try:
        root.setLevel(logging.DEBUG)
        services = await Services.start(settings)
        try:
            spec = JobSpec(name="w", target="some-endpoint", prompt={"1": {}}, output_dir=str(tmp_path / "o"))
            await services.store.add(spec)
        finally:
            await services.close()
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{typed}\n"))
        assert await commands.key(_arguments("set"), settings) == 0
        assert memory.kept["runpod_api_key"] == typed
        with pytest.raises(Exception, match="cannot be reached") as caught:
            await commands.key(_arguments("test"), settings)
        save_settings(settings.config_file, {"target": "demo"})
        for key in planted:
            logging.getLogger("some.library").warning("header: Bearer %s", key)
            try:
                int(f"with {key}")
            except ValueError:
                logging.getLogger("some.library").exception("failed")
    finally:
        for handler in [each for each in root.handlers if each not in before]:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)
    shown = capsys.readouterr()
    texts = [shown.out, shown.err, repr(caught.value), repr(settings)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"panel.log", "jobs.sqlite", "settings.yaml"} <= {path.name for path in files}
    assert "Bearer ***" in (tmp_path / "logs" / "panel.log").read_text()
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        texts += list(database.iterdump())
    database.close()
    for key in planted:
        assert not [text for text in texts if key in text]
        assert not [path for path in files if key.encode() in path.read_bytes()]


def _arguments(action: str) -> object:
    import argparse

    return argparse.Namespace(action=action, which="api", json=False)


def test_a_secret_that_is_hidden_late_is_kept_out_too(tmp_path: Path) -> None:
    from app.settings import RedactingFilter

    redacting = RedactingFilter(load(tmp_path))
    late = "rpa_FOUNDLATER0123456789"
    hide(Secret(late))
    hide(Secret(late + "andlonger"))
    hide(Secret(""))
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s %s", (late, late + "andlonger"), None)
    assert redacting.filter(record)
    assert record.getMessage() == "*** ***"


def test_the_library_is_not_loaded_before_it_is_needed() -> None:
    async def loaded() -> str:
        names = "'keyring' in sys.modules, 'requests' in sys.modules"
        code = f"import sys, app.services, app.commands.endpoint; print({names})"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE
        )
        return (await process.communicate())[0].decode().strip()

    assert asyncio.run(loaded()) == "False False"
