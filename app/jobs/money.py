"""Spending: what was spent and will be, what a batch may cost, and the daily limit."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from ..endpoint.prices import Rate
from ..errors import ComfyRunPodError
from .costs import cost_of, money
from .figures import day_of
from .model import Job
from .runs import Run
from .states import REMOTE
from .store import JobStore
from .targets import is_remote


class OverLimit(ComfyRunPodError):
    """The daily limit is reached: the job waits."""

    code = "daily_limit"


class Rates(Protocol):
    """Where prices come from."""

    async def of(self, target: str) -> Rate | None:
        """The price of an endpoint's workers, None when it cannot be had. Raises nothing for that."""


class Purse(Protocol):
    """What the sending of jobs asks before each job."""

    async def rate_of(self, target: str) -> Rate | None: ...

    async def check(self, job: Job) -> None:
        """Raises OverLimit when the job must wait."""

    async def changed(self, limit_s: float) -> None:
        """Return when another limit is in force, or after so many seconds."""


class FreeOfCharge:
    """A purse for what costs nothing."""

    async def rate_of(self, target: str) -> Rate | None:
        return None

    async def check(self, job: Job) -> None:
        return None

    async def changed(self, limit_s: float) -> None:
        await asyncio.sleep(limit_s)


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent in a time, in USD, and its parts."""

    start: float = 0.0
    run: float = 0.0
    idle: float = 0.0
    jobs: int = 0
    unpriced: int = 0

    @property
    def total(self) -> float:
        return self.start + self.run + self.idle


class Money:
    """The user's purse: prices, the book of runs, and the limit.

    Args:
        rates: prices of endpoints; None: none can be had.
        limit_usd: for one local calendar day; None: no limit.
    """

    def __init__(
        self,
        store: JobStore,
        rates: Rates | None = None,
        limit_usd: float | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._rates = rates
        self._limit = limit_usd
        self._clock = clock
        self._new_limit = asyncio.Event()

    def use(self, rates: Rates | None, limit_usd: float | None) -> None:
        """Go on with these prices and this limit; jobs that wait for the limit are looked at again."""
        self._rates, self._limit = rates, limit_usd
        self._new_limit.set()
        self._new_limit = asyncio.Event()

    async def rate_of(self, target: str) -> Rate | None:
        if self._rates is None or not is_remote(target):
            return None
        return await self._rates.of(target)

    async def check(self, job: Job) -> None:
        """Hold a job when what today cost, what is under way and the job itself go beyond the limit."""
        limit = self._limit
        if limit is None or not is_remote(job.target):
            return
        spent = await self.today() + await self.under_way()
        own = await self.typical(job.workflow, job.target) or 0.0
        if spent >= limit or spent + own > limit:
            more = f" This job may cost {money(own)}." if spent < limit else ""
            raise OverLimit(
                f"{money(spent)} of {money(limit)} spent today.{more}",
                hint="Raise the limit, or wait until tomorrow.",
            )

    async def changed(self, limit_s: float) -> None:
        waiting = self._new_limit
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await waiting.wait()

    async def today(self) -> float:
        """What was spent since midnight, in USD."""
        return spent(await self._store.runs_between(midnight(self._clock()))).total

    async def under_way(self) -> float:
        """What the jobs that RunPod has will have cost at the least, going by earlier ones like them."""
        total = 0.0
        for job in await self._store.unfinished():
            if job.state in REMOTE and is_remote(job.target) and job.execution_ms is None:
                so_far = cost_of(job, self._clock())
                total += max(
                    so_far.total if so_far else 0.0, await self.typical(job.workflow, job.target) or 0.0
                )
        return total

    async def estimate(self, jobs: Sequence[tuple[str, str]]) -> float | None:
        """What jobs may cost, in USD, by earlier runs; None when one of them never ran there.

        Args:
            jobs: the workflow's fingerprint and the target of each.
        """
        typical = {job: await self.typical(*job) for job in set(jobs)}
        costs = [typical[job] for job in jobs]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if known and len(known) == len(costs) else None

    async def typical(self, workflow: str, target: str) -> float | None:
        """The median of what the latest runs of a workflow cost on a target, in USD."""
        paid = [run.usd for run in await self._store.runs_alike(workflow, target) if run.rate is not None]
        return statistics.median(paid) if paid else None


def spent(runs: Iterable[Run]) -> Spent:
    """The sum of runs on RunPod."""
    charged = [run for run in runs if is_remote(run.target)]
    return Spent(
        sum(run.start_usd for run in charged),
        sum(run.run_usd for run in charged),
        sum(run.idle_usd for run in charged),
        len(charged),
        sum(run.rate is None for run in charged),
    )


def by_day(runs: Iterable[Run]) -> dict[str, Spent]:
    """By local calendar day (``2026-11-24``), the oldest first."""
    return _by(runs, lambda run: day_of(run.at).isoformat())


def by_workflow(runs: Sequence[Run]) -> dict[str, Spent]:
    """By workflow, under the name it had last; the dearest first."""
    names = {run.workflow: run.name for run in runs}
    found = _by(runs, lambda run: run.workflow)
    dearest = sorted(found.items(), key=lambda item: -item[1].total)
    result: dict[str, Spent] = {}
    for key, value in dearest:
        name = names[key]
        result[name if name not in result else f"{name} ({key[:6]})"] = value
    return result


def by_target(runs: Iterable[Run]) -> dict[str, Spent]:
    """By endpoint."""
    return _by(runs, lambda run: run.target)


def midnight(now: float, days_ago: int = 0) -> float:
    """When the local calendar day began, so many days ago."""
    day = day_of(now) - timedelta(days=days_ago)
    return time.mktime((day.year, day.month, day.day, 0, 0, 0, 0, 0, -1))


def _by(runs: Iterable[Run], key: Callable[[Run], str]) -> dict[str, Spent]:
    parts: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if is_remote(run.target):
            parts[key(run)].append(run)
    return {name: spent(some) for name, some in parts.items()}
