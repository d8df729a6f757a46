"""The real runner and the real local platform in one process: the test plays the worker and the network."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from app.endpoint.client import JobClient
from app.endpoint.platform import Platform
from app.errors import BadInput, ComfyRunPodError
from app.jobs.carriers.base import Carrier
from app.jobs.carriers.commands import Commands
from app.jobs.carriers.folder import LocalFolder
from app.jobs.model import Job, JobEvent, JobSpec
from app.jobs.money import Purse
from app.jobs.pauses import Pauses
from app.jobs.request import Limits
from app.jobs.runner import Runner
from app.jobs.states import State
from app.jobs.store import JobStore
from tests.unit.endpoint.helpers import KEY, make_config
from worker.contract import job_note

FAST = Pauses(
    after_failure_s=(0.01, 0.02),
    settle_s=0.08,
    look_again_s=0.01,
    rare_s=0.05,
    limit_look_s=0.05,
    seek_s=(0.02,),
    submission_grace_s=0.2,
)
WORKER = "w1"
PNG = "iVBORw0KGgo="
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fault = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


def spec(**changes: Any) -> JobSpec:
    values = {"name": "hello", "target": "local", "prompt": {"1": {"class_type": "X", "inputs": {}}}}
    return JobSpec(**{**values, "output_dir": "out", **changes})


async def until(true: Callable[[], Any], what: str = "it") -> Any:
    """Wait for something to become true, which may be a coroutine; its value."""
    for _ in range(2000):
        value = true()
        value = await value if asyncio.iscoroutine(value) else value
        if value:
            return value
        await asyncio.sleep(0.005)
    raise AssertionError(f"{what} never happened")


def answers(status: int, body: Any) -> Fault:
    """The network, or the platform, says this instead."""

    async def fault(_request: web.Request, _handler: Handler) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return fault


async def cut_before(request: web.Request, _handler: Handler) -> web.StreamResponse:
    """The connection breaks before the platform has read anything of the request."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_after(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The platform does what it was asked to, and its answer is lost."""
    await handler(request)
    return await cut_before(request, handler)


class Gate:
    """Holds a request until it is opened: before the platform has it, or its answer."""

    def __init__(self, then: Fault | None = None, *, after: bool = False) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self._then = then
        self._after = after

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request) if self._after else None
        self.reached.set()
        await self.opened.wait()
        if answer is not None:
            return answer
        return await (self._then(request, handler) if self._then else handler(request))


class OneTarget:
    """A target whose endpoint is the platform of this process."""

    def __init__(self, name: str, url: str, volume: Path | None, *, ours: bool) -> None:
        self.name = name
        self.poll_s, self.send_s = 0.01, 0.0
        self.is_ours = ours
        self.limits: Limits | None = None
        self.problem: ComfyRunPodError | None = None
        self._client = JobClient(url, "local", KEY, attempts=1, timeout_s=5)
        self.carrier: Carrier = Commands("local", self.client) if volume is None else LocalFolder(volume)

    async def client(self) -> JobClient:
        if self.problem is not None:
            raise self.problem
        return self._client

    async def close(self) -> None:
        await self._client.close()


class World:
    """Everything of one test. ``faults`` maps an operation (``run``, ``status`` …) to what happens next."""

    def __init__(
        self, folder: Path, *, volume: bool = True, endpoint_id: str = "local", ours: bool | None = None
    ) -> None:
        self.folder = folder
        self.out = folder / "out"
        config = make_config(folder, endpoint_id=endpoint_id)
        self.volume = config.volume_dir if volume else None
        self.ours = volume if ours is None else ours
        config.volume_dir.mkdir(parents=True)
        self.platform = Platform(config, KEY)
        self.platform.app.middlewares.insert(0, self._network)
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.calls: Counter[str] = Counter()
        self.events: list[JobEvent] = []
        self.targets: dict[str, OneTarget] = {}
        self.pauses = FAST
        self.purse: Callable[[JobStore], Purse | None] = lambda store: None
        self.url = ""

    async def start(self) -> None:
        self.url = f"http://127.0.0.1:{await self.platform.start()}/v2"
        await self.begin()

    async def begin(self) -> None:
        """A new process of the panel: what it knows is what is on disk."""
        self.store = JobStore(self.folder / "jobs.sqlite")
        await self.store.open()
        self.runner = Runner(
            self.store, self._target, self.folder / "inputs", pauses=self.pauses, purse=self.purse(self.store)
        )
        self.runner.watch(self.events.append)
        await self.runner.start()

    async def kill(self) -> None:
        """The panel dies: nothing is closed in order, nothing is awaited but the end of its tasks."""
        assert not self.runner.broken.done(), self.runner.broken
        doomed = [task for task in asyncio.all_tasks() if task.get_name().startswith("lane-")]
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
        for target in self.targets.values():
            await target.close()
        await self.store.close()

    async def restart(self) -> None:
        await self.kill()
        await self.begin()

    async def stop(self) -> None:
        await self.runner.close()
        assert self.runner.broken.cancelled(), self.runner.broken
        await self.store.close()
        await self.platform.close()

    def _target(self, name: str) -> OneTarget:
        if name not in ("local", "other", "far-away"):
            raise BadInput(f"no target {name}")
        self.targets[name] = OneTarget(name, self.url, self.volume, ours=self.ours)
        return self.targets[name]

    @web.middleware
    async def _network(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = request.path.split("/")[3]
        self.calls[operation] += 1
        queued = self.faults.get(operation)
        if queued:
            return await queued.pop(0)(request, handler)
        if operation in self.always:
            return await self.always[operation](request, handler)
        return await handler(request)

    # -- the user -------------------------------------------------------------------------------------

    async def submit(self, **changes: Any) -> str:
        job = await self.runner.submit(spec(**{"output_dir": str(self.out), **changes}))
        return job.id

    async def job(self, job_id: str) -> Job:
        return await self.store.get(job_id)

    async def reaches(self, job_id: str, *states: State) -> Job:
        async def there() -> Job | None:
            job = await self.store.find(job_id)
            if job is None:
                return None
            if job.is_final and job.state not in states:
                raise AssertionError(f"{job.state} instead of {states}: {job.error}")
            return job if job.state in states else None

        return await until(there, f"{states}")

    async def notes(self, job_id: str) -> list[str]:
        return [move.note for move in await self.store.timeline(job_id) if move.note]

    # -- the worker -----------------------------------------------------------------------------------

    async def take(self, *, note: bool = True) -> tuple[str, dict[str, Any]]:
        """Take the next job, as soon as there is one: its id at the platform, and its input."""
        ((remote_id, payload),) = await until(lambda: self.platform.queue.take(WORKER), "a job to take")
        job_input = json.loads(payload)["input"]
        if note:
            marker = self.platform.config.volume_dir / job_note(job_input["client_job_id"])
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.write_text(json.dumps({"id": remote_id}))
        return remote_id, job_input

    def post(self, remote_id: str, body: dict[str, Any]) -> None:
        self.platform.dispatcher.done(WORKER, remote_id, body, len(json.dumps(body)))

    def finish(self, remote_id: str, name: str = "a.png") -> None:
        file = {"filename": name, "type": "base64", "data": PNG}
        self.post(remote_id, {"output": {"status": "success", "images": [file]}})
