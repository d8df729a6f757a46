"""The structured failure: one sentence, a code, the node, and what helps to find the cause."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psutil

from .comfyui import ComfyClient
from .errors import ComfyUnavailable, JobError

LOG_LINES = 50
_MODEL_KINDS = ("checkpoints", "diffusion_models", "loras", "vae", "text_encoders", "controlnet")
_MODELS_EACH = 50


async def failure(
    error: JobError, client: ComfyClient | None, own_log: list[str] | None, output_dir: Path
) -> dict[str, Any]:
    """The answer for a job that failed. ``error`` at top level is what makes RunPod mark it FAILED.

    ``own_log`` are the lines of our own ComfyUI; with None they are asked of ComfyUI itself.
    """
    info: dict[str, Any] = {"memory": _memory(), "disk": _disk(output_dir)}
    if client is not None and error.code != "bad_input":
        info["comfyui_status"] = await _status(client)
        info["last_log_lines"] = (own_log if own_log is not None else await client.log_lines(LOG_LINES))[
            -LOG_LINES:
        ]
        if error.code == "validation_failed":
            info["available_models"] = {
                kind: names
                for kind in _MODEL_KINDS
                if (names := (await client.model_names(kind))[:_MODELS_EACH])
            }
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
    return answer


async def _status(client: ComfyClient) -> str:
    try:
        stats = await client.system_stats()
    except ComfyUnavailable as error:
        return error.summary
    system = stats.get("system")
    version = system.get("comfyui_version") if isinstance(system, dict) else None
    return f"answering, version {version or 'unknown'}"


def _memory() -> dict[str, int]:
    memory = psutil.virtual_memory()
    return {"total": memory.total, "available": memory.available}


def _disk(folder: Path) -> dict[str, int]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return {}
    return {"total": usage.total, "free": usage.free}
