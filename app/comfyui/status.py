"""What is known of a ComfyUI, and asking it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from .crash import Crash

#: How long a look waits for an answer, in seconds.
_LOOK_S = 2.0
_MOST_STATS = 4 << 20
#: With many custom nodes the description takes some seconds to make.
_DESCRIBED_S = 30.0


class ComfyState(StrEnum):
    NOT_SET_UP = "not_set_up"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class ComfyStatus:
    """What is known of ComfyUI.

    Attributes:
        since: when its process began, in seconds since 1970; None when it is not ours.
        vram: a text such as ``3.1 of 24.0 GB in use``.
        detail: a sentence: why it crashed, or what is odd.
        crash: more of that, for one that ended before our eyes.
        gpu: its name. vram_used, vram_total: in bytes; None when they are not known.
    """

    state: ComfyState
    url: str | None = None
    since: float | None = None
    version: str | None = None
    vram: str | None = None
    detail: str = ""
    crash: Crash | None = None
    gpu: str = ""
    vram_used: int | None = None
    vram_total: int | None = None


async def system_stats(url: str) -> Mapping[str, Any] | None:
    """What ComfyUI says of itself; None when it does not answer in time."""
    content = await _asked(f"{url}/system_stats", _LOOK_S, _MOST_STATS)
    if content is None:
        return None
    try:
        stats = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return stats if isinstance(stats, dict) else {}


async def object_info(url: str, limit: int) -> bytes | None:
    """Its description of its nodes, as JSON of at most ``limit`` bytes; None when it does not give it."""
    return await _asked(f"{url}/object_info", _DESCRIBED_S, limit)


async def _asked(address: str, patience_s: float, limit: int) -> bytes | None:
    """What ComfyUI answers; None when it does not within so many seconds, or with more bytes."""
    import aiohttp  # large, and not needed before the window is in sight

    timeout = aiohttp.ClientTimeout(total=patience_s, sock_connect=_LOOK_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(address) as answer:
            if answer.status != 200:
                return None
            content = bytearray()
            async for piece in answer.content.iter_any():
                content += piece
                if len(content) > limit:
                    return None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    return bytes(content)


def with_stats(status: ComfyStatus, stats: Mapping[str, Any] | None) -> ComfyStatus:
    system, devices = (stats or {}).get("system"), (stats or {}).get("devices")
    version = system.get("comfyui_version") if isinstance(system, dict) else None
    device = devices[0] if isinstance(devices, list) and devices else None
    used, total = _memory(device)
    return replace(
        status,
        version=version if isinstance(version, str) else None,
        vram=None if used is None or total is None else f"{used / 1e9:.1f} of {total / 1e9:.1f} GB in use",
        gpu=_device_name(device),
        vram_used=used,
        vram_total=total,
    )


def _device_name(device: Any) -> str:
    """As ``cuda:0 NVIDIA GeForce RTX 4070 : cudaMallocAsync`` names it, the card alone."""
    name = device.get("name") if isinstance(device, dict) else None
    if not isinstance(name, str):
        return ""
    name = name.partition(" : ")[0]
    return (name.partition(" ")[2] if name[:4] in ("cuda", "hip:", "xpu:") else name).strip()


def _memory(device: Any) -> tuple[int | None, int | None]:
    """What is used and what there is, in bytes."""
    if not isinstance(device, dict):
        return None, None
    total, free = device.get("vram_total"), device.get("vram_free")
    if not isinstance(total, int) or not isinstance(free, int) or not 0 <= free <= total or not total:
        return None, None
    return total - free, total
