"""Shared by the tests of the worker: its settings, the demo engine in our process, a scripted ComfyUI."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.demo.catalogue import descriptions
from app.demo.files import Folders
from app.demo.server import DemoEngine
from worker.config import Config
from worker.delivery import Delivery
from worker.handler import Worker
from worker.supervisor import OwnComfy
from worker.validation import OutputMode, OutputWish

KEY = "comfyui-key-0123456789"


def make_config(base: Path, **changes: Any) -> Config:
    """The settings of a worker whose ComfyUI has its folders below ``base``."""
    config = Config.from_env({"COMFYUI_DIR": str(base), "VOLUME_PATH": str(base / "no-volume")})
    return dataclasses.replace(config, **{"answer_timeout_s": 5, **changes})


def delivery(config: Config, mode: OutputMode | None = "auto", job_id: str = "job-1") -> Delivery:
    """How results go out that are asked for in this mode."""
    return Delivery.of(config, job_id, OutputWish(mode), "key")


class StandIn(OwnComfy):
    """Says where the worker's own ComfyUI is; it starts and stops nothing."""

    def __init__(self, config: Config, url: str) -> None:
        super().__init__(config)
        self._url = url
        self.lives = True

    @property
    def url(self) -> str:
        return self._url

    @property
    def alive(self) -> bool:
        return self.lives

    def tail(self, lines: int = 50) -> list[str]:
        return [f"own log line {number}" for number in range(lines)]


@dataclasses.dataclass
class Bench:
    """A worker at a ComfyUI in our own process."""

    worker: Worker
    config: Config
    url: str

    async def run(self, workflow: Any, job_id: str = "job-1", **fields: Any) -> dict[str, Any]:
        return await self.worker.handle({"id": job_id, "input": {"workflow": workflow, **fields}})

    def start(self, workflow: Any, job_id: str = "job-1", **fields: Any) -> asyncio.Task[dict[str, Any]]:
        return asyncio.create_task(self.run(workflow, job_id, **fields))

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with aiohttp.request(method, self.url + path, json=body) as response:
            text = await response.text()
            return json.loads(text) if text else None

    async def by_hand(self, workflow: Mapping[str, Any]) -> str:
        """Queue a prompt as somebody else does; its id."""
        return str((await self.ask("POST", "/prompt", {"prompt": workflow}))["prompt_id"])

    async def ended(self, prompt_id: str) -> dict[str, Any]:
        entry: dict[str, Any] = {}

        async def there() -> bool:
            entry.update((await self.ask("GET", f"/history/{prompt_id}")).get(prompt_id) or {})
            return bool(entry)

        await until(there)
        return entry

    async def queue(self) -> tuple[list[str], list[str]]:
        """The ids of the prompts that run and that wait."""
        queue = await self.ask("GET", "/queue")
        running, pending = ([item[1] for item in queue[f"queue_{key}"]] for key in ("running", "pending"))
        return running, pending

    async def history(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.ask("GET", "/history")
        return found


@asynccontextmanager
async def working(url: str, base: Path, *, own: bool = False, **changes: Any) -> AsyncIterator[Bench]:
    config = make_config(base, attach_url=None if own else url, **changes)
    worker = Worker(config, StandIn(config, url) if own else None)
    try:
        yield Bench(worker, config, url)
    finally:
        await worker.close()


@asynccontextmanager
async def demo(base: Path, *, own: bool = False, **changes: Any) -> AsyncIterator[Bench]:
    """A worker at the demo engine, attached to it or (nearly) as its owner."""
    async with (
        TestServer(DemoEngine(Folders.below(base), previews=True).build()) as server,
        working(str(server.make_url("")), base.resolve(), own=own, **changes) as bench,
    ):
        yield bench


async def until(true: Callable[[], Awaitable[Any] | Any], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while True:
            value = true()
            if await value if isinstance(value, Awaitable) else value:
                return
            await asyncio.sleep(0.01)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder; None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def entry(
    outputs: Any = None, *, word: str = "success", cached: Any = (), prompt: Any = None, **data: Any
) -> dict[str, Any]:
    """A history entry as ComfyUI writes it."""
    return {
        "prompt": [0, "id", prompt, {}, []],
        "outputs": outputs or {},
        "status": {
            "status_str": "success" if word == "success" else "error",
            "messages": [["execution_cached", {"nodes": list(cached)}], [f"execution_{word}", data]],
        },
    }


class FakeComfy:
    """Speaks ComfyUI's protocol and does only what the test says.

    Attributes:
        running: ids of prompts that run; ``pending`` those that wait; ``history`` the ended ones.
        on_prompt: called with the body of each ``POST /prompt``; without it the prompt starts to run.
        broken: the status with which a path answers instead.
        deaf: so many requests to stop a prompt are ignored.
        asked: every request as (method, path, body).
    """

    def __init__(self, version: str = "0.3.64") -> None:
        self.version = version
        self.running: list[str] = []
        self.pending: list[str] = []
        self.history: dict[str, Any] = {}
        self.on_prompt: Callable[[dict[str, Any]], Awaitable[None]] | None = None
        self.broken: dict[str, int] = {}
        self.deaf = 0
        self.asked: list[tuple[str, str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.refuses_sockets = False
        self.node_errors: dict[str, Any] = {}

    def build(self) -> web.Application:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_get("/ws", self._ws)
        app.router.add_route("*", "/{path:.*}", self._serve)
        app.on_shutdown.append(self.drop)
        return app

    async def send(self, kind: str, prompt_id: str, **data: Any) -> None:
        await self.send_raw(json.dumps({"type": kind, "data": {"prompt_id": prompt_id, **data}}))

    async def send_raw(self, frame: str | bytes) -> None:
        for socket in self.sockets:
            await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))

    async def end(self, prompt_id: str, ended: dict[str, Any] | None = None) -> None:
        """The prompt ends: history first, then the end mark, as ComfyUI does it."""
        self.running.remove(prompt_id)
        self.history[prompt_id] = ended or entry()
        await self.send("executing", prompt_id, node=None)

    async def drop(self, _: object = None) -> None:
        """Close all websockets."""
        for socket in list(self.sockets):
            await socket.close()

    def paths(self, method: str = "POST") -> list[str]:
        return [path for used, path, _ in self.asked if used == method]

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if self.refuses_sockets:
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({"type": "status", "data": {"sid": "x"}}))
        self.sockets.append(socket)
        try:
            async for _ in socket:
                pass
        finally:
            self.sockets.remove(socket)
        return socket

    async def _serve(self, request: web.Request) -> web.Response:
        text = await request.text()
        body = json.loads(text) if text else {}
        path = request.path
        self.asked.append((request.method, path, body))
        if path in self.broken:
            return web.Response(status=self.broken[path], text="broken")
        return web.json_response(await self._answer(request.method, path, body))

    async def _answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        if path == "/prompt" and method == "POST":
            if self.on_prompt is not None:
                await self.on_prompt(body)
            else:
                self.running.append(body["prompt_id"])
            return {"prompt_id": body["prompt_id"], "number": 0, "node_errors": self.node_errors}
        if path in ("/interrupt", "/queue") and method == "POST":
            self._stop(path, body)
            return {}
        if path == "/queue":
            return {
                "queue_running": [[0, each, {}, {}, []] for each in self.running],
                "queue_pending": [[0, each, {}, {}, []] for each in self.pending],
            }
        if path == "/history":
            for each in body.get("delete", ()):
                self.history.pop(each, None)
            return {}
        if path.startswith("/history/"):
            prompt_id = path.removeprefix("/history/")
            return {prompt_id: self.history[prompt_id]} if prompt_id in self.history else {}
        if path.startswith("/object_info"):
            name = path.removeprefix("/object_info").lstrip("/")
            known = descriptions()
            return {name: known[name]} if name in known else {} if name else known
        if path.startswith("/models"):
            return []
        return {"system": {"comfyui_version": self.version}, "devices": [], "entries": []}

    def _stop(self, path: str, body: dict[str, Any]) -> None:
        if self.deaf:
            self.deaf -= 1
        elif path == "/queue":
            self.pending = [each for each in self.pending if each not in body["delete"]]
        else:
            for each in [e for e in self.running if body.get("prompt_id", e) == e]:
                self.running.remove(each)
                self.history[each] = entry(word="interrupted")


@asynccontextmanager
async def faked(fake: FakeComfy) -> AsyncIterator[str]:
    """The address of a scripted ComfyUI."""
    async with TestServer(fake.build()) as server:
        yield str(server.make_url(""))
