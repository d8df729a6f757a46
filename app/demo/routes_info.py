"""The routes that tell what the engine is and has."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import psutil
from aiohttp import web

from app.demo.catalogue import MODEL_KINDS, object_info
from app.demo.files import KINDS, Folders
from app.demo.logs import LogRing
from app.demo.messages import FEATURES

SPOKEN_VERSION = "0.3.64"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Comfy RunPod demo engine</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em}</style>
<h1>Comfy RunPod demo engine</h1>
<p>This is not ComfyUI. It answers like ComfyUI 0.3.64 and runs nodes that need no model: empty, load, scale,
blur, invert, crop, batch, save. It has no editor; drop workflows into the Comfy RunPod window instead.</p>
<p><a href="queue">Queue</a> · <a href="history">history</a> · <a href="object_info">nodes</a></p>
</html>
"""


class InfoRoutes:
    """Reading routes; they change nothing."""

    def __init__(self, folders: Folders, log: LogRing, argv: Sequence[str]) -> None:
        self._folders = folders
        self._log = log
        self._argv = list(argv)

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def system_stats(self, request: web.Request) -> web.Response:
        memory = psutil.virtual_memory()
        system = {
            "os": os.name,
            "ram_total": memory.total,
            "ram_free": memory.available,
            "comfyui_version": SPOKEN_VERSION,
            "comfy_runpod_demo": True,
            "required_frontend_version": "1.27.10",
            "installed_templates_version": "0.1.95",
            "required_templates_version": "0.1.95",
            "python_version": sys.version,
            "pytorch_version": "none (demo engine)",
            "embedded_python": False,
            "argv": self._argv,
        }
        device = {
            "name": "cpu",
            "type": "cpu",
            "index": None,
            "vram_total": memory.total,
            "vram_free": memory.available,
            "torch_vram_total": memory.total,
            "torch_vram_free": memory.available,
        }
        return web.json_response({"system": system, "devices": [device]})

    async def features(self, request: web.Request) -> web.Response:
        return web.json_response(FEATURES)

    async def nodes(self, request: web.Request) -> web.Response:
        return web.json_response(object_info(self._folders, request.match_info.get("node_class")))

    async def model_kinds(self, request: web.Request) -> web.Response:
        return web.json_response(MODEL_KINDS)

    async def models(self, request: web.Request) -> web.Response:
        if request.match_info["kind"] not in MODEL_KINDS:
            return web.Response(status=404)
        return web.json_response([])

    async def nothing(self, request: web.Request) -> web.Response:
        return web.json_response([])

    async def folder_paths(self, request: web.Request) -> web.Response:
        models = self._folders.base / "models"
        return web.json_response({kind: [str(models / kind)] for kind in MODEL_KINDS})

    async def files(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        folder = self._folders.of_kind(kind)
        if kind not in KINDS or folder is None:
            return web.json_response({"error": "Invalid directory type"}, status=400)
        names = self._folders.top_files(kind)
        newest_first = sorted(names, key=lambda name: -(folder / name).stat().st_mtime)
        return web.json_response(newest_first)

    async def logs(self, request: web.Request) -> web.Response:
        return web.json_response(self._log.text())

    async def raw_logs(self, request: web.Request) -> web.Response:
        size = {"cols": 80, "rows": 24}
        return web.json_response({"entries": self._log.entries(), "size": size})
