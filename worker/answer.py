"""The answer of a job that succeeded, put together and measured before it leaves."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from .contract import FILE_LISTS, inside
from .delivery import Delivery
from .diagnostics import LONGEST_FAILURE
from .errors import JobError
from .outputs import Collected, collect

log = logging.getLogger(__name__)


def result_key(job_id: str) -> str:
    """The folder of a job's results: no word of the client's, and not to be guessed from others."""
    return hashlib.sha256(job_id.encode()).hexdigest()[:24]


def answer_of(
    collected: Collected,
    warnings: Sequence[str],
    timings: Mapping[str, float],
    provenance: Mapping[str, Any],
    delivery: Delivery,
    *,
    began: float,
) -> dict[str, Any]:
    """Pack the results and tell of them. Blocks. ``began`` is when packing did, on the monotonic clock.

    ``provenance`` says what made them.

    Raises:
        JobError: ``result_too_large``, ``result_not_written``.
    """
    answer: dict[str, Any] = {"status": "success" if collected.files else "success_no_images"}
    told: dict[str, Any] = {
        "text": list(collected.texts),
        "warnings": list(warnings),
        "timings": {**timings, "pack_s": 0.0},
        "provenance": dict(provenance),
    }
    packed = delivery.pack(collected.files, _size(answer) + _size(told) + 1000)
    answer |= {name: listed for name, listed in packed.lists.items() if listed or name == "images"}
    told["warnings"] += packed.warnings
    told["timings"]["pack_s"] = round(time.monotonic() - began, 3)
    answer |= {key: value for key, value in told.items() if value}
    if delivery.config.adds_message:
        first = next((item for name in FILE_LISTS for item in packed.lists[name]), None)
        if first is not None:
            answer["message"] = first["data"]
    _refuse_too_large(answer, delivery)
    return answer


def finished_before(
    entry: Mapping[str, Any], workflow: Mapping[str, Any], output_dir: Path, delivery: Delivery
) -> tuple[dict[str, list[dict[str, Any]]], list[Path]]:
    """What nodes had written when another one failed: lists of the answer, and the files. Blocks."""
    try:
        collected = collect(entry, workflow, output_dir)
        files = [file for file in collected.files if file not in collected.missing()]
        packed = delivery.pack(files, LONGEST_FAILURE)
    except JobError as error:
        log.warning("What was done before the failure cannot be handed over: %s", error)
        return {}, []
    lists = {name: listed for name, listed in packed.lists.items() if listed}
    return lists, [file.path for file in files if file.text is None]


def is_usable(answer: Mapping[str, Any], volume: Path | None) -> bool:
    """Whether what a stored answer names on the volume is still there. Blocks."""
    entries = [item for name in FILE_LISTS for item in answer.get(name) or []]
    for entry in (each for each in entries if each.get("type") == "volume"):
        try:
            if volume is None or inside(volume, PurePosixPath(entry["data"])).stat().st_size != entry["size"]:
                return False
        except (OSError, ValueError):
            return False
    return True


def provenance_of(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Of what ComfyUI said of itself when the job began: asking again could fail a job that is done."""
    system, devices = stats.get("system"), stats.get("devices")
    system = system if isinstance(system, Mapping) else {}
    first = devices[0] if isinstance(devices, list) and devices and isinstance(devices[0], dict) else {}
    return {
        "worker": _own_version(),
        "image": os.environ.get("COMFY_RUNPOD_IMAGE"),
        "comfyui": {"version": system.get("comfyui_version")},
        "python": system.get("python_version"),
        "torch": system.get("pytorch_version"),
        "gpu": first.get("name"),
    }


def _refuse_too_large(answer: Mapping[str, Any], delivery: Delivery) -> None:
    """The last look: whatever was estimated before, nothing leaves that the platform would drop."""
    size = 0
    shown: dict[str, Any] = dict(answer)
    for name in (name for name in FILE_LISTS if name in answer):
        # Base64 is as long in JSON as it is here, and too long to be written out only to be measured.
        size += sum(len(item["data"]) for item in answer[name])
        shown[name] = [{**item, "data": ""} for item in answer[name]]
    size += len(shown.pop("message", "")) + _size(shown)
    if size > delivery.limit_bytes:
        raise JobError(
            "result_too_large",
            f"The answer would be {size / 1e6:.1f} MB, more than RunPod lets through.",
            hint="The files are still in ComfyUI's output folder.",
        )


def _size(value: Any) -> int:
    return len(json.dumps(value))


@lru_cache(maxsize=1)
def _own_version() -> str:
    # In an image the worker is a folder, and no installed package.
    if told := os.environ.get("COMFY_RUNPOD_VERSION"):
        return told
    try:
        return version("comfy-runpod")
    except PackageNotFoundError:
        return "unknown"
