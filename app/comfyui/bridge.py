"""The loopback bridge by which the interception node in ComfyUI speaks to the panel. It holds no key.

HTTP on 127.0.0.1 with a token from a file that only the user can read. Streams are lines of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from aiohttp import web

from worker.contract import checked_job_id

from ..errors import BadInput, ComfyRunPodError
from ..files import write_private

log = logging.getLogger(__name__)

Mode = Literal["local", "runpod"]
LOCAL_MODE: Mode = "local"
RUNPOD_MODE: Mode = "runpod"
#: The name of the file in the bridge's folder, which ComfyUI's environment names by :data:`BRIDGE_ENV`.
BRIDGE_FILE, BRIDGE_ENV = "bridge.json", "COMFY_RUNPOD_BRIDGE"
_MAX_BODY = 64 << 20
_KINDS = ("input", "output", "temp")


@dataclass(frozen=True, slots=True)
class Node:
    """An interception node that is connected: its version, whether its hook is in place, and whose it is.

    Attributes:
        pid: of the ComfyUI that it lives in; 0 when it did not say.
    """

    version: str
    active: bool
    pid: int


@dataclass(frozen=True, slots=True)
class RoutedPrompt:
    """A prompt from ComfyUI's own page.

    Attributes:
        id: the prompt's id in ComfyUI. name: of the workflow that is open there, or empty.
        folders: ComfyUI's ``input``, ``output`` and ``temp``.
    """

    id: str
    prompt: dict[str, Any]
    workflow: dict[str, Any] | None
    name: str
    folders: Mapping[str, Path]

    @classmethod
    def parse(cls, raw: object) -> RoutedPrompt:
        """Raises BadInput when it is none."""
        if not isinstance(raw, Mapping):
            raise BadInput("The interception node sent something that is no prompt.")
        prompt, workflow, folders = raw.get("prompt"), raw.get("workflow"), raw.get("folders")
        try:
            prompt_id = checked_job_id(raw.get("id"))
        except ValueError as error:
            raise BadInput(str(error)) from error
        if not isinstance(prompt, dict) or not all(isinstance(node, dict) for node in prompt.values()):
            raise BadInput("The interception node sent a prompt that is none.")
        if not isinstance(folders, dict) or not all(isinstance(folders.get(kind), str) for kind in _KINDS):
            raise BadInput("The interception node did not say where ComfyUI's folders are.")
        places = {kind: Path(folders[kind]) for kind in _KINDS}
        if not all(place.is_absolute() for place in places.values()):
            raise BadInput("The interception node named folders that are no whole paths.")
        name = raw.get("name")
        return cls(
            prompt_id,
            prompt,
            workflow if isinstance(workflow, dict) else None,
            name if isinstance(name, str) else "",
            places,
        )


class Desk(Protocol):
    """Who decides. Its refusals are ComfyRunPodErrors, whose sentence ComfyUI's page shows."""

    @property
    def mode(self) -> Mode:
        """Where ComfyUI's Queue button leads."""

    def states(self) -> AsyncGenerator[dict[str, Any]]:
        """What the node must know, now and whenever it changes; see the node's ``State``."""

    async def choose(self, mode: Mode) -> dict[str, Any]:
        """Turn the switch; the state then."""

    async def take(self, prompt: RoutedPrompt) -> None:
        """Take a prompt on."""

    async def cancel(self, prompt_id: str) -> None:
        """Cancel one; one that has ended stays as it is."""

    def events(self, prompt_id: str) -> AsyncGenerator[dict[str, Any]]:
        """What becomes of one, from now to its end."""

    def connected(self, node: Node) -> Callable[[], None]:
        """A node is there; the returned call says that it has gone."""


def bridge_file(data_dir: Path) -> Path:
    return data_dir / "comfyui" / BRIDGE_FILE


def local_key(data_dir: Path) -> str:
    """What the interception node knows the panel's own worker by; made when there is none. Blocks.

    It outlives the panel: so do the worker and ComfyUI.
    """
    path = bridge_file(data_dir)
    known = _kept(path)
    if known is None:
        known = {"port": 0, "token": "", "local_key": secrets.token_urlsafe(32), "mode": LOCAL_MODE, "pid": 0}
        write_private(path, json.dumps(known))
    return str(known["local_key"])


class Bridge:
    """The panel's side. Its file is written anew at each start, so that a ComfyUI which outlived an earlier
    panel finds this one.
    """

    def __init__(self, desk: Desk, data_dir: Path) -> None:
        self._desk = desk
        self._data_dir = data_dir
        self._token = secrets.token_urlsafe(32)
        self._web: web.AppRunner | None = None
        self._port = 0
        #: Ended with the bridge: streams would keep it open.
        self._streams: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[self._checked])
        app.add_routes(
            [
                web.get("/v1/state", self._get_state),
                web.post("/v1/mode", self._post_mode),
                web.post("/v1/prompts", self._post_prompt),
                web.post("/v1/prompts/{id}/cancel", self._post_cancel),
                web.get("/v1/prompts/{id}/events", self._get_events),
            ]
        )
        # A node that has gone is noticed at once, and not at the next word to it.
        self._web = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        await self._web.setup()
        await web.TCPSite(self._web, "127.0.0.1", 0).start()
        self._port = self._web.addresses[0][1]
        await self.note_mode()

    async def note_mode(self) -> None:
        """Have the mode on disk: a node that finds no panel goes by it."""
        if self._port:
            await asyncio.to_thread(self._write, self._port, self._desk.mode)

    async def close(self) -> None:
        if self._web is None:
            return
        for task in tuple(self._streams):
            task.cancel()
        await self._web.cleanup()
        self._port = 0
        with contextlib.suppress(OSError):
            # Nobody is at that port any more. What was under way stays routed, and nothing falls back.
            await asyncio.to_thread(self._write, 0, self._desk.mode)

    def _write(self, port: int, mode: Mode) -> None:
        state = {
            "port": port,
            "token": self._token,
            "local_key": local_key(self._data_dir),
            "mode": mode,
            "pid": os.getpid(),
        }
        write_private(bridge_file(self._data_dir), json.dumps(state))

    @web.middleware
    async def _checked(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {self._token}".encode()) or "Origin" in request.headers:
            return web.json_response({"error": "The token is missing or wrong."}, status=401)
        try:
            answer: web.StreamResponse = await handler(request)
        except ComfyRunPodError as error:
            return web.json_response({"error": error.sentence, "code": error.code}, status=400)
        return answer

    async def _get_state(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        pid = query.get("pid", "")
        node = Node(
            query.get("version", "")[:40], query.get("active") == "1", int(pid) if _is_pid(pid) else 0
        )
        gone = self._desk.connected(node)
        try:
            return await self._stream(request, self._desk.states())
        finally:
            gone()

    async def _post_mode(self, request: web.Request) -> web.Response:
        wanted = (await _json(request)).get("mode")
        if wanted not in (LOCAL_MODE, RUNPOD_MODE):
            raise BadInput("The Queue button leads to local or to runpod.")
        return web.json_response(await self._desk.choose(cast("Mode", wanted)))

    async def _post_prompt(self, request: web.Request) -> web.Response:
        await self._desk.take(RoutedPrompt.parse(await _json(request)))
        return web.json_response({})

    async def _post_cancel(self, request: web.Request) -> web.Response:
        await self._desk.cancel(request.match_info["id"])
        return web.json_response({})

    async def _get_events(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, self._desk.events(request.match_info["id"]))

    async def _stream(
        self, request: web.Request, values: AsyncGenerator[dict[str, Any]]
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        task = asyncio.current_task()
        if task is not None:
            self._streams.add(task)
        try:
            async with aclosing(values):
                async for value in values:
                    if not answer.prepared:
                        # Not before there is a value: an unknown prompt is an error and no stream.
                        await answer.prepare(request)
                    await answer.write(json.dumps(value).encode() + b"\n")
        except (ConnectionError, asyncio.CancelledError):
            # ComfyUI has gone, or we go.
            if not answer.prepared:
                raise
        finally:
            if task is not None:
                self._streams.discard(task)
        if not answer.prepared:
            await answer.prepare(request)
        return answer


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_text("utf-8"))
        return raw if isinstance(raw["local_key"], str) and raw["local_key"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_pid(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        raw = json.loads(await request.text())
    except (ValueError, RecursionError) as error:
        raise BadInput("The interception node sent no JSON.") from error
    if not isinstance(raw, dict):
        raise BadInput("The interception node sent no JSON object.")
    return raw
