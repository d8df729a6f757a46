"""Proxies on loopback that keep something from passing, each in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

import aiohttp
from aiohttp import web


class Proxy:
    """Serves on a free port while its block runs. ``url`` is where."""

    def __init__(self) -> None:
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._end: asyncio.Event | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        end = self._end
        assert end is not None
        self._loop.call_soon_threadsafe(end.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._end = asyncio.Event()
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", self.serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession() as self.session:
                self._ready.set()
                await self._end.wait()
        finally:
            await runner.cleanup()

    async def pass_on(self, request: web.Request, url: str) -> web.Response:
        kept = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")}
        body = await request.read()
        async with self.session.request(
            request.method, url, headers=kept, data=body, timeout=aiohttp.ClientTimeout(total=120)
        ) as answer:
            kind = answer.headers.get("Content-Type", "application/json")
            return web.Response(
                status=answer.status, body=await answer.read(), headers={"Content-Type": kind}
            )


class NoSockets(Proxy):
    """A ComfyUI whose websocket is refused, or dropped as soon as it is open."""

    def __init__(self, behind: str, how: str) -> None:
        super().__init__()
        self._behind = behind
        self._how = how
        self.turned_away = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/ws":
            return await self.pass_on(request, self._behind + request.path_qs)
        self.turned_away += 1
        if self._how == "refused":
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "status", "data": {"sid": "x"}})
        await asyncio.sleep(0.05)
        await socket.close()
        return socket


class GatedPosts(Proxy):
    """Stands between worker and endpoint for what the worker posts; the target's address is in the path.

    ``refuse_results`` counts how many posts of results are still to be refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refuse_results = 0
        self.refused = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        if '"IN_PROGRESS"' not in body and self.refuse_results > 0:
            self.refuse_results -= 1
            self.refused += 1
            return web.Response(status=500)
        return await self.pass_on(request, "http://" + request.path_qs.lstrip("/"))
