"""What a lane knows of its jobs, and the one way to change them. The tasks of a lane share one book."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .model import Job, JobEvent
from .states import State
from .store import JobStore


class Book:
    """The unfinished jobs of one target.

    Attributes:
        unsent: jobs that are yet to be sent, in their order. remote: jobs that the platform has.
        cancel_wanted: jobs to be cancelled as soon as it can be asked for.
        publish: tells the watchers about a change or a progress.
    """

    def __init__(self, store: JobStore, publish: Callable[[JobEvent], None]) -> None:
        self.store = store
        self.publish = publish
        self.unsent: dict[str, Job] = {}
        self.remote: dict[str, Job] = {}
        self.cancel_wanted: set[str] = set()
        self.to_send = asyncio.Event()
        self.to_follow = asyncio.Event()
        self.to_seek = asyncio.Event()

    async def change(self, job: Job, *, note: str = "", **values: Any) -> Job:
        """Write what is new about a job, if anything is, and tell the watchers."""
        if not note and all(getattr(job, key) == value for key, value in values.items()):
            return job
        new = await self.store.change(job.id, note=note, **values)
        for held in (self.unsent, self.remote):
            if job.id in held:
                held[job.id] = new
        self.publish(JobEvent(new))
        return new

    async def sent(self, job: Job, remote_id: str, word: str | None) -> None:
        """The platform has the job under a name of its own."""
        # Only now it leaves `unsent`: a cancel in between must find it in one of the two.
        job = await self.change(job, state=State.WAITING, remote_id=remote_id, remote_word=word, error=None)
        self.unsent.pop(job.id, None)
        self.remote[job.id] = job
        self.to_follow.set()
        if job.id in self.cancel_wanted:
            # The wish stays: whoever follows the job asks the platform.
            await self.change(job, state=State.CANCELLING)

    async def send_anew(self, job: Job, note: str) -> None:
        """The platform gave the job back, and nothing of it ran: it is sent a second time, inputs and all."""
        # Its name there stays: a note by that name is no sign that the second request arrived.
        job = await self.change(job, state=State.PREPARING, resent=True, lost_contact_since=None, note=note)
        self.unsent[job.id] = job
        self.remote.pop(job.id, None)
        self.to_send.set()

    async def drop_unsent(self, job: Job, error: dict[str, Any] | None = None) -> Job:
        """Cancel a job that the platform does not have; ``error``: as far as we can tell."""
        self.unsent.pop(job.id, None)
        self.cancel_wanted.discard(job.id)
        note = "Cancelled before it was sent" if error is None else "Cancelled; it may run all the same"
        return await self.change(job, state=State.CANCELLED, error=error, note=note)

    async def end(self, job: Job, state: State, **values: Any) -> None:
        """A job that the platform has comes to its end."""
        await self.change(job, **{"state": state, "lost_contact_since": None, **values})
        self.remote.pop(job.id, None)
        self.cancel_wanted.discard(job.id)
