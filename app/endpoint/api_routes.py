"""The local endpoint's job API, as RunPod documents it, under ``/v2/{endpoint}``."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from .config import UNCOUNTED, EndpointConfig
from .dispatch import Dispatcher
from .http import Handler, json_object, json_text, read_body, refuse
from .states import Job

_WEEK_MS = 7 * 24 * 3600 * 1000
_RANGES = {"executionTimeout": (5_000, _WEEK_MS), "ttl": (10_000, _WEEK_MS), "wait": (1_000, 300_000)}
_DEFAULT_WAIT_MS = 90_000


class ApiRoutes:
    """Handlers for clients.

    Args:
        workers: the workers' counts for a health answer.
        on_call: told of every request with the right key, but for those that only look.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        config: EndpointConfig,
        key: str,
        *,
        workers: Callable[[], dict[str, int]],
        on_call: Callable[[], None],
    ) -> None:
        self._hub = dispatcher
        self._queue = dispatcher.queue
        self._config = config
        self._key = key
        self._workers = workers
        self._on_call = on_call

    def add_to(self, app: web.Application) -> None:
        base = "/v2/{endpoint}"
        app.add_routes(
            [
                web.post(f"{base}/run", self.run),
                web.post(f"{base}/runsync", self.runsync),
                web.get(f"{base}/status/{{job}}", self.status, allow_head=False),
                web.post(f"{base}/cancel/{{job}}", self.cancel),
                web.post(f"{base}/retry/{{job}}", self.retry),
                web.post(f"{base}/purge-queue", self.purge),
                web.get(f"{base}/health", self.health, allow_head=False),
            ]
        )

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Ask for the key, with or without ``Bearer``, before anything else is told."""
        if not request.path.startswith("/v2/"):
            return await handler(request)
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._key.encode()):
            refuse(web.HTTPUnauthorized, "the API key is missing or wrong")
        if UNCOUNTED not in request.headers:
            self._on_call()
        if request.match_info.get("endpoint", self._config.endpoint_id) != self._config.endpoint_id:
            refuse(web.HTTPNotFound, "there is no such endpoint")
        return await handler(request)

    async def run(self, request: web.Request) -> web.Response:
        return json_text((await self._submit(request, sync=False)).short_reply())

    async def runsync(self, request: web.Request) -> web.Response:
        wait_ms = _query_ms(request, "wait") or _DEFAULT_WAIT_MS
        submitted = await self._submit(request, sync=True)
        job = await self._hub.wait_final(submitted.id, wait_ms / 1000)
        if job is None:
            refuse(web.HTTPNotFound, "the job was removed before it ended")
        return json_text(self._queue.reply(job) if job.is_final else job.short_reply())

    async def status(self, request: web.Request) -> web.Response:
        job = self._job(request)
        ttl_ms = _query_ms(request, "ttl")
        if ttl_ms is not None:
            job = self._queue.set_ttl(job, ttl_ms)
        return json_text(self._queue.reply(job))

    async def cancel(self, request: web.Request) -> web.Response:
        return json_text(self._hub.cancel(self._job(request)).short_reply())

    async def retry(self, request: web.Request) -> web.Response:
        job = self._queue.retry(self._job(request))
        if job is None:
            refuse(web.HTTPBadRequest, "only a job that is FAILED or TIMED_OUT can be retried")
        self._hub.changed()
        return json_text(job.short_reply())

    async def purge(self, _request: web.Request) -> web.Response:
        removed = self._queue.purge()
        self._hub.changed()
        return web.json_response({"removed": removed, "status": "completed"})

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"jobs": self._queue.counts(), "workers": self._workers()})

    def _job(self, request: web.Request) -> Job:
        job = self._queue.get(request.match_info["job"])
        if job is None:
            refuse(web.HTTPNotFound, "there is no such job, or it has expired")
        return job

    async def _submit(self, request: web.Request, *, sync: bool) -> Job:
        limit = self._config.limit(sync)
        raw, _ = await read_body(request, limit)
        if raw is None:
            refuse(web.HTTPBadRequest, f"the request body is too large: the limit is {limit} bytes")
        body = json_object(raw)
        if "input" not in body:
            refuse(web.HTTPBadRequest, "the request body has no “input”")
        if body["input"] is None or body["input"] == {}:
            refuse(web.HTTPBadRequest, "“input” is empty: RunPod accepts such a job and then fails it")
        if self._hub.closing:
            refuse(web.HTTPServiceUnavailable, "the endpoint is being stopped")
        execution_timeout_ms, ttl_ms = _policy(body.get("policy"))
        job = self._queue.submit(
            {name: body[name] for name in ("input", "s3Config") if name in body},
            sync=sync,
            execution_timeout_ms=execution_timeout_ms,
            ttl_ms=ttl_ms,
        )
        self._hub.changed()
        return job


def _policy(policy: Any) -> tuple[int | None, int | None]:
    if policy is None:
        return None, None
    if not isinstance(policy, dict):
        refuse(web.HTTPBadRequest, "“policy” must be an object")
    return tuple(  # type: ignore[return-value]
        None if policy.get(name) is None else _in_range(name, policy[name])
        for name in ("executionTimeout", "ttl")
    )


def _query_ms(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return _in_range(name, json.loads(text))
    except ValueError:
        refuse(web.HTTPBadRequest, f"“{name}” must be a whole number of milliseconds")


def _in_range(name: str, value: Any) -> int:
    low, high = _RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        refuse(web.HTTPBadRequest, f"“{name}” must be a whole number from {low} to {high} (milliseconds)")
    return value
