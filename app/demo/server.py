"""The engine put together: its routes, its worker thread, its start and end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from app.demo.execution import Executor
from app.demo.files import Folders
from app.demo.hosting import DemoHost, hook_in
from app.demo.logs import LogRing
from app.demo.messages import FEATURES, MessageHub, queue_status
from app.demo.queue import PromptQueue
from app.demo.routes_files import FileRoutes
from app.demo.routes_info import InfoRoutes
from app.demo.routes_prompts import PromptRoutes

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LONGEST_STOP_S = 5.0


class DemoEngine:
    """One demo engine on some folders. ``build()`` gives the app; serving it starts and stops the rest.

    Args:
        previews: send a preview after each image of the slow nodes.
        argv: the command line shown by ``/system_stats``.
        node: the folder of the interception node, when it shall live here.
    """

    def __init__(
        self,
        folders: Folders,
        *,
        previews: bool = False,
        argv: Sequence[str] = (),
        node: Path | None = None,
    ) -> None:
        self.folders = folders
        self._node = node
        self.log = LogRing()
        self._hub = MessageHub()
        self._executor = Executor(self._hub, folders, self.log, previews=previews)
        self._queue = PromptQueue(self._announce, self._executor.clear_interrupt)
        self._argv = argv
        self._worker = threading.Thread(target=self._work, name="demo-executor", daemon=True)

    def build(self) -> web.Application:
        app = web.Application(
            client_max_size=int(str(FEATURES["max_upload_size"])), middlewares=[_same_origin]
        )
        info = InfoRoutes(self.folders, self.log, self._argv)
        prompts = PromptRoutes(self._queue, self._executor, self.folders, self.log)
        if self._node is not None:
            hook_in(self._node, DemoHost(app, self.folders, self._queue, self._hub, prompts.next_number))
        for method, path, handler in self._twice(info, prompts):
            app.router.add_route(method, path, handler)
            app.router.add_route(method, "/api" + path, handler)
        app.router.add_get("/", info.page)
        app.router.add_get("/internal/folder_paths", info.folder_paths)
        app.router.add_get("/internal/files/{kind}", info.files)
        app.router.add_get("/internal/logs", info.logs)
        app.router.add_get("/internal/logs/raw", info.raw_logs)
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._stop)
        return app

    def _twice(self, info: InfoRoutes, prompts: PromptRoutes) -> list[tuple[str, str, _Handler]]:
        """The routes that exist with and without ``/api``."""
        files = FileRoutes(self.folders)
        return [
            ("GET", "/ws", self._websocket),
            ("POST", "/prompt", prompts.post_prompt),
            ("GET", "/prompt", prompts.get_prompt),
            ("GET", "/queue", prompts.get_queue),
            ("POST", "/queue", prompts.post_queue),
            ("POST", "/interrupt", prompts.interrupt),
            ("POST", "/free", prompts.free),
            ("GET", "/history", prompts.get_history),
            ("POST", "/history", prompts.post_history),
            ("GET", "/history/{prompt_id}", prompts.get_history_entry),
            ("GET", "/view", files.view),
            ("POST", "/upload/image", files.upload_image),
            ("POST", "/upload/mask", files.upload_mask),
            ("GET", "/system_stats", info.system_stats),
            ("GET", "/features", info.features),
            ("GET", "/object_info", info.nodes),
            ("GET", "/object_info/{node_class}", info.nodes),
            ("GET", "/models", info.model_kinds),
            ("GET", "/models/{kind}", info.models),
            ("GET", "/embeddings", info.nothing),
            ("GET", "/extensions", info.nothing),
        ]

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        return await self._hub.serve(request, self._queue.remaining, self._executor.current_node)

    def _announce(self, remaining: int) -> None:
        self._hub.publish("status", {"status": queue_status(remaining)})

    async def _start(self, app: web.Application) -> None:
        await asyncio.to_thread(self.folders.prepare)
        self._hub.start()
        self._worker.start()

    async def _stop(self, app: web.Application) -> None:
        self._queue.close()
        self._executor.interrupt()
        await asyncio.to_thread(self._worker.join, _LONGEST_STOP_S)
        await self._hub.stop()
        await asyncio.to_thread(self.folders.empty_temp)

    def _work(self) -> None:
        while not self._queue.closed:
            item = self._queue.take()
            if item is not None:
                began = time.perf_counter()
                result = self._executor.run(item)
                self._queue.done(item, result)
                if item.client_id is not None:
                    end = {"node": None, "prompt_id": item.prompt_id}
                    self._hub.publish("executing", end, item.client_id)
                self.log.write(f"Prompt executed in {time.perf_counter() - began:.2f} seconds")
            if self._queue.take_flags().get("free_memory"):
                self._executor.forget()


@web.middleware
async def _same_origin(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """A web page of another site must not queue prompts on this computer."""
    origin = request.headers.get("Origin")
    host = urlsplit("//" + request.headers.get("Host", ""))
    if origin is not None and _is_loopback(host.hostname):
        asking = urlsplit(origin)
        if (asking.hostname, asking.port or host.port) != (host.hostname, host.port or asking.port):
            return web.Response(status=403)
    return await handler(request)


def _is_loopback(name: str | None) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name or "").is_loopback
    except ValueError:
        return False
