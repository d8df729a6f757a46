"""What RunPod's GPUs cost, where its data centres are, and what was charged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .account_model import Endpoint, number, obj, text, texts, whole


@dataclass(frozen=True, slots=True)
class GpuType:
    """A GPU of the catalogue. Prices are list prices in USD per hour and GPU.

    Attributes:
        pool: what endpoints select by; None when it is in no serverless pool.
        per_hour: the serverless price; None when RunPod names none.
        availability: NONE, LOW, MEDIUM or HIGH, when it was asked for.
    """

    id: str
    name: str = ""
    pool: str | None = None
    memory_gb: int | None = None
    per_hour: float | None = None
    availability: str | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> GpuType:
        price = number(obj(data.get("price")).get("serverless"))
        return cls(
            id=text(data.get("id")) or "",
            name=text(data.get("name")) or "",
            pool=text(data.get("pool")),
            memory_gb=whole(data.get("memory")),
            per_hour=price if price is not None and 0 < price < 1e6 else None,
            availability=text(data.get("availability")),
        )


@dataclass(frozen=True, slots=True)
class Price:
    """What one worker costs per second while it runs, in USD; two figures when it may be of several GPUs."""

    lowest: float
    highest: float

    @property
    def per_hour(self) -> tuple[float, float]:
        return self.lowest * 3600, self.highest * 3600

    def __str__(self) -> str:
        if self.highest - self.lowest < 5e-7:
            return f"${self.lowest:.5f} / s"
        return f"${self.lowest:.5f} to ${self.highest:.5f} / s"


def runs_on(endpoint: Endpoint, gpu: GpuType) -> bool:
    """Whether a worker of the endpoint may get this GPU."""
    if endpoint.on_cpu or gpu.pool not in endpoint.gpu_pools:
        return False
    return gpu.id not in {each.strip() for each in endpoint.excluded_types}


def for_endpoints(gpus: Iterable[GpuType]) -> list[GpuType]:
    """The GPUs that endpoints can be given, the cheapest first, those without a price last."""
    found = [gpu for gpu in gpus if gpu.pool is not None]
    return sorted(found, key=lambda gpu: (gpu.per_hour is None, gpu.per_hour or 0.0, gpu.name or gpu.id))


def price_of(endpoint: Endpoint, gpus: Iterable[GpuType]) -> Price | None:
    """The price of one of the endpoint's workers: of each GPU in its pools, times the GPUs of a worker.

    None when it runs on CPUs, or when no price of its GPUs is known. Discounts of an account are not in it.
    """
    if endpoint.on_cpu:
        return None
    prices = [
        gpu.per_hour * endpoint.gpu_count / 3600
        for gpu in gpus
        if gpu.per_hour is not None and runs_on(endpoint, gpu)
    ]
    return Price(min(prices), max(prices)) if prices else None


@dataclass(frozen=True, slots=True)
class Rate:
    """What a job on an endpoint is reckoned with: the dearest of its GPUs, so that nothing costs more.

    Attributes:
        usd_per_s: of one worker.
        idle_s: how long a worker idles after its last job, as billed; 0 where workers are always on.
        gpu: the GPUs that it may be, as the endpoint names them.
    """

    usd_per_s: float
    idle_s: float = 0.0
    gpu: str = ""


#: RunPod's own idle timeout, where an endpoint says none.
_IDLE_S = 5.0


def rate_of(endpoint: Endpoint, gpus: Iterable[GpuType]) -> Rate | None:
    """The rate of an endpoint; None when no price of its GPUs is known."""
    price = price_of(endpoint, gpus)
    if price is None:
        return None
    idle_s = _IDLE_S if endpoint.idle_timeout_s is None else float(endpoint.idle_timeout_s)
    count = f"{endpoint.gpu_count} × " if endpoint.gpu_count > 1 else ""
    gpu = f"{count}{' or '.join(endpoint.gpu_pools)}"
    return Rate(price.highest, 0.0 if endpoint.workers_min else idle_s, gpu)


@dataclass(frozen=True, slots=True)
class DataCentre:
    """Where volumes are and workers run."""

    id: str
    name: str = ""
    region: str | None = None
    volume_types: tuple[str, ...] = ()

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> DataCentre:
        return cls(
            id=text(data.get("id")) or "",
            name=text(data.get("name")) or "",
            region=text(data.get("region")),
            volume_types=texts(data.get("networkVolumeTypes")),
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """What one endpoint cost in one piece of time, in USD."""

    endpoint_id: str | None
    total: float
    gpu: float = 0.0
    disk: float = 0.0
    begin: str | None = None
    end: str | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Charge:
        return cls(
            endpoint_id=text(data.get("serverlessId")),
            total=number(data.get("totalAmount")) or 0.0,
            gpu=number(data.get("gpuAmount")) or 0.0,
            disk=number(data.get("diskAmount")) or 0.0,
            begin=text(data.get("startTime")),
            end=text(data.get("endTime")),
        )
