"""Who may make a run that costs money: ComfyUI's own pages, and nobody else's.

ComfyUI compares Origin with Host, which lets a page without an origin and a rebound name through.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

#: The header by which a page of ours is known, and that of the panel's own worker.
PAGE_HEADER = "X-Comfy-RunPod-Page"
LOCAL_HEADER = "X-Comfy-RunPod-Local"
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def is_own_page(request: web.Request, allowed: Collection[str] = ()) -> bool:
    """Whether a request can only be from a page of this very server.

    Args:
        allowed: names beside the loopback's that the user opens ComfyUI by.
    """
    host = _parts(request.headers.get("Host", ""))
    if host is None or (host[0] not in _LOOPBACK and host[0] not in allowed):
        return False
    ours = _PORTS["https" if request.secure else "http"]
    origin = request.headers.get("Origin")
    if origin is not None:
        scheme, separator, rest = origin.partition("://")
        asking = _parts(rest) if separator and scheme in _PORTS else None
        if asking is None or (asking[0], asking[1] or _PORTS[scheme]) != (host[0], host[1] or ours):
            return False
    return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def has_page_token(request: web.Request, token: str) -> bool:
    """Whether the page was given the token by us. Constant time."""
    return _same(request.headers.get(PAGE_HEADER), token)


def is_local_worker(request: web.Request, key: str | None) -> bool:
    """Whether it is the panel's own worker, whose prompts run here. Constant time."""
    return key is not None and _same(request.headers.get(LOCAL_HEADER), key)


def is_json(request: web.Request) -> bool:
    """Whether the body says that it is JSON: a form of another site cannot, without asking first."""
    return request.content_type == "application/json"


def _same(given: str | None, known: str) -> bool:
    return bool(known) and given is not None and hmac.compare_digest(given.encode(), known.encode())


def _parts(host: str) -> tuple[str, int | None] | None:
    """Name and port of ``name:port``; None when it is no such thing."""
    try:
        split = urlsplit("//" + host.lower())
        if split.hostname is None or split.path or split.query or split.username is not None:
            return None
        return split.hostname, split.port
    except ValueError:
        return None
