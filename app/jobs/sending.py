"""Sending a target's jobs, one after the other in their order, each exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from ..endpoint.errors import RateLimited, SubmitUnanswered
from ..errors import ComfyRunPodError, Unreachable
from .answers import maybe_sent, problem_json
from .book import Book
from .carriers.base import Parcel
from .model import Job
from .money import OverLimit, Purse
from .pauses import Pauses
from .request import limited, parcels_of, policy_of, request_of
from .states import Hold, State
from .targets import Target
from .traces import taken_as

log = logging.getLogger(__name__)


class Sender:
    """One task's work: :meth:`run`."""

    def __init__(self, target: Target, book: Book, pauses: Pauses, purse: Purse) -> None:
        self._target = target
        self._book = book
        self._pauses = pauses
        self._purse = purse
        #: The job whose request is about to go out or under way, from before its state says so.
        self._sending: str | None = None
        #: The job whose big inputs are on their way to the volume, and the task that brings them.
        self._carrying: tuple[str, asyncio.Task[None]] | None = None
        self._settled = asyncio.Event()
        self._settled.set()
        self._closing = False
        #: The next request goes out no sooner, on the monotonic clock.
        self._next_at = 0.0

    def may_be_under_way(self, job: Job) -> bool:
        """Whether the job's request is under way, or was once, without its outcome being known."""
        return job.id == self._sending or job.state is State.SUBMITTING

    def stop_carrying(self, job_id: str) -> None:
        """Bring no more inputs of this job to the volume."""
        if self._carrying is not None and self._carrying[0] == job_id:
            self._carrying[1].cancel()

    async def finish(self, limit_s: float | None = None) -> None:
        """Before closing: send nothing new, and let a request that is under way get its answer."""
        self._closing = True
        grace_s = self._pauses.submission_grace_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s if limit_s is None else min(grace_s, limit_s)):
                await self._settled.wait()

    async def run(self) -> None:
        """Send until cancelled."""
        failures = 0
        while True:
            self._book.to_send.clear()
            job = next((job for job in self._book.unsent.values() if not job.is_stuck), None)
            if job is None or self._closing:
                await self._book.to_send.wait()
                continue
            try:
                await self._send(job)
                failures = 0
            except OverLimit as error:
                await self._hold_all(error)
                await self._purse.changed(self._pauses.limit_look_s)
            except ComfyRunPodError as error:
                if await self._note_failure(job.id, error):
                    await asyncio.sleep(self._pauses.after(failures))
                    failures += 1

    async def _note_failure(self, job_id: str, error: ComfyRunPodError) -> bool:
        """A job was not sent; True when it is to be tried again."""
        held = self._book.unsent.get(job_id)
        if held is None or held.state is State.SUBMITTING:
            return True
        problem = problem_json(error)
        if isinstance(error, Unreachable | RateLimited):
            await self._book.change(held, state=State.ON_HOLD, hold=Hold.ENGINE_DOWN, error=problem)
            return True
        del self._book.unsent[job_id]
        await self._book.change(held, state=State.FAILED, error=problem)
        return False

    async def _hold_all(self, error: OverLimit) -> None:
        """The limit holds for every job that is yet to be sent."""
        problem = problem_json(error)
        for job in tuple(self._book.unsent.values()):
            # One of them may have been cancelled while those before it were written down.
            held = self._book.unsent.get(job.id)
            if held is not None and (held.state is State.PREPARING or held.hold is Hold.LIMIT):
                await self._book.change(held, state=State.ON_HOLD, hold=Hold.LIMIT, error=problem)

    async def _send(self, job: Job) -> None:
        book = self._book
        if job.state is State.SUBMITTING:
            # It was sent once and no answer was noted: we were ended in between, or the answer got lost.
            if not self._target.is_ours:
                await self._leave_maybe_sent(job, None)
                return
            if await self._was_sent(job):
                return
            job = await book.change(job, state=State.PREPARING, note="Was not received; it is sent again")
        if job.id in book.cancel_wanted:
            await book.drop_unsent(job)
            return
        # Before inputs are uploaded: that may cost, too.
        await self._purse.check(job)
        spec = limited(await book.store.spec(job.id), self._target.limits)
        parcels = await asyncio.to_thread(parcels_of, spec)
        if parcels:
            job = await self._carry(job, parcels)
        request = await asyncio.to_thread(request_of, spec, parcels)
        client = await self._target.client()
        rate = await self._purse.rate_of(self._target.name)
        priced: dict[str, Any] = (
            {} if rate is None else {"rate": rate.usd_per_s, "idle_s": rate.idle_s, "gpu": rate.gpu}
        )
        await asyncio.sleep(max(self._next_at - time.monotonic(), 0))
        # Nothing is awaited between this look and the mark: whoever cancels in between would not see it.
        if job.id not in book.unsent or self._closing:
            return
        # Until the answer is noted, closing waits: it says under which name the job runs.
        self._settled.clear()
        self._sending = job.id
        try:
            job = await book.change(job, state=State.SUBMITTING, **priced)
            if job.id in book.cancel_wanted:
                await book.drop_unsent(job)
                return
            self._next_at = time.monotonic() + self._target.send_s
            reply = await client.run(request, policy=policy_of(spec))
            await book.sent(job, reply.id, reply.status)
        except SubmitUnanswered as error:
            log.warning("Job %s: %s", job.id, error)
            if not self._target.is_ours:
                await self._leave_maybe_sent(job, error)
        except ComfyRunPodError:
            job = await book.change(job, state=State.PREPARING, note="Was not sent")
            if job.id not in book.cancel_wanted:
                raise
            await book.drop_unsent(job)
        finally:
            self._sending = None
            self._settled.set()

    async def _carry(self, job: Job, parcels: Sequence[Parcel]) -> Job:
        """Have the job's big inputs on the volume, unless it is cancelled meanwhile."""
        book, carrier = self._book, self._target.carrier
        if job.id in book.unsent and job.state is not State.UPLOADING:
            job = await book.change(job, state=State.UPLOADING, error=None, note=carrier.cost)
        if job.id not in book.unsent:
            return job

        async def put() -> None:
            for parcel in parcels:
                await carrier.put(parcel, uploader=job.id, again=job.resent)

        task = asyncio.create_task(put(), name=f"carry-{job.id}")
        self._carrying = job.id, task
        try:
            await asyncio.wait([task])
        finally:
            self._carrying = None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()
        return job

    async def _leave_maybe_sent(self, job: Job, cause: SubmitUnanswered | None) -> None:
        """Nothing tells whether the request arrived: sending it again is the user's decision."""
        error = maybe_sent(job, cause, sought=self._target.carrier.reads)
        job = await self._book.change(job, state=State.ON_HOLD, hold=Hold.MAYBE_SENT, error=error)
        if job.id in self._book.cancel_wanted:
            await self._book.drop_unsent(job, error=error)
        self._book.to_seek.set()

    async def _was_sent(self, job: Job) -> bool:
        """Find out whether a submit without an answer arrived: from the worker's note on the volume.

        The note appears when a worker takes the job. An endpoint that is seen empty without a note having
        appeared never had the job. True when the job is followed now.
        """
        first = time.monotonic()
        while True:
            client = await self._target.client()
            health = await client.health()
            empty = not health.jobs.get("inQueue") and not health.jobs.get("inProgress")
            remote_id = await taken_as(self._target.carrier, job)
            if remote_id is not None:
                await self._book.sent(job, remote_id, None)
                return True
            if empty and time.monotonic() - first > self._pauses.settle_s:
                return False
            await asyncio.sleep(self._pauses.look_again_s)
