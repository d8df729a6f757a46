"""The owner of this computer's ComfyUI: what it says of it is what is so."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from app.comfyui.house import House
from app.comfyui.installation import Installation
from app.comfyui.status import ComfyState, ComfyStatus
from app.errors import NeedsSetup, ProcessFailed, Unreachable
from app.services import make_house
from app.settings import Settings
from worker.process import wait_for_end

_MAIN = """
import json, pathlib, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

here = pathlib.Path(__file__).parent
STATS = {"system": {"comfyui_version": "0.3.64"},
         "devices": [{"vram_total": 24_000_000_000, "vram_free": 20_900_000_000}]}

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        while (here / "busy").exists():
            time.sleep(0.05)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(STATS).encode())

    def log_message(self, *_):
        pass

print("one line", flush=True)
while (here / "slow").exists():
    time.sleep(0.02)
if (here / "broken").exists():
    raise SystemExit("no GPU of that kind")
print("up", flush=True)
try:
    HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
except KeyboardInterrupt:
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text(_MAIN)
    return folder


def installed(folder: Path) -> Callable[[], Installation]:
    return lambda: Installation.at(folder, Path(sys.executable))


@pytest.fixture
async def house(folder: Path, tmp_path: Path) -> AsyncIterator[House]:
    house = House(None, installed(folder), tmp_path / "state")
    yield house
    for name in ("slow", "busy"):
        (folder / name).unlink(missing_ok=True)
    await house.look()
    await house.stop()


def told(house: House) -> list[ComfyState]:
    states: list[ComfyState] = []
    house.watch(lambda status: states.append(status.state))
    return states


def pid_of(tmp_path: Path) -> int:
    return int(json.loads((tmp_path / "state" / "comfyui.json").read_text())["pid"])


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until(house: House, state: ComfyState) -> ComfyStatus:
    async with asyncio.timeout(20):
        while (status := await house.look()).state is not state:
            await asyncio.sleep(0.02)
        return status


async def test_it_is_started_told_of_and_stopped(house: House, tmp_path: Path) -> None:
    assert house.status.state is ComfyState.STOPPED
    assert (await house.look()).state is ComfyState.STOPPED
    states = told(house)
    url = await house.ensure()
    assert states == [ComfyState.STARTING, ComfyState.RUNNING]
    status = await house.look()
    assert (status.url, status.version, status.vram) == (url, "0.3.64", "3.1 of 24.0 GB in use")
    assert status.since is not None
    assert abs(status.since - time.time()) < 60
    assert house.tail() == ["one line", "up"]
    assert await house.ensure() == url
    pid = pid_of(tmp_path)
    await house.stop()
    assert is_gone(pid)
    assert (await house.look()) == ComfyStatus(ComfyState.STOPPED)
    assert states == [ComfyState.STARTING, ComfyState.RUNNING, ComfyState.STOPPED]


async def test_whoever_no_longer_watches_is_told_nothing(house: House) -> None:
    seen: list[ComfyStatus] = []
    stop = house.watch(seen.append)
    stop()
    stop()
    await house.ensure()
    assert seen == []


async def test_two_that_want_it_get_one(house: House) -> None:
    assert len({*await asyncio.gather(house.ensure(), house.ensure(), house.ensure())}) == 1


async def test_while_it_comes_up_looking_waits_for_nothing(house: House, folder: Path) -> None:
    (folder / "slow").touch()
    starting = asyncio.create_task(house.ensure())
    while house.status.state is not ComfyState.STARTING:
        await asyncio.sleep(0.005)
    started = time.monotonic()
    assert (await house.look()).state is ComfyState.STARTING
    assert time.monotonic() - started < 0.5
    (folder / "slow").unlink()
    await starting
    assert house.status.state is ComfyState.RUNNING


async def test_one_that_ends_at_its_start_is_known_at_once(house: House, folder: Path) -> None:
    (folder / "broken").touch()
    states = told(house)
    started = time.monotonic()
    with pytest.raises(ProcessFailed, match="no GPU of that kind") as caught:
        await house.ensure()
    assert time.monotonic() - started < 10
    assert caught.value.details["log"] == ["one line", "no GPU of that kind"]
    assert states == [ComfyState.STARTING, ComfyState.CRASHED]
    status = await house.look()
    assert "no GPU of that kind" in status.detail
    assert status.crash is not None
    assert status.crash.code == 1
    (folder / "broken").unlink()
    await house.ensure()
    assert states[2:] == [ComfyState.STARTING, ComfyState.RUNNING]
    assert house.status.detail == ""


async def test_a_crash_is_seen_with_its_last_line_and_undone(house: House, tmp_path: Path) -> None:
    url = await house.ensure()
    psutil.Process(pid_of(tmp_path)).kill()
    status = await until(house, ComfyState.CRASHED)
    assert (status.state, status.detail) == (ComfyState.CRASHED, "ComfyUI stopped by itself: up")
    assert status.crash is not None
    assert (status.crash.code, status.crash.signal_name, status.crash.log[-1]) == (-9, "SIGKILL", "up")
    assert await house.ensure() == url  # where a worker that was given its address looks for it
    pid = pid_of(tmp_path)
    psutil.Process(pid).kill()
    await asyncio.to_thread(wait_for_end, pid, 10)
    states = told(house)
    assert await house.ensure() == url
    assert states == [ComfyState.CRASHED, ComfyState.STARTING, ComfyState.RUNNING]


async def test_one_that_is_busy_still_runs(house: House, folder: Path) -> None:
    await house.ensure()
    (folder / "busy").touch()
    status = await house.look()
    assert (status.state, status.version) == (ComfyState.RUNNING, "0.3.64")
    assert "busy" in status.detail


async def test_one_that_an_earlier_run_left_is_found(house: House, folder: Path, tmp_path: Path) -> None:
    url = await house.ensure()
    later = House(None, installed(folder), tmp_path / "state")
    assert (await later.look()).url == url
    assert later.status.state is ComfyState.RUNNING
    assert later.tail() == house.tail()
    await later.stop()
    assert (await later.look()).state is ComfyState.STOPPED


async def test_it_can_be_stopped_while_it_comes_up(house: House, folder: Path, tmp_path: Path) -> None:
    (folder / "slow").touch()
    starting = asyncio.create_task(house.ensure())
    while not (tmp_path / "state" / "comfyui.json").exists():
        await asyncio.sleep(0.005)
    pid = pid_of(tmp_path)
    await house.stop()
    with pytest.raises(ProcessFailed, match="stopped before it was up"):
        await starting
    assert is_gone(pid)
    assert (await house.look()).state is ComfyState.STOPPED


async def test_who_gives_up_waiting_leaves_nothing_unowned(
    house: House, folder: Path, tmp_path: Path
) -> None:
    (folder / "slow").touch()
    for pause_s in (0.0, 0.001, 0.01, 0.3):
        starting = asyncio.create_task(house.ensure())
        await asyncio.sleep(pause_s)
        starting.cancel()
        await asyncio.wait([starting])
    (folder / "slow").unlink()
    await until(house, ComfyState.RUNNING)
    mine = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])]
    assert [process.pid for process in mine] == [pid_of(tmp_path)]


async def test_the_users_own_is_asked_and_left_alone(house: House, tmp_path: Path) -> None:
    url = await house.ensure()
    theirs = House(url, None, tmp_path / "other")
    assert await theirs.ensure() == url
    assert (theirs.status.state, theirs.status.since) == (ComfyState.RUNNING, None)
    await theirs.stop()
    await theirs.close()
    assert (await theirs.look()).version == "0.3.64"
    assert theirs.tail() == []
    await house.stop()
    assert (await theirs.look()) == ComfyStatus(ComfyState.STOPPED, url)
    with pytest.raises(Unreachable, match="is not answering"):
        await theirs.ensure()


async def test_without_one_it_says_what_to_set(tmp_path: Path) -> None:
    house = House(None, None, tmp_path)
    assert (await house.look()).state is ComfyState.NOT_SET_UP
    with pytest.raises(NeedsSetup, match="No ComfyUI is known"):
        await house.ensure()
    empty = House(None, installed(tmp_path), tmp_path)
    assert (await empty.look()).state is ComfyState.NOT_SET_UP
    assert "no main.py" in empty.status.detail
    with pytest.raises(NeedsSetup, match=r"no main\.py"):
        await empty.ensure()
    (tmp_path / "main.py").write_text(_MAIN)
    assert (await empty.look()).state is ComfyState.STOPPED
    await empty.stop()


@pytest.mark.parametrize("body", ["", "[1]", '{"system": 5, "devices": {}}', '{"devices": [{}, 1]}'])
async def test_any_answer_will_do(house: House, folder: Path, body: str) -> None:
    code = _MAIN.replace("json.dumps(STATS)", repr(body))
    (folder / "main.py").write_text(code)
    await house.ensure()
    status = await house.look()
    assert (status.state, status.version, status.vram) == (ComfyState.RUNNING, None, None)


# -- other settings -------------------------------------------------------------------------------------


def settings(tmp_path: Path, folder: Path | None, **more: object) -> Settings:
    return Settings(
        data_dir=tmp_path,
        output_dir=tmp_path,
        comfyui_dir=folder,
        comfyui_python=Path(sys.executable),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("in_use", [False, True])
async def test_with_other_settings_the_former_one_ends_unless_it_is_used(
    folder: Path, tmp_path: Path, in_use: bool
) -> None:
    former = make_house(settings(tmp_path, folder))
    url = await former.ensure()
    former.in_use = in_use
    house = make_house(settings(tmp_path, folder, comfyui_args=("--cpu",)), before=former)
    assert (await house.look()).state is ComfyState.STOPPED
    assert (await former.look()).state is (ComfyState.RUNNING if in_use else ComfyState.STOPPED)
    assert await house.ensure() != (url if in_use else None)
    await house.close()
    await house.close()
    assert (await house.look()).state is ComfyState.STOPPED
    await former.stop()
