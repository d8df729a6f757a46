"""What the management API says about an account, read tolerantly.

Unknown fields are passed over, missing ones and ones of a wrong type count as not said. Values of environment
variables are never kept: they hold other people's keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any


def counted(endpoints: Sized) -> str:
    """How many endpoints there are, in words."""
    count = len(endpoints)
    return "no endpoint yet" if not count else "1 endpoint" if count == 1 else f"{count} endpoints"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A serverless endpoint; None where RunPod does not say.

    Attributes:
        type: ``QUEUE`` or ``LOAD_BALANCER``; jobs can be sent to the first kind only.
        workers_max: 0 when RunPod scaled an unused endpoint down: no job runs then until it is raised.
        excluded_types: GPU types (their ids) that are left out of the pools.
    """

    id: str
    name: str = ""
    type: str = ""
    image: str | None = None
    workers_min: int | None = None
    workers_max: int | None = None
    idle_timeout_s: int | None = None
    gpu_pools: tuple[str, ...] = ()
    excluded_types: tuple[str, ...] = ()
    gpu_count: int = 1
    on_cpu: bool = False
    data_centres: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    execution_timeout_ms: int | None = None
    flashboot: str | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Endpoint:
        workers, gpu = obj(data.get("workers")), obj(data.get("gpu"))
        return cls(
            id=text(data.get("id")) or "",
            name=text(data.get("name")) or "",
            type=text(data.get("type")) or "",
            image=text(data.get("image")),
            workers_min=whole(workers.get("min")),
            workers_max=whole(workers.get("max")),
            idle_timeout_s=whole(workers.get("idleTimeout")),
            gpu_pools=texts(gpu.get("pools")),
            excluded_types=texts(gpu.get("excludedTypes")),
            gpu_count=min(max(whole(gpu.get("count")) or 1, 1), 1000),
            on_cpu=bool(data.get("cpu")),
            data_centres=texts(data.get("dataCenterIds")),
            volumes=texts(data.get("networkVolumes")),
            execution_timeout_ms=whole(data.get("timeout")),
            flashboot=text(data.get("flashboot")),
        )


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker as it is now. ``status`` is RunPod's own word."""

    id: str
    status: str = ""
    is_stale: bool = False
    version: int | None = None
    gpu_count: int | None = None
    gpu_type: str | None = None
    data_centre: str | None = None
    image: str | None = None
    uptime_s: int | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> LiveWorker:
        return cls(
            id=text(data.get("id")) or "",
            status=text(data.get("status")) or "",
            is_stale=data.get("isStale") is True,
            version=whole(data.get("version")),
            gpu_count=whole(data.get("gpuCount")),
            gpu_type=text(data.get("gpuTypeId")),
            data_centre=text(data.get("dataCenterId")),
            image=text(data.get("image")),
            uptime_s=whole(data.get("uptimeSeconds")),
        )


@dataclass(frozen=True, slots=True)
class LiveWorkers:
    """All workers of an endpoint, and how many there are by state."""

    workers: tuple[LiveWorker, ...]
    counts: Mapping[str, int]
    version: int | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> LiveWorkers:
        counts = {str(name): whole(count) for name, count in obj(data.get("summary")).items()}
        return cls(
            workers=tuple(LiveWorker.parse(each) for each in objs(data.get("workers"))),
            counts={name: count for name, count in counts.items() if count is not None},
            version=whole(data.get("endpointVersion")),
        )


@dataclass(frozen=True, slots=True)
class Release:
    """One change of an endpoint. ``changed`` names the fields; only an image's values are kept."""

    id: str
    version: int | None = None
    source: str = ""
    workers: int | None = None
    created_at: str | None = None
    changed: tuple[str, ...] = ()
    old_image: str | None = None
    new_image: str | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Release:
        diff = objs(data.get("diff"))
        images = [each for each in diff if (text(each.get("field")) or "").endswith(("imageName", "image"))]
        return cls(
            id=text(data.get("id")) or "",
            version=whole(data.get("version")),
            source=text(data.get("source")) or "",
            workers=whole(data.get("workerCount")),
            created_at=text(data.get("createdAt")),
            changed=tuple(name for each in diff if (name := text(each.get("field")))),
            old_image=text(images[0].get("old")) if images else None,
            new_image=text(images[0].get("new")) if images else None,
        )


@dataclass(frozen=True, slots=True)
class RollOut:
    """How far an endpoint's newest version has got, and what came before it."""

    in_progress: bool
    on_latest: int
    total: int
    version: int | None = None
    releases: tuple[Release, ...] = ()

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> RollOut:
        now = obj(data.get("rollout"))
        return cls(
            in_progress=now.get("inProgress") is True,
            on_latest=whole(now.get("workersOnLatest")) or 0,
            total=whole(now.get("workersTotal")) or 0,
            version=whole(data.get("endpointVersion")),
            releases=tuple(Release.parse(each) for each in objs(data.get("releases"))),
        )


@dataclass(frozen=True, slots=True)
class Volume:
    """A network volume."""

    id: str
    name: str = ""
    size_gb: int | None = None
    data_centre: str | None = None
    type: str | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Volume:
        return cls(
            id=text(data.get("id")) or "",
            name=text(data.get("name")) or "",
            size_gb=whole(data.get("size")),
            data_centre=text(data.get("dataCenter")),
            type=text(data.get("type")),
        )


# -- values of any JSON --------------------------------------------------------------------------------


def text(value: Any) -> str | None:
    """A text that can be printed and stored: halves of surrogate pairs are replaced."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def obj(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def objs(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts(value: Any) -> tuple[str, ...]:
    return tuple(found for each in value if (found := text(each))) if isinstance(value, list) else ()
