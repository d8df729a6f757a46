"""``comfy-runpod account gpus|volumes``: what there is to run on, and the account's network volumes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from ..endpoint.account_model import Endpoint, Volume
from ..endpoint.prices import GpuType, Price, for_endpoints, runs_on
from ..s3.data_centres import has_s3, s3_url
from ..settings import Settings
from .account import account_client


async def account(arguments: argparse.Namespace, settings: Settings) -> int:
    commands = {"gpus": list_gpus, "volumes": list_volumes}
    return await commands[arguments.action](arguments, settings)


async def list_gpus(arguments: argparse.Namespace, settings: Settings) -> int:
    """The GPUs that endpoints can have, the cheapest first; what the current endpoint may get is marked."""
    client = await account_client(settings)
    endpoints, gpus = await asyncio.gather(client.endpoints(), client.gpu_types(availability=True))
    ours = next((each for each in endpoints if each.id == settings.runpod_endpoint_id), None)
    found = for_endpoints(gpus)
    for each in found:
        is_ours = ours is not None and runs_on(ours, each)
        if arguments.json:
            sys.stdout.write(json.dumps(_gpu_as_json(each, is_ours=is_ours)) + "\n")
        else:
            sys.stdout.write(f"{'*' if is_ours else ' '} {_gpu_line(each)}\n")
    if not found and not arguments.json:
        sys.stdout.write("RunPod names no GPU for endpoints at the moment.\n")
    return 0


async def list_volumes(arguments: argparse.Namespace, settings: Settings) -> int:
    """The account's network volumes; the one that is set is marked."""
    client = await account_client(settings)
    volumes, endpoints = await asyncio.gather(client.volumes(), client.endpoints())
    for each in volumes:
        users = [one for one in endpoints if each.id in one.volumes]
        if arguments.json:
            sys.stdout.write(json.dumps(_volume_as_json(each, users)) + "\n")
        else:
            mark = "*" if each.id == settings.runpod_volume_id else " "
            sys.stdout.write(f"{mark} {_volume_line(each, users)}\n")
    if not volumes and not arguments.json:
        sys.stdout.write("The account has no network volume yet.\n")
    return 0


def _gpu_line(gpu: GpuType) -> str:
    price = "no price named"
    if gpu.per_hour is not None:
        price = f"{Price(gpu.per_hour / 3600, gpu.per_hour / 3600)} (${gpu.per_hour:.2f} / h)"
    memory = f"{gpu.memory_gb} GB" if gpu.memory_gb is not None else ""
    free = f"free: {gpu.availability.lower()}" if gpu.availability else ""
    parts = [gpu.name or gpu.id, memory, gpu.pool or "", price, free]
    return " · ".join(part for part in parts if part)


def _gpu_as_json(gpu: GpuType, *, is_ours: bool) -> dict[str, Any]:
    return {
        "id": gpu.id,
        "name": gpu.name,
        "pool": gpu.pool,
        "memory_gb": gpu.memory_gb,
        "usd_per_second": None if gpu.per_hour is None else gpu.per_hour / 3600,
        "usd_per_hour": gpu.per_hour,
        "availability": gpu.availability,
        "of_endpoint": is_ours,
    }


def _volume_line(volume: Volume, users: list[Endpoint]) -> str:
    place = volume.data_centre or ""
    s3 = ("S3 access" if has_s3(place) else "no S3 access") if place else ""
    used = f"used by {', '.join(each.name or each.id for each in users)}" if users else "used by no endpoint"
    size = f"{volume.size_gb} GB" if volume.size_gb is not None else ""
    parts = [f"{volume.id}  {volume.name}", size, place, s3, used]
    return " · ".join(part for part in parts if part)


def _volume_as_json(volume: Volume, users: list[Endpoint]) -> dict[str, Any]:
    place = volume.data_centre
    return {
        "id": volume.id,
        "name": volume.name,
        "size_gb": volume.size_gb,
        "data_centre": place,
        "type": volume.type,
        "s3_url": s3_url(place) if place and has_s3(place) else None,
        "endpoints": [each.id for each in users],
    }
