"""What both sides of the local endpoint share: bodies with a limit, JSON answers, errors as JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def refuse(kind: type[web.HTTPException], sentence: str) -> NoReturn:
    """Answer with an error status and ``{"error": sentence}``."""
    raise kind(text=json.dumps({"error": sentence}), content_type="application/json")


def json_text(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")


async def read_body(request: web.Request, limit: int, *, drain: bool = False) -> tuple[bytes | None, int]:
    """The body, or None when it is longer than ``limit`` bytes; and how many bytes were read.

    ``drain`` reads an overlong body to its end without keeping it: a sender that does not look for an early
    answer would see a broken connection instead of our status.
    """
    kept, size = bytearray(), 0
    async for chunk in request.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size <= limit:
            kept += chunk
        else:
            kept.clear()
            if not drain:
                return None, size
    return (bytes(kept) if size <= limit else None), size


def json_object(raw: bytes) -> dict[str, Any]:
    """A body as a JSON object; anything else is answered with 400. Its content type does not matter."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        refuse(web.HTTPBadRequest, "the request body is not valid JSON")
    if not isinstance(data, dict):
        refuse(web.HTTPBadRequest, "the request body must be a JSON object")
    return data


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give aiohttp's own 404 and 405 the same form as ours."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.content_type == "application/json":
            raise
        answer = json_text(json.dumps({"error": error.reason}), error.status)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
