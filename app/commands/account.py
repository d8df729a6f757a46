"""``comfy-runpod endpoint list|set|workers`` and ``key``: the RunPod account. No key is ever an argument."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import sys
from dataclasses import asdict
from typing import Any

from ..endpoint.account import AccountClient
from ..endpoint.account_model import Endpoint
from ..endpoint.prices import Price, price_of, rate_of
from ..endpoint.terms import terms
from ..errors import BadInput, NeedsSetup
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


async def set_endpoint(arguments: argparse.Namespace, settings: Settings) -> int:
    """Change an endpoint's workers, idle time or image, and say what it costs then."""
    name = endpoint_of(arguments, settings)
    client = await account_client(settings)
    changed = await client.change(
        name,
        workers_min=arguments.min,
        workers_max=arguments.max,
        idle_timeout_s=arguments.idle,
        image=arguments.image,
    )
    gpus = await client.gpu_types()
    if arguments.json:
        sys.stdout.write(json.dumps(_as_json(changed, price_of(changed, gpus))) + "\n")
        return 0
    sys.stdout.write(f"  {_line(changed, price_of(changed, gpus))}\n")
    for sentence in terms(
        rate_of(changed, gpus),
        workers_min=changed.workers_min or 0,
        workers_max=changed.workers_max or 0,
        idle_s=changed.idle_timeout_s or 0,
    ):
        sys.stdout.write(f"{sentence}\n")
    return 0


async def list_workers(arguments: argparse.Namespace, settings: Settings) -> int:
    """The workers there are now, and how far the newest version is."""
    name = endpoint_of(arguments, settings)
    client = await account_client(settings)
    live, roll_out = await asyncio.gather(client.workers(name), client.roll_out(name))
    if arguments.json:
        told = {"workers": [asdict(each) for each in live.workers], "counts": dict(live.counts)}
        told["rollout"] = {
            key: getattr(roll_out, key) for key in ("in_progress", "on_latest", "total", "version")
        }
        sys.stdout.write(json.dumps(told) + "\n")
        return 0
    for each in live.workers:
        parts = [
            each.status.lower(),
            each.gpu_type or "",
            each.data_centre or "",
            "outdated" if each.is_stale else "",
        ]
        sys.stdout.write(f"  {each.id}  {' · '.join(part for part in parts if part)}\n")
    if not live.workers:
        sys.stdout.write("No worker is up.\n")
    if roll_out.total:
        sys.stdout.write(f"{roll_out.on_latest} of {roll_out.total} workers on version {roll_out.version}\n")
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


def endpoint_of(arguments: argparse.Namespace, settings: Settings) -> str:
    """The endpoint that is meant: the one named, else the one that is set."""
    name: str | None = arguments.id or settings.runpod_endpoint_id
    if not name:
        raise BadInput("No endpoint is given.", hint="Give its id, as `comfy-runpod endpoint list` shows it.")
    return name


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
