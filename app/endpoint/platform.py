"""The local endpoint's server: RunPod's job API for clients, RunPod's worker protocol for workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable

from aiohttp import web

from .api_routes import ApiRoutes
from .config import EndpointConfig
from .dispatch import Dispatcher
from .http import Handler, errors_as_json
from .queue import JobQueue
from .worker_routes import WorkerRoutes

TICK_S = 1.0
#: The clock does not move by so much between two looks unless the computer slept or its time was set.
LEAP_S = 30.0
log = logging.getLogger(__name__)


class Platform:
    """Serves one endpoint on the loopback interface.

    Args:
        key: the API key of clients.
        on_request: told of every request before it is handled, for tests.
    """

    def __init__(
        self,
        config: EndpointConfig,
        key: str,
        *,
        on_request: Callable[[web.Request], None] | None = None,
    ) -> None:
        self.config = config
        self.secret = secrets.token_urlsafe(24)
        #: The workers' counts for a health answer; whoever starts the workers sets it.
        self.workers: Callable[[], dict[str, int]] = dict
        self.queue = JobQueue(config.data_dir / "jobs.sqlite3", config)
        self.dispatcher = Dispatcher(self.queue, config)
        self._on_request = on_request
        self._called_at = time.monotonic()
        self._ticker: asyncio.Task[None] | None = None
        api = ApiRoutes(self.dispatcher, config, key, workers=lambda: self.workers(), on_call=self._called)
        worker = WorkerRoutes(self.dispatcher, config, self.secret)
        self.app = web.Application(middlewares=[self._watch, errors_as_json, api.check, worker.check])
        api.add_to(self.app)
        worker.add_to(self.app)
        # A poll whose asker has gone must end, so that it is not given a job.
        self._runner = web.AppRunner(self.app, access_log=None, handler_cancellation=True, shutdown_timeout=2)

    @property
    def idle_s(self) -> float:
        """How long nobody has asked for anything; 0 while a job is waiting or running."""
        counts = self.queue.counts()
        if counts["inQueue"] or counts["inProgress"]:
            self._called()
        return time.monotonic() - self._called_at

    async def start(self) -> int:
        """Queue again what the last run left unfinished and listen. Returns the port."""
        again = self.queue.recover()
        if again:
            log.info("%d unfinished jobs of the last run are queued again", again)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.config.listen, self.config.port).start()
        self._ticker = asyncio.create_task(self._tick(), name="endpoint-tick")
        port: int = self._runner.addresses[0][1]
        return port

    async def close(self) -> None:
        """End the polls, stop listening, close the queue. Unfinished jobs stay in it."""
        self.dispatcher.close()
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        await self._runner.cleanup()
        self.queue.close()

    async def _tick(self) -> None:
        looked_at = time.time()
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self._apply_deadlines(time.time() - looked_at)
            except sqlite3.Error:
                log.exception("the queue cannot be written")
            looked_at = time.time()

    def _apply_deadlines(self, passed_s: float) -> None:
        if abs(passed_s) > LEAP_S:
            log.info("the clock moved by %.0f s; no job is charged for it", passed_s)
            self.queue.forgive(passed_s, awake_s=2 * TICK_S)
        self.dispatcher.tick()

    @web.middleware
    async def _watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._on_request is not None:
            self._on_request(request)
        return await handler(request)

    def _called(self) -> None:
        self._called_at = time.monotonic()
