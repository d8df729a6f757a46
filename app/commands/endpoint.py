"""``comfy-runpod endpoint``: the local one in the foreground, any one's health, and those of the account."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import replace

from ..errors import BadInput
from ..jobs.targets import DEMO, LOCAL, Target
from ..services import ComfyTarget, EndpointTarget, make_target
from ..settings import Settings


async def endpoint(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.action == "serve":
        return await _serve(arguments, settings)
    if arguments.action in ("health", "purge"):
        return await (_health if arguments.action == "health" else _purge)(arguments, settings)
    # Only here: it brings an HTTP library that the others do not use.
    from . import account, logs

    commands = {
        "list": account.list_endpoints,
        "set": account.set_endpoint,
        "workers": account.list_workers,
        "logs": logs.show_logs,
    }
    return await commands[arguments.action](arguments, settings)


async def _serve(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl+C; address and key are printed for other programs."""
    if arguments.workers < 1:
        raise BadInput("--workers must be at least 1.")
    settings = replace(settings, workers=arguments.workers)
    if arguments.target == LOCAL:
        target: EndpointTarget = ComfyTarget(settings, port=arguments.port, stays=True)
    else:
        target = EndpointTarget(DEMO, settings, port=arguments.port, stays=True)
    access = await target.serve()
    url = f"{access.base_url}/{access.endpoint_id}"
    if arguments.json:
        sys.stdout.write(json.dumps({"url": url, "api_key": access.api_key, "pid": access.pid}) + "\n")
    else:
        sys.stdout.write(f"RunPod's job API on {url}\nAPI key: {access.api_key}\nCtrl+C ends it.\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        await target.stop()
    return 0


async def _purge(arguments: argparse.Namespace, settings: Settings) -> int:
    """Remove all waiting jobs of an endpoint, whoever sent them; only with the user's word."""
    target = _target(arguments, settings)
    try:
        client = await target.client()
        waiting = (await client.health()).jobs.get("inQueue", 0)
        if not arguments.yes:
            raise BadInput(
                f"{waiting} waiting jobs of {target.name} would be removed, also those that others sent. "
                "They have not started and cost nothing; running jobs go on.",
                hint="Say --yes to do it, or cancel your own with `comfy-runpod jobs cancel`.",
            )
        removed = await client.purge_queue()
    finally:
        await target.close()
    if arguments.json:
        sys.stdout.write(json.dumps({"removed": removed}) + "\n")
    else:
        sys.stdout.write(f"{removed} waiting jobs removed. Running jobs go on.\n")
    return 0


def _target(arguments: argparse.Namespace, settings: Settings) -> Target:
    name = arguments.target or settings.runpod_endpoint_id
    if not name:
        raise BadInput(
            "No target is given.", hint="Use --target demo, --target local, or a RunPod endpoint's id."
        )
    return make_target(name, settings)


async def _health(arguments: argparse.Namespace, settings: Settings) -> int:
    target = _target(arguments, settings)
    try:
        health = await (await target.client()).health()
    finally:
        await target.close()
    if arguments.json:
        sys.stdout.write(json.dumps({"jobs": dict(health.jobs), "workers": dict(health.workers)}) + "\n")
    else:
        for title, counts in (("jobs", health.jobs), ("workers", health.workers)):
            sys.stdout.write(f"{title}: {', '.join(f'{count} {word}' for word, count in counts.items())}\n")
    return 0
