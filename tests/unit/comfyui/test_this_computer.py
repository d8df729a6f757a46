"""The target "This computer": one ComfyUI, owned by one house, and none left behind."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.comfyui.status import ComfyState
from app.errors import NeedsSetup
from app.jobs.model import JobSpec
from app.jobs.states import State
from app.services import ComfyTarget, Services, make_house
from app.settings import Settings
from worker.process import wait_for_end

#: Runs, but tells nothing of its folders.
_MAIN = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


async def test_one_whose_folders_cannot_be_told_is_ended(tmp_path: Path) -> None:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text(_MAIN)
    target = ComfyTarget(
        Settings(
            data_dir=tmp_path / "data",
            output_dir=tmp_path / "out",
            comfyui_dir=folder,
            comfyui_python=Path(sys.executable),
        )
    )
    with pytest.raises(NeedsSetup, match="cannot be found on this computer"):
        await target.client()
    note = tmp_path / "data" / "comfyui" / "comfyui.json"
    pid = json.loads(note.read_text())["pid"]
    assert psutil.Process(pid).is_running()
    await target.close()
    assert not note.exists()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_without_a_comfyui_it_says_what_to_set(tmp_path: Path) -> None:
    target = ComfyTarget(Settings(data_dir=tmp_path, output_dir=tmp_path))
    with pytest.raises(NeedsSetup, match="No ComfyUI is known") as caught:
        await target.client()
    assert "COMFYUI_DIR" in caught.value.hint
    await target.close()


# -- one owner for the chip and the jobs ----------------------------------------------------------------

_STAND_IN = """
import runpy, sys
sys.argv[1:] += ["--base-directory", sys.path[0]]
runpy.run_module("app.demo", run_name="__main__")
"""
_HELLO = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 7}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    root = Path(__file__).parents[3]
    (folder / "main.py").write_text(f"import sys\nsys.path.append({str(root)!r})\n{_STAND_IN}")
    return Settings(
        data_dir=tmp_path / "data",
        output_dir=tmp_path / "out",
        comfyui_dir=folder,
        comfyui_python=Path(sys.executable),
    )


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    services = await Services.start(settings)
    yield services
    await services.close()
    assert not (settings.data_dir / "comfyui" / "comfyui.json").exists()
    assert not (settings.data_dir / "endpoints" / "local" / "endpoint.json").exists()


def pid_of(settings: Settings) -> int:
    return int(json.loads((settings.data_dir / "comfyui" / "comfyui.json").read_text())["pid"])


async def ran(services: Services, settings: Settings) -> State:
    spec = JobSpec("hello", "local", _HELLO, str(settings.output_dir))
    job = await services.runner.submit(spec)
    async with asyncio.timeout(60):
        while not (job := await services.store.get(job.id)).is_final:
            await asyncio.sleep(0.02)
    return job.state


async def test_jobs_use_the_one_that_was_started_by_hand(services: Services, settings: Settings) -> None:
    url = await services.house.ensure()
    pid = pid_of(settings)
    assert await ran(services, settings) is State.DONE
    status = await services.house.look()
    assert (status.state, status.url, pid_of(settings)) == (ComfyState.RUNNING, url, pid)


async def test_after_a_crash_the_next_job_runs(services: Services, settings: Settings) -> None:
    assert await ran(services, settings) is State.DONE
    pid = pid_of(settings)
    psutil.Process(pid).kill()
    await asyncio.to_thread(wait_for_end, pid, 10)
    assert (await services.house.look()).state is ComfyState.CRASHED
    assert await ran(services, settings) is State.DONE
    assert pid_of(settings) != pid
    assert services.house.status.state is ComfyState.RUNNING


async def test_after_it_was_stopped_the_next_job_starts_it(services: Services, settings: Settings) -> None:
    assert await ran(services, settings) is State.DONE
    await services.house.stop()
    assert (await services.house.look()).state is ComfyState.STOPPED
    assert await ran(services, settings) is State.DONE


async def test_with_other_settings_there_is_another_owner(services: Services, settings: Settings) -> None:
    await services.house.ensure()
    pid, first = pid_of(settings), services.house
    services.use(replace(settings, workers=2))
    assert services.house is first
    services.use(replace(settings, comfyui_args=("--preview-method", "none")))
    assert services.house is not first
    assert (await services.house.look()).state is ComfyState.STOPPED
    assert await asyncio.to_thread(wait_for_end, pid, 10)


@pytest.mark.parametrize("patient", [True, False])
async def test_what_was_started_by_hand_ends_with_the_program(settings: Settings, patient: bool) -> None:
    services = await Services.start(settings)
    starting = asyncio.create_task(services.house.ensure())
    note = settings.data_dir / "comfyui" / "comfyui.json"
    while not (starting.done() if patient else note.exists()):
        await asyncio.sleep(0.005)
    pid = pid_of(settings)
    starting.cancel()
    await asyncio.wait([starting])
    await services.close()
    assert await asyncio.to_thread(wait_for_end, pid, 10)
    assert not note.exists()


async def test_one_that_an_earlier_run_left_ends_with_the_next(settings: Settings) -> None:
    left = make_house(settings)
    await left.ensure()
    pid = pid_of(settings)
    services = await Services.start(settings)
    assert (await services.house.look()).state is ComfyState.RUNNING
    await services.close()
    assert await asyncio.to_thread(wait_for_end, pid, 10)
