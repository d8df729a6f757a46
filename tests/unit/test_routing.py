"""The panel's side of ComfyUI's Queue button: who may ask, what is taken, what is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.comfyui.bridge import Bridge, Mode, Node, RoutedPrompt, bridge_file
from app.errors import BadInput, NeedsSetup
from app.jobs.model import FROM_COMFYUI, Job, JobEvent, OutputFile
from app.jobs.states import Hold, State
from app.routing import Routing, RoutingStatus, told_of
from app.services import make_sources
from app.settings import Secret, Settings
from tests.e2e.conftest import color_workflow
from tests.unit.jobs.helpers import World
from worker.contract import Progress

JOB = Job("p-1", 1, "lamp", "far-away", "/out", origin=FROM_COMFYUI)


@dataclass
class Place:
    """A bridge over a runner. ``now`` holds the settings as they are."""

    now: dict[str, Settings]
    routing: Routing

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.known['port']}"

    @property
    def known(self) -> Any:
        return json.loads(bridge_file(self.now["settings"].data_dir).read_text("utf-8"))

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        own = {"Authorization": f"Bearer {self.known['token']}", **headers}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, json=body, headers=own) as answer,
        ):
            return answer.status, await answer.json(content_type=None)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    world = World(tmp_path)
    await world.start()
    settings = Settings(
        data_dir=tmp_path / "data", output_dir=tmp_path, runpod_endpoint_id="far-away",
        runpod_api_key=Secret("k"), runpod_base_url="http://127.0.0.1:9",
    )  # fmt: skip
    now = {"settings": settings}

    async def keep(mode: Mode) -> None:
        await bridge.note_mode()

    async def nowhere() -> None:
        return None

    sources = make_sources(lambda: now["settings"], local_url=nowhere, name=lambda target: target)
    routing = Routing(world.runner, lambda: now["settings"], sources, keep=keep)
    bridge = Bridge(routing, settings.data_dir)
    found = Place(now, routing)
    await bridge.start()
    yield found
    await bridge.close()
    await routing.close()
    await world.stop()
    assert found.known["port"] == 0


def prompt_of(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    folders = {kind: str(tmp_path / kind) for kind in ("input", "output", "temp")}
    return {"id": "p-1", "prompt": color_workflow(1, "x"), "folders": folders, "name": "My lamp", **changes}


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer wrong"}, {"Authorization": ""}, {"Origin": "http://127.0.0.1:8188"}],
)
async def test_only_who_read_the_file_is_answered(place: Place, headers: dict[str, str]) -> None:
    for method, path in (("POST", "/v1/mode"), ("POST", "/v1/prompts"), ("GET", "/v1/state")):
        status, told = await place.ask(method, path, {"mode": "runpod"}, **headers)
        assert (status, told) == (401, {"error": "The token is missing or wrong."})
    assert place.routing.mode == "local"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../up"}, {"id": ""}, {"id": 5}, {"prompt": None}, {"prompt": {"1": "no node"}},
        {"folders": {}}, {"folders": {"input": "a", "output": "b", "temp": "c"}}, {"folders": "x"},
    ],
)  # fmt: skip
async def test_what_is_no_prompt_is_refused_in_a_sentence(
    place: Place, tmp_path: Path, changes: dict[str, Any]
) -> None:
    await place.routing.choose("runpod")
    status, told = await place.ask("POST", "/v1/prompts", prompt_of(tmp_path, **changes))
    assert status == 400
    assert told["error"].endswith(".")


async def test_a_prompt_is_taken_only_while_the_button_leads_there(place: Place, tmp_path: Path) -> None:
    status, told = await place.ask("POST", "/v1/prompts", prompt_of(tmp_path))
    assert (status, "does not lead to RunPod" in told["error"]) == (400, True)
    assert (await place.ask("POST", "/v1/mode", {"mode": "moon"}))[0] == 400
    status, told = await place.ask("POST", "/v1/mode", {"mode": "runpod"})
    assert (status, told["mode"], place.known["mode"]) == (200, "runpod", "runpod")
    assert (await place.ask("POST", "/v1/prompts", prompt_of(tmp_path)))[0] == 200
    job = await place.routing._runner.store.get("p-1")
    assert (job.name, job.target, job.origin) == ("My lamp", "far-away", FROM_COMFYUI)
    assert job.output_dir == str(tmp_path / "output")
    assert place.routing.status.last_job_at == job.created_at
    assert (await place.ask("POST", "/v1/prompts/other/cancel"))[0] == 400
    # The settings lose the endpoint: there is nowhere to lead to.
    place.now["settings"] = replace(place.now["settings"], runpod_endpoint_id=None)
    place.routing.settings_changed()
    assert place.routing.mode == "local"
    with pytest.raises(NeedsSetup):
        await place.routing.choose("runpod")


async def test_the_state_is_told_whenever_it_changes_and_who_listens_is_known(place: Place) -> None:
    told: list[RoutingStatus] = []
    place.routing.watch(told.append)
    own = {"Authorization": f"Bearer {place.known['token']}"}
    address = f"{place.url}/v1/state?version=1.0.0&active=1&pid=42"
    async with aiohttp.ClientSession() as session, session.get(address, headers=own) as answer:
        first = json.loads(await answer.content.readline())
        assert (first["mode"], first["endpoint"]) == ("local", "far-away")
        assert place.routing.status.node == Node("1.0.0", active=True, pid=42)
        await place.routing.choose("runpod")
        assert json.loads(await answer.content.readline())["mode"] == "runpod"
        place.now["settings"] = replace(place.now["settings"], comfyui_hosts=("my-pc",))
        place.routing.settings_changed()
        async with asyncio.timeout(10):
            while json.loads(await answer.content.readline())["hosts"] != ["my-pc"]:
                pass
    async with asyncio.timeout(10):
        while place.routing.status.node is not None:
            await asyncio.sleep(0.01)
    assert [status.mode for status in told if status.node is not None][-1] == "runpod"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (JobEvent(replace(JOB, state=State.WAITING)), {"state": "waiting"}),
        (JobEvent(replace(JOB, state=State.ON_HOLD, hold=Hold.LIMIT, error={"summary": "Daily limit"})),
         {"state": "on_hold", "note": "Daily limit"}),
        (JobEvent(replace(JOB, state=State.CANCELLED)), {"end": {"state": "cancelled"}}),
        (JobEvent(replace(JOB, state=State.TIMED_OUT, error={"summary": "Stopped"})),
         {"end": {"state": "failed", "error": {"summary": "Stopped"}}}),
        (JobEvent(replace(JOB, state=State.CANCELLED, error={"summary": "Elsewhere"})),
         {"end": {"state": "failed", "error": {"summary": "Elsewhere"}}}),
        (JobEvent(JOB, removed=True), {"end": {"state": "cancelled"}}),
    ],
)  # fmt: skip
def test_what_becomes_of_a_job_is_told_in_few_words(event: JobEvent, said: dict[str, Any]) -> None:
    assert said.items() <= told_of(event).items()


def test_progress_and_results_are_told_with_their_nodes() -> None:
    running = JobEvent(replace(JOB, state=State.RUNNING), Progress("3", "KSampler", 2, 20, preview="x"))
    assert told_of(running)["progress"]["node_id"] == "3"
    file = OutputFile("a.png", "/out/a.png", "9", "image/png", key="images")
    done = replace(JOB, state=State.DONE, outputs=(file,), texts=("hi", "old"), text_nodes=("5",))
    assert told_of(JobEvent(done))["end"] == {
        "state": "done",
        "files": [{"path": "/out/a.png", "node_id": "9", "key": "images", "media_type": "image/png"}],
        "texts": [["5", "hi"], ["", "old"]],
    }


def test_a_prompt_without_a_name_or_workflow_is_one_all_the_same(tmp_path: Path) -> None:
    parsed = RoutedPrompt.parse(prompt_of(tmp_path, name=None, workflow="no object"))
    assert (parsed.name, parsed.workflow) == ("", None)
    with pytest.raises(BadInput):
        RoutedPrompt.parse([])
