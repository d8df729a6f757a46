"""Speaks to an engine as a client does, replays recordings, and masks what may differ between two runs."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from tests.engines import Engine

DATA = Path(__file__).parents[1] / "data" / "comfyui"
LIMIT_S = 40.0
_TEMP_NAME = re.compile(r"ComfyUI_temp_[a-z]{5}")


class Client:
    """One websocket and one HTTP connection. ``events`` are the messages so far, text ones parsed."""

    def __init__(self, engine: Engine, client_id: str | None = None, *, flags: bool = True) -> None:
        self.engine = engine
        self.id = client_id or uuid.uuid4().hex
        self.events: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self._flags = flags
        self._arrived = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Client:
        self.http = aiohttp.ClientSession(self.engine.url)
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        await self.http.close()

    async def open(self) -> None:
        """Connect the websocket and wait for its first message."""
        before = len(self.events)
        self.ws = await self.http.ws_connect(f"/ws?clientId={self.id}", max_msg_size=0)
        if self._flags:
            hello = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
            await self.ws.send_json(hello)
        self._reader = asyncio.create_task(self._read(self.ws))
        last = "feature_flags" if self._flags else "status"
        await self.until(lambda: any(e["type"] == last for e in self.events[before:]))

    async def close(self) -> None:
        await self.ws.close()
        if self._reader is not None:
            await self._reader

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for message in ws:
            async with self._arrived:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.events.append(json.loads(message.data))
                else:
                    self.frames.append(message.data)
                self._arrived.notify_all()

    async def until(self, ready: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        async with asyncio.timeout(limit_s), self._arrived:
            await self._arrived.wait_for(ready)

    async def until_node(self, prompt_id: str, node: str | None) -> None:
        """Until ``executing`` names that node of that prompt; None: until its end."""
        wanted = {"node": node, "prompt_id": prompt_id}
        await self.until(
            lambda: any(e["type"] == "executing" and wanted.items() <= e["data"].items() for e in self.events)
        )

    async def json(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body: JSON, text, or None when empty."""
        async with self.http.request(method, path, json=body) as answer:
            return answer.status, await _body(answer)

    async def post(self, prompt: Any, **more: Any) -> str:
        """Queue a prompt for this client; its id."""
        status, answer = await self.json("POST", "/prompt", {"prompt": prompt, "client_id": self.id, **more})
        assert status == 200, answer
        assert answer["node_errors"] == {}
        prompt_id: str = answer["prompt_id"]
        return prompt_id

    async def run(self, prompt: Any, **more: Any) -> dict[str, Any]:
        """Queue, wait for the end, give the history entry."""
        prompt_id = await self.post(prompt, **more)
        await self.until_node(prompt_id, None)
        return await self.history(prompt_id)

    async def history(self, prompt_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            _, answer = await self.json("GET", f"/history/{prompt_id}")
            if answer:
                entry: dict[str, Any] = answer[prompt_id]
                return entry
            await asyncio.sleep(0.02)
        raise TimeoutError(prompt_id)

    def types(self, prompt_id: str) -> list[str]:
        return [e["type"] for e in self.events if e["data"].get("prompt_id") == prompt_id]

    async def upload(self, name: str, content: bytes, **fields: str) -> tuple[int, Any]:
        form = aiohttp.FormData()
        form.add_field("image", content, filename=name, content_type="image/png")
        for key, value in fields.items():
            form.add_field(key, value)
        async with self.http.post("/upload/image", data=form) as answer:
            return answer.status, await _body(answer)


async def _body(answer: aiohttp.ClientResponse) -> Any:
    if answer.content_type == "application/json":
        return await answer.json()
    raw = await answer.read()
    if not raw:
        return None
    return raw.decode() if answer.content_type == "text/plain" else raw


class Recording:
    """One recorded scenario, replayed request by request."""

    def __init__(self, name: str) -> None:
        text = (DATA / f"{name}.jsonl").read_text(encoding="utf-8")
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
        opened = next((line["path"] for line in self.lines if line["kind"] == "ws_open"), "=")
        self.client_id = opened.split("=")[1]
        self._ids: dict[str, str] = {}

    @property
    def events(self) -> list[dict[str, Any]]:
        return [line["json"] for line in self.lines if line["kind"] == "ws_recv" and "json" in line]

    def exchanges(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Each request with its answer."""
        requests = [line for line in self.lines if line["kind"] == "http_request"]
        answers = [line for line in self.lines if line["kind"] == "http_response"]
        return list(zip(requests, answers, strict=True))

    async def replay(
        self, client: Client, skip: Callable[[dict[str, Any]], bool] = lambda request: False
    ) -> None:
        """Send every request in order and compare every answer; each prompt is awaited."""
        for request, recorded in self.exchanges():
            if skip(request):
                continue
            status, answer = await self._send(client, request)
            assert status == recorded["status"], (request, answer)
            if request["path"] == "/prompt" and status == 200 and request["method"] == "POST":
                self._ids[recorded["json"]["prompt_id"]] = answer["prompt_id"]
                await _until_idle(client, answer["prompt_id"])
            if "json" in recorded:
                assert self.mask(answer, client) == self.mask(recorded["json"], client), request
            elif "text" in recorded:
                assert answer == recorded["text"]
            elif not recorded["length"]:
                assert answer is None

    async def _send(self, client: Client, request: dict[str, Any]) -> tuple[int, Any]:
        path = self._current(request["path"])
        form = request.get("form")
        if isinstance(form, str):
            raw = form.removeprefix("raw bytes: ").encode()
            async with client.http.request(
                request["method"], path, data=raw, headers=request["headers"]
            ) as answer:
                return answer.status, await _body(answer)
        if form is not None:
            data = aiohttp.FormData()
            for key, value in form.items():
                if isinstance(value, dict):
                    content = base64.b64decode(value["body_base64"])
                    data.add_field(
                        key, content, filename=value["filename"], content_type=value["content_type"]
                    )
                else:
                    data.add_field(key, value)
            async with client.http.post(path, data=data) as answer:
                return answer.status, await _body(answer)
        return await client.json(request["method"], path, request.get("json"))

    def _current(self, text: str) -> str:
        for recorded, actual in self._ids.items():
            text = text.replace(recorded, actual)
        return text

    def mask(self, value: Any, client: Client) -> Any:
        """``value`` without what may differ: ids, times, numbers, tracebacks, paths, names, set order."""
        text = self._current(json.dumps(value))
        text = text.replace("/opt/ComfyUI/input", json.dumps(str(client.engine.input))[1:-1])
        return _masked(json.loads(_TEMP_NAME.sub("ComfyUI_temp_xxxxx", text)))


def _masked(value: Any, key: str = "") -> Any:
    if key == "traceback":
        return ["masked"] if value and all(isinstance(line, str) for line in value) else value
    if key == "timestamp":
        return "masked" if isinstance(value, int) else value
    if key == "number":
        return _number(value)
    if isinstance(value, dict):
        return {name: _masked(each, name) for name, each in value.items()}
    if not isinstance(value, list):
        return value
    if key == "prompt" and len(value) == 5:
        value = [_number(value[0]), *value[1:4], sorted(value[4])]
    if key in ("executed", "current_outputs", "dependent_outputs"):
        value = sorted(value)
    if key == "errors":
        value = sorted(value, key=lambda error: json.dumps(error, sort_keys=True))
    if key == "image" and len(value) == 2 and isinstance(value[0], list):
        # A file list: without what other tests have put there.
        value = [[name for name in value[0] if not name.startswith("ct_")], value[1]]
    return [_masked(each) for each in value]


def _number(value: Any) -> Any:
    """A counter's number without its size."""
    if isinstance(value, int):
        return "negative" if value < 0 else "positive"
    return value


async def _until_idle(client: Client, prompt_id: str) -> None:
    """Until the prompt is in the history and the socket has heard that nothing is left."""
    await client.history(prompt_id)

    def heard() -> bool:
        last = next(e for e in reversed(client.events) if e["type"] == "status")
        left: int = last["data"]["status"]["exec_info"]["queue_remaining"]
        started = [e for e in client.events if e["data"].get("prompt_id") == prompt_id]
        own = any(e["type"] == "execution_start" for e in started)
        ended = any(e["type"] == "executing" and e["data"]["node"] is None for e in started)
        return left == 0 and (ended or not own)

    await client.until(heard)


def chain(color: int, *, blurs: int, prefix: str, side: int = 1400) -> dict[str, Any]:
    """A slow prompt: an image and so many blurs, nodes 10, 11 …; saved by node 2."""
    prompt: dict[str, Any] = {"1": empty(color, side)}
    last = "1"
    for number in range(10, 10 + blurs):
        prompt[str(number)] = node("ImageBlur", image=[last, 0], blur_radius=12, sigma=5.0)
        last = str(number)
    return {**prompt, "2": node("SaveImage", images=[last, 0], filename_prefix=prefix)}


def empty(color: int, side: int = 64, count: int = 1) -> dict[str, Any]:
    return node("EmptyImage", width=side, height=side, batch_size=count, color=color)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
