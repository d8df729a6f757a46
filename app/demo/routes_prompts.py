"""The routes that queue, stop and look up prompts."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import Any

from aiohttp import web

from app.demo.execution import Executor
from app.demo.files import Folders
from app.demo.logs import LogRing
from app.demo.messages import queue_status
from app.demo.queue import PromptQueue, QueueItem
from app.demo.validation import validate


class PromptRoutes:
    """What clients do with prompts. A body that isn't JSON is answered 500, as by ComfyUI."""

    def __init__(self, queue: PromptQueue, executor: Executor, folders: Folders, log: LogRing) -> None:
        self._queue = queue
        self._executor = executor
        self._folders = folders
        self._log = log
        self._numbers = itertools.count()

    async def post_prompt(self, request: web.Request) -> web.Response:
        self._log.write("got prompt")
        body = await request.json()
        number = self._next_number(body)
        if "prompt" not in body:
            sentence = "No prompt provided"
            error = {"type": "no_prompt", "message": sentence, "details": sentence, "extra_info": {}}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        prompt = body["prompt"]
        prompt_id = str(body.get("prompt_id", uuid.uuid4()))
        verdict = validate(prompt, self._folders, body.get("partial_execution_targets"))
        if verdict.error is not None:
            self._log.write(f"invalid prompt: {verdict.error}")
            return web.json_response({"error": verdict.error, "node_errors": verdict.node_errors}, status=400)
        extra_data = body.get("extra_data", {})
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        self._queue.put(QueueItem(number, prompt_id, prompt, extra_data, verdict.outputs))
        return web.json_response(
            {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        )

    def _next_number(self, body: dict[str, Any]) -> float:
        if "number" in body:
            return float(body["number"])
        number = self.next_number()
        return -number if body.get("front") else number

    def next_number(self) -> int:
        return next(self._numbers)

    async def get_prompt(self, request: web.Request) -> web.Response:
        return web.json_response(queue_status(self._queue.remaining()))

    async def get_queue(self, request: web.Request) -> web.Response:
        running, pending = self._queue.running_and_pending()
        return web.json_response(
            {
                "queue_running": [item.as_list() for item in running],
                "queue_pending": [item.as_list() for item in pending],
            }
        )

    async def post_queue(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self._queue.clear()
        for prompt_id in body.get("delete", ()):
            self._queue.delete(prompt_id)
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = {}
        wanted = body.get("prompt_id")
        running, _ = self._queue.running_and_pending()
        if not wanted or any(item.prompt_id == wanted for item in running):
            self._log.write(f"Interrupting prompt {wanted or '(whatever runs)'}")
            self._executor.interrupt()
        return web.Response()

    async def free(self, request: web.Request) -> web.Response:
        body = await request.json()
        for flag in ("unload_models", "free_memory"):
            if body.get(flag):
                self._queue.set_flag(flag)
        return web.Response()

    async def get_history(self, request: web.Request) -> web.Response:
        most, offset = request.query.get("max_items"), request.query.get("offset")
        return web.json_response(
            self._queue.history(None if most is None else int(most), -1 if offset is None else int(offset))
        )

    async def get_history_entry(self, request: web.Request) -> web.Response:
        return web.json_response(self._queue.history_entry(request.match_info["prompt_id"]))

    async def post_history(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self._queue.clear_history()
        for prompt_id in body.get("delete", ()):
            self._queue.forget(prompt_id)
        return web.Response()
