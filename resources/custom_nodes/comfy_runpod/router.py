"""The middleware in ComfyUI's server: which prompts go to the panel, and the switch that says so."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import os
import re
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

from aiohttp import web

from . import gate, graph
from .host import Host, Json, Verdict
from .panel import NotReached, NotSent, Panel
from .playback import Playback
from .run import Run

log = logging.getLogger(__name__)

VERSION = "1.0.0"
LOCAL, RUNPOD = "local", "runpod"
PREFIX = "/comfy-runpod"
STATE_EVENT = "comfy-runpod.state"
_NAME_HEADER = "X-Comfy-RunPod-Workflow"
_PROMPT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_AGAIN_S = 1.0
_REMEDY = "Switch to Local to run here."
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class State:
    """What the panel said last.

    Attributes:
        models: names of model files at the endpoint, by kind; ``types``: its node types. None: not known.
        hosts: names beside the loopback's that ComfyUI may be opened by.
    """

    mode: str = LOCAL
    endpoint: str = ""
    models: Mapping[str, Sequence[str]] | None = None
    types: frozenset[str] | None = None
    hosts: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def parse(cls, told: Json) -> State:
        models, types = told.get("models"), told.get("types")
        return cls(
            RUNPOD if told.get("mode") == RUNPOD else LOCAL,
            str(told.get("endpoint") or ""),
            {str(kind): [str(name) for name in names] for kind, names in models.items()}
            if isinstance(models, dict)
            else None,
            frozenset(map(str, types)) if isinstance(types, list) else None,
            frozenset(str(name).lower() for name in told.get("hosts") or ()),
        )


class Refused(Exception):
    """A prompt that is not taken; ``answer`` is what the page is told."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__()
        self.answer = answer


class Router:
    """One for each server; :meth:`hook_in` before it starts."""

    def __init__(self, host: Host, panel: Panel) -> None:
        self._host, self._panel = host, panel
        self._token = secrets.token_urlsafe(24)
        self._state: State | None = None
        #: What a page chose while the panel was away; it counts until the panel is back.
        self._chosen: str | None = None
        self._runs: dict[str, Run] = {}
        self._link: asyncio.Task[None] | None = None

        @web.middleware
        async def routing(request: web.Request, handler: _Handler) -> web.StreamResponse:
            return await self._between(request, handler)

        self._middleware = routing

    def hook_in(self) -> None:
        app = self._host.app
        app.middlewares.append(self._middleware)
        self._host.add_route("GET", f"{PREFIX}/state", self._get_state)
        self._host.add_route("POST", f"{PREFIX}/mode", self._post_mode)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)

    # The switch.

    @property
    def mode(self) -> str:
        """Where prompts of pages go. Without the panel: where they went last, for nothing falls back."""
        if self._state is not None:
            return self._state.mode
        if self._chosen is not None:
            return self._chosen
        address = self._panel.address()
        return RUNPOD if address is not None and address.mode == RUNPOD else LOCAL

    @property
    def _is_active(self) -> bool:
        return self._middleware in self._host.app.middlewares

    def _shown(self) -> Json:
        """What pages may know. Never the token: it is for the one who asked."""
        return {
            "mode": self.mode,
            "connected": self._state is not None,
            "endpoint": "" if self._state is None else self._state.endpoint,
            "active": self._is_active,
            "version": VERSION,
        }

    async def _get_state(self, request: web.Request) -> web.Response:
        if not self._is_from_here(request):
            return web.Response(status=403)
        return web.json_response(
            {**self._shown(), "token": self._token}, headers={"Cache-Control": "no-store"}
        )

    async def _post_mode(self, request: web.Request) -> web.Response:
        if not self._may_spend(request):
            return web.Response(status=403)
        try:
            wanted = (await request.json())["mode"]
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400)
        if wanted not in (LOCAL, RUNPOD):
            return web.Response(status=400)
        try:
            self._use(State.parse(await self._panel.ask("POST", "/v1/mode", {"mode": wanted})))
        except NotReached as error:
            if wanted == RUNPOD:
                return web.json_response({**self._shown(), "error": f"{error}. Open it first."}, status=409)
            self._chosen = LOCAL
            self._state = None
            self._tell_pages()
        except NotSent as error:
            return web.json_response({**self._shown(), "error": str(error)}, status=409)
        return web.json_response(self._shown())

    def _use(self, state: State | None) -> None:
        if state is not None:
            self._chosen = None
        if state != self._state:
            self._state = state
            self._tell_pages()

    def _tell_pages(self) -> None:
        self._host.send(STATE_EVENT, self._shown())

    async def _keep_linked(self) -> None:
        """Hear of the panel's switch for as long as there is a panel."""
        about = urlencode({"version": VERSION, "active": int(self._is_active), "pid": os.getpid()})
        while True:
            try:
                async with self._panel.lines(f"/v1/state?{about}") as lines:
                    async for told in lines:
                        self._use(State.parse(told))
            except (NotReached, NotSent) as error:
                log.debug("%s", error)
            except Exception:
                log.exception("The panel's word cannot be read.")
            self._use(None)
            await asyncio.sleep(_AGAIN_S)

    async def _start(self, _: web.Application) -> None:
        self._link = asyncio.create_task(self._keep_linked(), name="comfy-runpod-link")

    async def _stop(self, _: web.Application) -> None:
        tasks = [run.task for run in self._runs.values()]
        tasks += [self._link] if self._link is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._panel.close()

    # Requests.

    async def _between(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        path = request.path.removeprefix("/api")
        if request.method == "POST":
            match path:
                case "/prompt":
                    return await self._post_prompt(request, handler)
                case "/interrupt":
                    return await self._post_interrupt(request, handler)
                case "/queue" | "/history":
                    await self._cancel_deleted(request)
        elif _lists_nodes(path) and self.mode == RUNPOD and self._may_look(request):
            with self._host.widened(self._remote_models):
                return await handler(request)
        return await handler(request)

    async def _post_prompt(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        address = self._panel.address()
        if gate.is_local_worker(request, None if address is None else address.local_key):
            return await handler(request)
        if self.mode == LOCAL:
            return await handler(request)
        if not self._may_spend(request):
            return _refusal(
                "Not sent: Run is routed to RunPod, and this did not come from ComfyUI's own page. "
                f"{_REMEDY}",
                status=403,
            )
        try:
            return await self._route(request)
        except Refused as refused:
            return refused.answer

    async def _post_interrupt(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        body = await _body(request)
        wanted = body.get("prompt_id")
        if isinstance(wanted, str) and wanted in self._runs:
            await self._runs[wanted].cancel()
            # Not handed on: ComfyUI would find it among the running ones and stop whatever runs here.
            return web.Response(status=200)
        if not wanted:
            for run in tuple(self._runs.values()):
                await run.cancel()
        return await handler(request)

    async def _cancel_deleted(self, request: web.Request) -> None:
        deleted = (await _body(request)).get("delete")
        for prompt_id in deleted if isinstance(deleted, list) else ():
            if isinstance(prompt_id, str) and prompt_id in self._runs:
                await self._runs[prompt_id].cancel()

    def _is_from_here(self, request: web.Request) -> bool:
        return gate.is_own_page(request, self._state.hosts if self._state is not None else ())

    def _may_look(self, request: web.Request) -> bool:
        return self._is_from_here(request) and gate.has_page_token(request, self._token)

    def _may_spend(self, request: web.Request) -> bool:
        return self._may_look(request) and gate.is_json(request)

    # A prompt that goes to the panel.

    async def _route(self, request: web.Request) -> web.Response:
        body = await _body(request)
        prompt = body.get("prompt")
        if not isinstance(prompt, dict):
            raise Refused(_refusal("No prompt provided", kind="no_prompt"))
        given = body.get("prompt_id")
        prompt_id = given if isinstance(given, str) and _PROMPT_ID.fullmatch(given) else str(uuid.uuid4())
        targets = body.get("partial_execution_targets")
        targets = [str(target) for target in targets] if isinstance(targets, list) else None
        # Before validation, which writes into it.
        sent = copy.deepcopy(prompt)
        verdict = await self._judged(prompt_id, prompt, targets)
        if verdict.error is not None:
            answer: Json = {"error": verdict.error, "node_errors": dict(verdict.node_errors)}
            raise Refused(web.json_response(answer, status=400))
        extra = body.get("extra_data")
        pnginfo = extra.get("extra_pnginfo") if isinstance(extra, dict) else None
        workflow = pnginfo.get("workflow") if isinstance(pnginfo, dict) else None
        await self._submit(
            {
                "id": prompt_id,
                "prompt": graph.needed(sent, verdict.outputs),
                # Of what else stands beside it nothing is sent: Comfy.Org's keys are there, too.
                "workflow": workflow if isinstance(workflow, dict) else None,
                "name": unquote(request.headers.get(_NAME_HEADER, ""))[:200],
                "folders": {kind: str(folder) for kind, folder in self._host.folders().items()},
            }
        )
        client_id = body.get("client_id")
        client_id = client_id if isinstance(client_id, str) else None
        number = self._number(body)
        kept: Json = {"create_time": int(time.time() * 1000)}
        kept |= {"extra_pnginfo": pnginfo} if isinstance(pnginfo, dict) else {}
        kept |= {"client_id": client_id} if client_id is not None else {}
        item = (number, prompt_id, prompt, kept, list(verdict.outputs))
        run = Run(self._panel, Playback(self._host, item, client_id))
        self._runs[prompt_id] = run
        run.task.add_done_callback(lambda _: self._runs.pop(prompt_id, None))
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": dict(verdict.node_errors)}
        return web.json_response(answer)

    async def _submit(self, asked: Json) -> None:
        try:
            await self._panel.ask("POST", "/v1/prompts", asked)
        except (NotReached, NotSent) as error:
            raise Refused(_refusal(f"Not sent: {str(error).rstrip('.')}. {_REMEDY}")) from error

    async def _judged(self, prompt_id: str, prompt: Json, targets: Sequence[str] | None) -> Verdict:
        """As ComfyUI would say it, but for what only the endpoint has."""
        state = self._state or State()
        if any(not isinstance(node, dict) for node in prompt.values()):
            return await self._host.validate(prompt_id, prompt, targets)
        errors = await asyncio.to_thread(
            graph.unsendable, prompt, self._host.upload_inputs, self._host.folders()
        )
        if errors:
            first = next(iter(errors.values()))["errors"][0]
            error: Json = {
                "type": "prompt_outputs_failed_validation",
                "message": "Prompt outputs failed validation",
                "details": first["details"],
                "extra_info": {},
            }
            return Verdict(error, (), errors)
        unknown = graph.unknown_types(prompt, self._host.knows)
        if unknown and state.types is not None and state.types.issuperset(unknown):
            # Only there: only there it can be validated.
            return Verdict(None, targets or list(prompt))
        with self._host.widened(self._remote_models):
            verdict = await self._host.validate(prompt_id, prompt, targets)
        there = {name for names in (state.models or {}).values() for name in names}
        return graph.excused(verdict, prompt, there) if there else verdict

    def _remote_models(self, kind: str) -> Sequence[str]:
        models = self._state.models if self._state is not None else None
        return (models or {}).get(kind, ())

    def _number(self, body: Json) -> float:
        given = body.get("number")
        if isinstance(given, int | float) and not isinstance(given, bool):
            return float(given)
        number = self._host.next_number()
        return -number if body.get("front") else number


def _lists_nodes(path: str) -> bool:
    return path == "/object_info" or path.startswith("/object_info/")


async def _body(request: web.Request) -> Json:
    """The JSON object of a body; ComfyUI reads it again afterwards."""
    try:
        body: Any = json.loads(await request.text())
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _refusal(message: str, *, kind: str = "comfy_runpod_not_sent", status: int = 400) -> web.Response:
    """As ComfyUI refuses a prompt, so that its page shows it."""
    error: Json = {"type": kind, "message": message, "details": "", "extra_info": {}}
    return web.json_response({"error": error, "node_errors": {}}, status=status)
