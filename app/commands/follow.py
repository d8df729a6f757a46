"""Being the runner, or speaking to the one there is: the commands need not know which."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from ..errors import BadInput, ComfyRunPodError
from ..jobs.control import ControlClient, RunnerGone, events_of
from ..jobs.model import Job, JobEvent, JobSpec
from ..jobs.runner import Runner
from ..services import become_runner
from ..settings import Settings

Place = Runner | ControlClient
#: Begins something at the place where jobs run, and adds the ids of the jobs to follow to the list.
#: Adds each id before it is begun, so that what was begun is known however it ends.
Begin = Callable[[Place, list[str]], Awaitable[None]]
_LOOK_AGAIN_S = 0.1
_CANCEL_GRACE_S = 15.0
#: How long a job is waited for that may have been sent, when nothing else is left to wait for.
_SOUGHT_S = 30.0


class Following:
    """Jobs brought to their end by this process or by the one that runs the jobs.

    When the runner ends before the jobs do, this process becomes the runner and goes on.

    Args:
        on_event: called with each event of the jobs.
    """

    def __init__(self, settings: Settings, on_event: Callable[[JobEvent], None]) -> None:
        self._settings = settings
        self._on_event = on_event
        self._ended: dict[str, Job] = {}

    async def run(self, specs: Sequence[JobSpec]) -> list[Job]:
        """Submit and follow to the end; the ended jobs, in the order given. Cancelled, it cancels them."""

        async def submit(place: Place, ids: list[str]) -> None:
            for spec in specs:
                if spec.id not in self._ended:
                    ids.append(spec.id)
                    await place.submit(spec)

        await self._until_ended(submit, cancel_with_us=True)
        return [self._ended[spec.id] for spec in specs]

    async def cancel(self, ids: Sequence[str]) -> list[Job]:
        """Cancel and see it done."""

        async def cancel(place: Place, begun: list[str]) -> None:
            for job_id in ids:
                if job_id not in self._ended:
                    begun.append((await place.cancel(job_id)).id)

        await self._until_ended(cancel, cancel_with_us=False)
        return list(self._ended.values())

    async def wait(self, ids: Sequence[str]) -> list[Job]:
        """Follow jobs that are there to their end."""

        async def known(_place: Place, begun: list[str]) -> None:
            begun.extend(job_id for job_id in ids if job_id not in self._ended)

        await self._until_ended(known, cancel_with_us=False)
        return [self._ended[job_id] for job_id in ids]

    async def retry(self, ids: Sequence[str]) -> list[Job]:
        """Run again as new jobs, and follow them to the end."""
        new: dict[str, str] = {}

        async def retry(place: Place, begun: list[str]) -> None:
            for job_id in ids:
                if job_id not in new:
                    new[job_id] = (await place.retry(job_id)).id
                if new[job_id] not in self._ended:
                    begun.append(new[job_id])

        await self._until_ended(retry, cancel_with_us=True)
        return [self._ended[job_id] for job_id in new.values()]

    async def remove(self, ids: Sequence[str]) -> list[Job]:
        """Take ended jobs off the list, all or none."""
        removed: list[Job] = []

        async def remove(place: Place, _begun: list[str]) -> None:
            removed.extend(await place.remove(ids))

        await self._until_ended(remove, cancel_with_us=False)
        return removed

    async def _until_ended(self, begin: Begin, *, cancel_with_us: bool) -> None:
        while True:
            ours = await become_runner(self._settings)
            try:
                if ours is not None:
                    lock, services = ours
                    try:
                        await self._follow(services.runner, begin, cancel_with_us=cancel_with_us)
                    finally:
                        try:
                            await services.close()
                        finally:
                            lock.release()
                    return
                control = ControlClient(self._settings.data_dir)
                await self._follow(control, begin, cancel_with_us=cancel_with_us)
                return
            except RunnerGone:
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def _follow(self, place: Place, begin: Begin, *, cancel_with_us: bool) -> None:
        ids: list[str] = []
        try:
            await begin(place, ids)
            await self._watch(place, ids)
        except asyncio.CancelledError:
            if cancel_with_us:
                # Whatever comes of that, we end: a runner that is gone must not make us begin again.
                with contextlib.suppress(ComfyRunPodError, TimeoutError):
                    await self._cancel_rest(place, ids)
            raise

    async def _watch(self, place: Place, ids: list[str]) -> None:
        left = {job_id for job_id in ids if job_id not in self._ended}
        if not left:
            return
        events = events_of(place, ids) if isinstance(place, Runner) else place.events(ids)
        doubtful: dict[str, Job] = {}
        loop = asyncio.get_running_loop()
        patience = asyncio.timeout(None)
        try:
            async with aclosing(events) as stream, patience:
                async for event in stream:
                    job = event.job
                    self._on_event(event)
                    doubtful.pop(job.id, None)
                    if job.is_sought:
                        doubtful[job.id] = job
                    elif job.is_final or job.is_stuck:
                        self._ended[job.id] = job
                        left.discard(job.id)
                    if not left:
                        return
                    patience.reschedule(loop.time() + _SOUGHT_S if left <= doubtful.keys() else None)
        except TimeoutError:
            if not patience.expired():
                raise
            self._ended |= doubtful

    async def _cancel_rest(self, place: Place, ids: list[str]) -> None:
        async with asyncio.timeout(_CANCEL_GRACE_S):
            there = []
            for job_id in [job_id for job_id in ids if job_id not in self._ended]:
                with contextlib.suppress(BadInput):  # the last one may not have been noted yet
                    there.append((await place.cancel(job_id)).id)
            await self._watch(place, there)
