"""The worker protocol as RunPod's SDK (1.12) speaks it, under ``/worker/{secret}``.

The secret in the path is the only proof: the SDK may send a key from the user's ``~/.runpod/config.toml`` in
its header, so the header is neither trusted nor looked at.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable

from aiohttp import web

from .config import EndpointConfig
from .dispatch import Dispatcher
from .http import Handler, json_object, json_text, read_body, refuse
from .queue import Verdict


class WorkerRoutes:
    """Handlers for workers."""

    def __init__(self, dispatcher: Dispatcher, config: EndpointConfig, secret: str) -> None:
        self._hub = dispatcher
        self._config = config
        self._secret = secret

    def add_to(self, app: web.Application) -> None:
        base = "/worker/{secret}"
        app.add_routes(
            [
                web.get(f"{base}/job-take/{{worker}}", self.take, allow_head=False),
                web.get(f"{base}/job-take-batch/{{worker}}", self.take_batch, allow_head=False),
                web.post(f"{base}/job-done/{{worker}}/{{job}}", self.done),
                web.get(f"{base}/job-stop/{{worker}}", self.stop, allow_head=False),
                web.get(f"{base}/ping/{{worker}}", self.ping, allow_head=False),
            ]
        )

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Without the right secret there is nothing here."""
        if request.path.startswith("/worker"):
            given = request.match_info.get("secret", "")
            if not hmac.compare_digest(given.encode("utf-8", "replace"), self._secret.encode()):
                raise web.HTTPNotFound
        return await handler(request)

    async def take(self, request: web.Request) -> web.StreamResponse:
        return await self._take(request, batch=False)

    async def take_batch(self, request: web.Request) -> web.StreamResponse:
        return await self._take(request, batch=True)

    async def done(self, request: web.Request) -> web.StreamResponse:
        worker_id, job_id = request.match_info["worker"], request.match_info["job"]
        limit = max(self._config.max_run_bytes, self._config.max_sync_bytes)
        raw, size = await read_body(request, limit, drain=True)
        body = {} if raw is None else json_object(raw)
        if self._hub.done(worker_id, job_id, body, size) is Verdict.OVERSIZED:
            refuse(web.HTTPBadRequest, "the result is too large")
        return web.Response()

    async def stop(self, request: web.Request) -> web.StreamResponse:
        worker_id = request.match_info["worker"]
        job_ids = await self._hub.stops(worker_id, gone=_gone(request))
        if not job_ids:
            return await self._nothing()
        answer = web.json_response({"jobsToStop": job_ids})
        return await _deliver(request, answer, lambda: self._hub.unsent_stops(worker_id, job_ids))

    async def ping(self, request: web.Request) -> web.StreamResponse:
        reported = [job_id for job_id in request.query.get("job_id", "").split(",") if job_id]
        self._hub.hear(request.match_info["worker"], reported)
        return web.Response()

    async def _take(self, request: web.Request, *, batch: bool) -> web.StreamResponse:
        worker_id = request.match_info["worker"]
        count = request.query.get("batch_size", "1") if batch else "1"
        jobs = await self._hub.take(
            worker_id,
            int(count) if count.isdecimal() and int(count) > 0 else 1,
            holds_nothing=request.query.get("job_in_progress") == "0",
            gone=_gone(request),
        )
        if not jobs:
            return await self._nothing()
        texts = ", ".join(text for _, text in jobs)
        answer = json_text(f"[{texts}]" if batch else texts)
        job_ids = [job_id for job_id, _ in jobs]
        return await _deliver(request, answer, lambda: self._hub.undelivered(worker_id, job_ids))

    async def _nothing(self) -> web.Response:
        if self._hub.closing:
            # The SDK asks again at once: it would spin until its end.
            await asyncio.sleep(1)
        return web.Response(status=204)


def _gone(request: web.Request) -> Callable[[], bool]:
    return lambda: request.transport is None or request.transport.is_closing()


async def _deliver(
    request: web.Request, answer: web.Response, take_back: Callable[[], None]
) -> web.StreamResponse:
    """Write the answer here and now, and take its content back when the asker is no longer there."""
    try:
        if _gone(request)():
            raise ConnectionResetError
        await answer.prepare(request)
        await answer.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        take_back()
        raise
    return answer
