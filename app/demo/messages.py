"""The websocket side: who listens, and one ordered stream of messages to them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web
from PIL import Image

FEATURES = {"supports_preview_metadata": True, "max_upload_size": 100 * 1024 * 1024}
_PREVIEW = 1
_PREVIEW_WITH_METADATA = 4
_JPEG = 1
PREVIEW_SIDE = 512


class MessageHub:
    """Owns the open websockets, by client id. :meth:`publish` and :meth:`send_preview` serve any thread."""

    def __init__(self) -> None:
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._flags: dict[str, dict[str, Any]] = {}
        self._outbox: asyncio.Queue[tuple[str | bytes, str | None]] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sender = asyncio.create_task(self._send_all(), name="demo-messages")

    async def stop(self) -> None:
        for socket in list(self._sockets.values()):
            with contextlib.suppress(OSError, RuntimeError):
                await socket.close()
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
        self._loop = None

    def publish(self, event: str, data: dict[str, Any], client_id: str | None = None) -> None:
        """Send to one client, or to all when ``client_id`` is None."""
        self._post(json.dumps({"type": event, "data": data}), client_id)

    def wants_metadata(self, client_id: str | None) -> bool:
        flags = self._flags.get(client_id or "", {})
        return flags.get("supports_preview_metadata") is True

    def send_preview(self, jpeg: bytes, client_id: str | None, metadata: dict[str, Any] | None) -> None:
        """With ``metadata`` the newer form (see :meth:`wants_metadata`), else the older one."""
        if metadata is None:
            frame = struct.pack(">II", _PREVIEW, _JPEG) + jpeg
        else:
            about = json.dumps({**metadata, "image_type": "image/jpeg"}).encode()
            frame = struct.pack(">II", _PREVIEW_WITH_METADATA, len(about)) + about + jpeg
        self._post(frame, client_id)

    async def serve(
        self, request: web.Request, remaining: Callable[[], int], current_node: Callable[[str], str | None]
    ) -> web.WebSocketResponse:
        """One client's connection, to its end. ``current_node`` is what runs for a client that comes back."""
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        client_id = request.query.get("clientId", "") or uuid.uuid4().hex
        self._sockets[client_id] = socket
        self._flags[client_id] = {}
        try:
            status = {"status": queue_status(remaining()), "sid": client_id}
            await self._send(_text("status", status), client_id)
            node_id = current_node(client_id)
            if node_id is not None:
                await self._send(_text("executing", {"node": node_id}), client_id)
            await self._listen(socket, client_id)
        finally:
            # By id, though the id may be a newer connection's by now: ComfyUI drops that one's messages
            # too, and a client that works here must know it.
            self._sockets.pop(client_id, None)
            self._flags.pop(client_id, None)
        return socket

    async def _listen(self, socket: web.WebSocketResponse, client_id: str) -> None:
        first = True
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            with contextlib.suppress(ValueError, AttributeError):
                said = json.loads(message.data)
                if first and said.get("type") == "feature_flags":
                    self._flags[client_id] = said.get("data", {})
                    await self._send(_text("feature_flags", FEATURES), client_id)
                first = False

    def _post(self, frame: str | bytes, client_id: str | None) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed between the two lines
                self._loop.call_soon_threadsafe(self._outbox.put_nowait, (frame, client_id))

    async def _send_all(self) -> None:
        while True:
            await self._send(*await self._outbox.get())

    async def _send(self, frame: str | bytes, client_id: str | None) -> None:
        if client_id is None:
            receivers = list(self._sockets.values())
        else:
            receivers = [self._sockets[client_id]] if client_id in self._sockets else []
        for socket in receivers:
            with contextlib.suppress(ConnectionError, RuntimeError):
                if isinstance(frame, str):
                    await socket.send_str(frame)
                else:
                    await socket.send_bytes(frame)


def queue_status(remaining: int) -> dict[str, Any]:
    return {"exec_info": {"queue_remaining": remaining}}


def preview_jpeg(image: Image.Image) -> bytes:
    """A JPEG of at most PREVIEW_SIDE pixels a side."""
    small = image.convert("RGB")
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _text(event: str, data: dict[str, Any]) -> str:
    return json.dumps({"type": event, "data": data})
