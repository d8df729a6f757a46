"""``comfy-runpod endpoint list`` and ``comfy-runpod key``: the RunPod account. No key is ever an argument."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import sys
from typing import Any

from ..endpoint.account import AccountClient
from ..endpoint.account_model import Endpoint
from ..endpoint.prices import Price, price_of
from ..errors import NeedsSetup
from ..settings import Settings, entered_key, from_environment, variable_of
from ..vault import API_KEY, S3_ACCESS_KEY, S3_SECRET_KEY, forget, with_keys, write

_WHICH = {
    "api": (API_KEY, "RunPod API key"),
    "s3-access": (S3_ACCESS_KEY, "S3 access key"),
    "s3-secret": (S3_SECRET_KEY, "S3 secret key"),
}


async def list_endpoints(arguments: argparse.Namespace, settings: Settings) -> int:
    """The endpoints of the account, the current one marked, with prices where RunPod names them."""
    client = await account_client(settings)
    endpoints, gpus = await asyncio.gather(client.endpoints(), client.gpu_types())
    for each in endpoints:
        price = price_of(each, gpus)
        if arguments.json:
            sys.stdout.write(json.dumps(_as_json(each, price)) + "\n")
        else:
            mark = "*" if each.id == settings.runpod_endpoint_id else " "
            sys.stdout.write(f"{mark} {_line(each, price)}\n")
    if not endpoints and not arguments.json:
        sys.stdout.write("The account has no endpoint yet.\n")
    return 0


async def key(arguments: argparse.Namespace, settings: Settings) -> int:
    """Keep, forget and test keys."""
    if arguments.action == "test":
        check = await (await account_client(settings)).check_key()
        (sys.stdout if check.works else sys.stderr).write(check.sentence + "\n")
        return 0 if check.works else 1
    name, words = _WHICH[arguments.which]
    if arguments.action == "set":
        secret = entered_key(await asyncio.to_thread(_entered, words))
        place = await asyncio.to_thread(write, name, secret)
        sys.stdout.write(f"The {words} is kept in the system's keyring ({place}).\n")
    elif await asyncio.to_thread(forget, name):
        sys.stdout.write(f"The {words} was removed from the system's keyring.\n")
    else:
        sys.stdout.write(f"The system's keyring has no {words}.\n")
    if name in from_environment():
        sys.stdout.write(f"The one in the environment ({variable_of(name)}) is used while it is set.\n")
    return 0


async def account_client(settings: Settings) -> AccountClient:
    settings = await asyncio.to_thread(with_keys, settings, API_KEY)
    if not settings.runpod_api_key:
        raise NeedsSetup(
            "No RunPod API key is set.",
            hint=f"Set {variable_of(API_KEY)}, or keep the key with `comfy-runpod key set`.",
        )
    return AccountClient(settings.runpod_api_url, settings.runpod_api_key)


def _entered(words: str) -> str:
    """Typed unseen at a terminal; else the first line of stdin."""
    return getpass.getpass(f"{words}: ") if sys.stdin.isatty() else sys.stdin.readline()


def _line(endpoint: Endpoint, price: Price | None) -> str:
    least, most = endpoint.workers_min, endpoint.workers_max
    workers = f"{_shown(least)} to {_shown(most)} workers" + (" (switched off)" if most == 0 else "")
    count = f"{endpoint.gpu_count} x " if endpoint.gpu_count > 1 else ""
    place = "CPU" if endpoint.on_cpu else f"{count}{', '.join(endpoint.gpu_pools) or 'any GPU'}"
    parts = [f"{endpoint.id}  {endpoint.name}", workers, place]
    if price is not None:
        low, high = price.per_hour
        hours = f"${low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"${low:.2f} to ${high:.2f}"
        parts.append(f"{price} ({hours} / h)")
    if endpoint.type == "LOAD_BALANCER":
        parts.append("load balancing: takes no jobs")
    return " · ".join([*parts, endpoint.image or "no image named"])


def _shown(count: int | None) -> str:
    return "?" if count is None else str(count)


def _as_json(endpoint: Endpoint, price: Price | None) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "type": endpoint.type,
        "image": endpoint.image,
        "workers_min": endpoint.workers_min,
        "workers_max": endpoint.workers_max,
        "idle_timeout_s": endpoint.idle_timeout_s,
        "gpu_pools": list(endpoint.gpu_pools),
        "gpu_count": endpoint.gpu_count,
        "volumes": list(endpoint.volumes),
        "usd_per_second": None if price is None else [price.lowest, price.highest],
        "usd_per_hour": None if price is None else list(price.per_hour),
    }
