"""The process of the user's ComfyUI: started, found again, stopped, and never another one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.comfyui import supervisor
from app.comfyui.installation import Installation
from app.comfyui.supervisor import Supervisor
from app.errors import NeedsSetup, ProcessFailed

#: Answers `/system_stats` with what it knows; ends at SIGINT unless told not to listen to it.
_MAIN = """
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        known = {"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid()}
        body = json.dumps(known).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

if "--stubborn" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("starting", flush=True)
port = int(sys.argv[sys.argv.index("--port") + 1])
try:
    HTTPServer(("127.0.0.1", port), Handler).serve_forever()
except KeyboardInterrupt:
    print("ended in order", flush=True)
"""
SECRETS = {
    "RUNPOD_API_KEY": "secret-1",
    "RUNPOD_AI_API_KEY": "secret-2",
    "HF_TOKEN": "secret-3",
    "AWS_SECRET_ACCESS_KEY": "secret-4",
    "BUCKET_SECRET_ACCESS_KEY": "secret-5",
    "MY_OWN_PASSWORD": "secret-6",
}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text(_MAIN)
    return Installation.at(folder, Path(sys.executable), ["--cpu"])


@pytest.fixture
def made(installation: Installation, tmp_path: Path) -> Iterator[Supervisor]:
    yield Supervisor(installation, tmp_path / "state")
    state = read_state(tmp_path)
    if state is not None and psutil.pid_exists(state["pid"]):
        process = psutil.Process(state["pid"])
        if str(installation.folder) in " ".join(process.cmdline()):
            process.kill()


def read_state(tmp_path: Path) -> Any:
    path = tmp_path / "state" / "comfyui.json"
    return json.loads(path.read_text()) if path.exists() else None


async def asked(url: str) -> Any:
    def ask() -> Any:
        with urllib.request.urlopen(f"{url}/system_stats", timeout=10) as answer:
            return json.loads(answer.read())

    return await asyncio.to_thread(ask)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# -- installations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["venv", ".venv", "../venv", "../.venv"])
def test_a_venv_in_or_beside_it_is_found(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "base" / "ComfyUI"
    inside = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    python = Path(os.path.normpath(folder / place / inside))
    for path in (folder / "main.py", python):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert Installation.at(folder).python == python
    assert Installation.at(folder, Path("/mine")).python == Path("/mine")


def test_the_windows_portables_python_is_found(tmp_path: Path) -> None:
    for name in ("ComfyUI/main.py", "python_embeded/python.exe"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")
    found = Installation.at(tmp_path / "ComfyUI", args=["--cpu"])
    assert (found.python, found.args) == (tmp_path / "python_embeded" / "python.exe", ("--cpu",))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NeedsSetup, match=r"no main\.py") as caught:
        Installation.at(tmp_path)
    assert "COMFYUI_DIR" in caught.value.hint
    (tmp_path / "main.py").write_text("")
    with pytest.raises(NeedsSetup, match="No Python") as caught:
        Installation.at(tmp_path)
    assert "COMFYUI_PYTHON" in caught.value.hint


# -- its process --------------------------------------------------------------------------------------


async def test_it_is_started_found_again_and_stopped(
    made: Supervisor, installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    url = await made.ensure()
    about = await asked(url)
    assert about["argv"][1:2] + about["argv"][-1:] == ["--disable-auto-launch", "--cpu"]
    assert Path(about["cwd"]) == installation.folder
    assert not [name for name, value in about["env"].items() if name in SECRETS or "secret-" in value]
    assert about["env"]["PYTHONUNBUFFERED"] == "1"
    state = read_state(tmp_path)
    assert (state["pid"], state["url"]) == (about["pid"], url)
    if os.name == "posix":
        assert (tmp_path / "state" / "comfyui.json").stat().st_mode & 0o777 == 0o600

    assert await made.ensure() == url
    later = Supervisor(installation, tmp_path / "state")
    assert await later.ensure() == url
    assert (await asked(url))["pid"] == about["pid"]
    await later.stop()
    assert is_gone(about["pid"])
    assert read_state(tmp_path) is None
    if os.name == "posix":
        assert later.tail() == ["starting", "ended in order"]
    await made.stop()
    await made.stop()


async def test_one_that_crashed_is_started_anew(made: Supervisor) -> None:
    first = await asked(await made.ensure())
    psutil.Process(first["pid"]).kill()
    second = await asked(await made.ensure())
    assert second["pid"] != first["pid"]
    await made.stop()


async def test_one_that_does_not_listen_is_ended_all_the_same(
    installation: Installation, tmp_path: Path
) -> None:
    stubborn = Installation(installation.folder, installation.python, ("--stubborn",))
    started = Supervisor(stubborn, tmp_path / "state")
    pid = (await asked(await started.ensure()))["pid"]
    await started.stop(grace_s=0.1)
    await asyncio.to_thread(psutil.wait_procs, [psutil.Process(pid)] if psutil.pid_exists(pid) else [], 5)
    assert is_gone(pid)


async def test_one_with_other_arguments_is_not_adopted(
    made: Supervisor, installation: Installation, tmp_path: Path
) -> None:
    url = await made.ensure()
    other = Supervisor(Installation(installation.folder, installation.python), tmp_path / "state")
    other_url = await other.ensure()
    assert other_url != url
    await other.stop()
    await made.stop()


@pytest.mark.parametrize("born_s", [-100.0, 100.0])
async def test_another_process_with_its_number_is_neither_adopted_nor_ended(
    made: Supervisor, installation: Installation, tmp_path: Path, born_s: float
) -> None:
    """Process ids are used again. The stranger is this very process."""
    stranger = psutil.Process()
    state = {
        "pid": stranger.pid,
        "url": "http://127.0.0.1:9",
        "born": stranger.create_time() + born_s,
        "folder": str(installation.folder),
        "args": ["--cpu"],
    }
    path = tmp_path / "state" / "comfyui.json"
    path.parent.mkdir()
    path.write_text(json.dumps(state))
    url = await made.ensure()
    about = await asked(url)
    assert (await asked(url))["pid"] != stranger.pid
    assert url != state["url"]
    await made.stop()
    assert is_gone(about["pid"])
    assert stranger.is_running()


async def test_one_that_ended_by_itself_takes_no_other_along(
    made: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It crashed while nobody looked, and its number went to another process before we stopped it."""
    ended: list[int] = []
    pid = (await asked(await made.ensure()))["pid"]
    process = psutil.Process(pid)
    process.kill()
    await asyncio.to_thread(supervisor.wait_for_end, pid, 10)
    monkeypatch.setattr(supervisor, "_end", lambda pid, _grace: ended.append(pid))
    monkeypatch.setattr(psutil, "Process", lambda _pid=None: _Stranger())
    await made.stop()
    assert ended == []


class _Stranger:
    def status(self) -> str:
        return psutil.STATUS_RUNNING

    def create_time(self) -> float:
        return 5.0


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"pid": "x"}', '{"pid": 1}', "null"])
async def test_a_spoilt_note_is_no_hindrance(made: Supervisor, tmp_path: Path, content: str) -> None:
    path = tmp_path / "state" / "comfyui.json"
    path.parent.mkdir()
    path.write_text(content)
    assert await asked(await made.ensure())
    await made.stop()


async def test_one_that_does_not_start_shows_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print('line 1')\nraise SystemExit('no GPU of that kind')")
    started = Supervisor(Installation.at(tmp_path, Path(sys.executable)), tmp_path / "state")
    with pytest.raises(ProcessFailed, match="does not start: no GPU of that kind") as caught:
        await started.ensure()
    assert caught.value.details["log"] == ["line 1", "no GPU of that kind"]
    assert str(started.log_file) in caught.value.hint


async def test_a_python_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("")
    started = Supervisor(Installation.at(tmp_path, tmp_path / "no python"), tmp_path / "state")
    with pytest.raises(ProcessFailed, match=r"cannot be started with .*no python"):
        await started.ensure()
    assert started.tail() == []
