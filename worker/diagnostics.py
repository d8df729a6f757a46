"""The structured failure: one sentence, a code, the node, and what helps to find the cause."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from .comfyui import ComfyClient
from .config import Config
from .errors import ComfyUnavailable, JobError

LOG_LINES = 50
#: In bytes, of a failure's JSON.
LONGEST_FAILURE = 1_000_000
_LONGEST_SENTENCE = 4000
_MODEL_KINDS = ("checkpoints", "diffusion_models", "loras", "vae", "text_encoders", "controlnet")
_MODELS_EACH = 50
#: Of a folder's listing, and how many of a folder are looked at for that.
_LISTED, _MOST_LOOKED_AT = 50, 5000
#: How long a ComfyUI that may be stuck is asked for what helps, in seconds.
_ASK_S = 5.0
#: A shorter one is no key, and would blot out half of the answer.
_SHORTEST_SECRET = 8


async def failure(
    error: JobError,
    client: ComfyClient | None,
    own_log: list[str] | None,
    config: Config,
    secrets: Sequence[str] = (),
) -> dict[str, Any]:
    """The answer for a job that failed. ``error`` at top level is what makes RunPod mark it FAILED.

    ``own_log`` are the lines of our own ComfyUI; with None they are asked of ComfyUI itself. ``secrets``
    are blotted out wherever they are: an API node's inputs, as ComfyUI tells them, hold the user's key.
    """
    info: dict[str, Any] = {"memory": memory_now()}
    info["disk"] = await asyncio.to_thread(disk_of, config.output_dir)
    if error.code != "bad_input":
        folders = {"input": config.input_dir, "output": config.output_dir}
        info["listings"] = await asyncio.to_thread(_listings, folders)
    if client is not None and error.code != "bad_input":
        info["comfyui_status"] = "not asked: it was too slow"
        info["last_log_lines"] = own_log[-LOG_LINES:] if own_log is not None else []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ASK_S):
                await _ask_comfyui(error, client, info, lines=own_log is None)
    if error.node_errors:
        info["node_errors"] = error.node_errors
    answer: dict[str, Any] = {
        "error": error.summary,
        "status": "error",
        "code": error.code,
        "hint": error.hint,
        "details": error.details,
        "diagnostic_info": info,
    }
    if error.node is not None:
        answer["node"] = error.node
    if error.traceback:
        answer["traceback"] = "".join(error.traceback)
    blotted: dict[str, Any] = without(answer, secrets)
    return await asyncio.to_thread(_fitting, blotted) | error.finished


def _fitting(answer: dict[str, Any]) -> dict[str, Any]:
    """The failure without what would make it too large for the platform, which would drop it whole."""
    answer["error"] = answer["error"][:_LONGEST_SENTENCE]
    for key in ("details", "diagnostic_info", "traceback", "node", "hint"):
        if key in answer and len(json.dumps(answer)) > LONGEST_FAILURE:
            answer[key] = {"left_out": "too large"} if isinstance(answer[key], dict) else "too large"
    return answer


def without(value: Any, secrets: Sequence[str]) -> Any:
    """``value`` with the secrets in its texts replaced by ``***``."""
    wanted = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
    if not wanted:
        return value
    if isinstance(value, str):
        for secret in wanted:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, list):
        return [without(each, wanted) for each in value]
    if isinstance(value, dict):
        return {without(key, wanted): without(each, wanted) for key, each in value.items()}
    return value


async def _ask_comfyui(error: JobError, client: ComfyClient, info: dict[str, Any], *, lines: bool) -> None:
    info["comfyui_status"] = await _status(client)
    if lines:
        info["last_log_lines"] = await client.log_lines(LOG_LINES)
    if error.code == "validation_failed":
        info["available_models"] = {
            kind: names for kind in _MODEL_KINDS if (names := (await client.model_names(kind))[:_MODELS_EACH])
        }


async def _status(client: ComfyClient) -> str:
    try:
        stats = await client.system_stats()
    except ComfyUnavailable as error:
        return error.summary
    system = stats.get("system")
    version = system.get("comfyui_version") if isinstance(system, dict) else None
    return f"answering, version {version or 'unknown'}"


def _listings(folders: Mapping[str, Path]) -> dict[str, list[str]]:
    """The newest files and folders that are there, by their names. Blocks."""
    told: dict[str, list[str]] = {}
    for what, folder in folders.items():
        found: list[tuple[float, str]] = []
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in itertools.islice(entries, _MOST_LOOKED_AT):
                with contextlib.suppress(OSError):
                    found.append((entry.stat().st_mtime, entry.name + ("/" if entry.is_dir() else "")))
        told[what] = [name for _, name in sorted(found, reverse=True)[:_LISTED]]
    return told


def memory_now() -> dict[str, int]:
    memory = psutil.virtual_memory()
    return {"total": memory.total, "available": memory.available}


def disk_of(folder: Path) -> dict[str, int]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return {}
    return {"total": usage.total, "free": usage.free}
