"""60 MB of results: how late the event loop is while they are packed, and how soon a cancelled job ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

from tests.bench.worker import tables
from tests.bench.worker.jobs import noise
from tests.bench.worker.overhead import NO_LIMITS
from tests.engines import Engine
from tests.unit.worker.helpers import Bench, working
from worker.delivery import Delivery

_TIMES, _STEP_S = 3, 0.002
#: How long packing has gone on when the job is cancelled, in seconds.
_CANCEL_AFTER_S = 0.05


async def report(engine: Engine) -> None:
    rows = []
    for mode in ("base64", "volume"):
        volume = engine.base / "volume"
        volume.mkdir(exist_ok=True)
        async with working(engine.url, engine.base, volume=volume, **NO_LIMITS) as bench:
            packs: list[float] = []
            lates: list[float] = []
            for number in range(_TIMES):
                pack_s, late = await _packed(bench, mode, f"{mode}-{number}")
                packs.append(pack_s)
                lates += late
            ends = [await _cancelled(bench, mode, f"{mode}-c{number}") for number in range(_TIMES)]
        lates.sort()
        row = [tables.median(packs), lates[len(lates) * 99 // 100], lates[-1], tables.median(ends), max(ends)]
        rows.append([mode, *map(tables.ms, row)])
    head = ["60 MB as", "packing", "loop lag p99", "max (of 100)", "cancel to end", "max (of 1000)"]
    tables.table(f"{engine.name}: packing 60 MB, ms; {tables.load()}", head, rows)


async def _packed(bench: Bench, mode: str, job_id: str) -> tuple[float, list[float]]:
    """How long packing took, and how late the loop was meanwhile."""
    async with _watched() as lags:
        answer = await bench.run(noise(1, "huge.png").workflow, job_id, output={"mode": mode})
        ended = time.perf_counter()
    assert answer["images"][0]["type"] == mode, answer["warnings"]
    pack_s = float(answer["timings"]["pack_s"])
    return pack_s, [late for at, late in lags if at - late < ended and at > ended - pack_s]


async def _cancelled(bench: Bench, mode: str, job_id: str) -> float:
    """Seconds from the cancellation, while results are packed, to the handler's end."""
    packing, loop, pack = asyncio.Event(), asyncio.get_running_loop(), Delivery.pack

    def noted(self: Delivery, *given: Any) -> Any:
        loop.call_soon_threadsafe(packing.set)
        return pack(self, *given)

    with mock.patch.object(Delivery, "pack", noted):
        task = bench.start(noise(1, "huge.png").workflow, job_id, output={"mode": mode})
        await packing.wait()
        await asyncio.sleep(_CANCEL_AFTER_S)
        assert not task.done(), "it was packed too soon to be cancelled"
        began = time.perf_counter()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return time.perf_counter() - began


@asynccontextmanager
async def _watched() -> AsyncGenerator[list[tuple[float, float]], None]:
    """When short sleeps ended, and how late."""
    lags: list[tuple[float, float]] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_STEP_S)
            now = time.perf_counter()
            lags.append((now, now - began - _STEP_S))

    watching = asyncio.create_task(watch())
    try:
        yield lags
    finally:
        await asyncio.sleep(2 * _STEP_S)
        watching.cancel()
