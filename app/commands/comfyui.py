"""``comfy-runpod comfyui``: this computer's ComfyUI without a window, with its Queue button routed or not."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import webbrowser
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ..comfyui.bridge import LOCAL_MODE, RUNPOD_MODE
from ..comfyui.house import House
from ..comfyui.status import ComfyState, ComfyStatus
from ..errors import BadInput, NeedsSetup
from ..jobs.model import FROM_COMFYUI, JobEvent
from ..jobs.states import State
from ..services import Services, become_runner, make_house
from ..settings import Settings
from .display import job_line

Action = Callable[[argparse.Namespace, Settings], Awaitable[int]]


async def comfyui(arguments: argparse.Namespace, settings: Settings) -> int:
    actions: dict[str, Action] = {"start": _start, "stop": _stop, "status": _status, "launch": _launch}
    if arguments.action in actions:
        return await actions[arguments.action](arguments, settings)
    from . import comfyui_setup

    further: dict[str, Action] = {"install": comfyui_setup.install, "nodes": comfyui_setup.nodes}
    return await further[arguments.action](arguments, settings)


async def _start(arguments: argparse.Namespace, settings: Settings) -> int:
    """Start it, and leave it running."""
    house = make_house(settings)
    sys.stderr.write("Starting ComfyUI…\n")
    await house.ensure()
    await house.leave_running()
    _tell(await house.look(), as_json=arguments.json)
    return 0


async def _stop(arguments: argparse.Namespace, settings: Settings) -> int:
    """End it, whoever of us started it, and say so when its process has ended."""
    house = make_house(settings)
    _check_ours(settings, "stopped")
    if (await house.look()).state in (ComfyState.RUNNING, ComfyState.STARTING):
        await house.stop()
    _tell(house.status, as_json=arguments.json)
    return 0


async def _status(arguments: argparse.Namespace, settings: Settings) -> int:
    house: House = make_house(settings)
    _tell(await house.look(), as_json=arguments.json)
    return 0 if house.status.state is ComfyState.RUNNING else 1


async def _launch(arguments: argparse.Namespace, settings: Settings) -> int:
    """ComfyUI with its Queue button routed, until Ctrl+C; results are printed, and opened when wanted."""
    _check_ours(settings, "routed")
    if not arguments.local and not settings.runpod_endpoint_id:
        raise NeedsSetup(
            "No RunPod endpoint is chosen for ComfyUI's Queue button.",
            hint="Set RUNPOD_ENDPOINT_ID, or say --local to begin with this computer.",
        )
    ours = await become_runner(settings)
    if ours is None:
        raise BadInput(
            "Comfy RunPod is running already, and only one can have ComfyUI's Queue button.",
            hint="Use its window, or close it first.",
        )
    lock, services = ours
    try:
        await _serve(services, arguments, settings)
    finally:
        try:
            await services.close()
        finally:
            lock.release()
    return 0


async def _serve(services: Services, arguments: argparse.Namespace, settings: Settings) -> None:
    stop = asyncio.Event()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    opens = arguments.open or settings.open_results != "no"
    unwatch = services.runner.watch(lambda event: _tell_event(event, as_json=arguments.json, opens=opens))
    try:
        await services.routing.choose(LOCAL_MODE if arguments.local else RUNPOD_MODE)
        sys.stderr.write("Starting ComfyUI…\n")
        url = await services.house.ensure()
        if arguments.json:
            _write({"url": url, "mode": services.routing.mode})
        else:
            where = "this computer" if arguments.local else settings.runpod_endpoint_id
            sys.stdout.write(f"ComfyUI on {url}\nIts Run button leads to {where}.\nCtrl+C ends it.\n")
            sys.stdout.flush()
        if arguments.browser:
            await asyncio.to_thread(webbrowser.open, url)
        await stop.wait()
    finally:
        unwatch()


def _tell_event(event: JobEvent, *, as_json: bool, opens: bool) -> None:
    job = event.job
    if job.origin != FROM_COMFYUI or not job.is_final or event.removed:
        return
    paths = [output.path for output in job.outputs if not output.shown]
    if as_json:
        told: dict[str, Any] = {"id": job.id, "name": job.name, "state": str(job.state), "files": paths}
        _write(told | ({} if job.error is None else {"error": dict(job.error)}))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in (job_line(job), *paths)))
        sys.stdout.flush()
    if opens and job.state is State.DONE and paths:
        # It starts the system's viewer and does not wait for it.
        webbrowser.open(Path(paths[0]).as_uri())


def _check_ours(settings: Settings, what: str) -> None:
    if settings.comfyui_url is not None:
        raise BadInput(
            f"The ComfyUI at {settings.comfyui_url} is not started by Comfy RunPod and cannot be {what}.",
            hint="Set COMFYUI_DIR instead of COMFYUI_URL.",
        )


def _tell(status: ComfyStatus, *, as_json: bool) -> None:
    if as_json:
        _write(
            {
                "state": str(status.state),
                "url": status.url,
                "version": status.version,
                "vram": status.vram,
                "since": status.since,
                "detail": status.detail,
            }
        )
        return
    parts = [f"ComfyUI {status.version or ''}".strip(), str(status.state).replace("_", " ")]
    parts += [f"on {status.url}"] if status.url else []
    sys.stdout.write(" ".join(parts) + (f": {status.detail}" if status.detail else "") + "\n")


def _write(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
